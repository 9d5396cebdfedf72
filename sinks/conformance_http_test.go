package sinks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// everyHTTPKind runs test for each kind whose receiver is reached by HTTP.
func everyHTTPKind(t *testing.T, test func(t *testing.T, kind string, f fixture)) {
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		if f.http {
			test(t, kind, f)
		}
	})
}

func TestEveryStatusHasItsClass(t *testing.T) {
	classes := map[int]delivery.Class{
		400: delivery.Rejected, 410: delivery.Rejected, 413: delivery.Rejected, 415: delivery.Rejected,
		422: delivery.Rejected, 408: delivery.Failed, 429: delivery.Throttled,
	}
	byHundred := [...]delivery.Class{2: "", 3: delivery.Refused, 4: delivery.Refused, 5: delivery.Failed}
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		var status atomic.Int64
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://other.example.com/"+pathSecret)
			w.WriteHeader(int(status.Load()))
		})
		s := f.open(t, kind, r)
		for code := 200; code < 600; code++ {
			status.Store(int64(code))
			err := s.Deliver(t.Context(), sampleEvent())
			want, listed := classes[code]
			if !listed {
				want = byHundred[code/100]
			}
			if got := delivery.ClassOf(err); got != want {
				t.Errorf("status %d: class %q (%v), want %q", code, got, err, want)
			}
			var e *delivery.Error
			if errors.As(err, &e) && (e.Status != code || !strings.Contains(e.Error(), fmt.Sprint("answered ", code))) {
				t.Errorf("status %d: error %q with status %d", code, e, e.Status)
			}
			checkNoSecret(t, "error", fmt.Sprint(err))
		}
		if n := len(f.received(t, r, 400)); n != 400 {
			t.Errorf("%d requests for 400 attempts, want no redirect followed and none repeated", n)
		}
	})
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		for name, tt := range map[string]struct {
			status int
			header string
			want   time.Duration
		}{
			"429 with seconds":    {429, "120", 2 * time.Minute},
			"429 without":         {429, "", 0},
			"503 with seconds":    {503, "7", 7 * time.Second},
			"500 with nonsense":   {500, "soon", 0},
			"422 is never again":  {422, "7", 0},
			"403 is not a pause":  {403, "7", 0},
			"503 with a past day": {503, "Mon, 23 Nov 2020 11:59:00 GMT", 0},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", tt.header)
					w.WriteHeader(tt.status)
				})
				var e *delivery.Error
				err := f.open(t, kind, r).Deliver(t.Context(), sampleEvent())
				if !errors.As(err, &e) || e.RetryAfter != tt.want {
					t.Errorf("Deliver = %#v, want RetryAfter %s", err, tt.want)
				}
			})
		}
	})
}

// TestReceiversThatMisbehave runs a sink against every way in which a receiver
// does not answer as it should.
func TestReceiversThatMisbehave(t *testing.T) {
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		for name, tt := range map[string]struct {
			answer http.HandlerFunc
			class  delivery.Class
			text   string // part of the error
			body   string // what is kept of the answer
		}{
			"resets before the answer":         {reset(""), delivery.Failed, "before an answer", ""},
			"resets within the head":           {reset("HTTP/1.1 200 O"), delivery.Failed, "before an answer", ""},
			"does not speak HTTP":              {reset("220 mail.example.com ESMTP\r\n\r\n"), delivery.Failed, "malformed HTTP", ""},
			"breaks off after 200":             {reset("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"), "", "", ""},
			"breaks off after 500":             {reset("HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\nhalf"), delivery.Failed, "answered 500 Internal Server Error", "half"},
			"says 200, then never ends":        {stall(200, "beginning"), "", "", ""},
			"says 500, then never ends":        {stall(500, "beginning"), delivery.Failed, "answered 500", "beginning"},
			"says 200 with an endless body":    {endless(200), "", "", ""},
			"says 500 with an endless body":    {endless(500), delivery.Failed, "answered 500", strings.Repeat("x", maxResponse)},
			"switches protocols unasked":       {reset("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), delivery.Failed, "answered 101", ""},
			"sends a head that is too long":    {reset("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 80<<10)), delivery.Failed, "", ""},
			"answers with a status of its own": {reset("HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n"), delivery.Failed, "answered 799", ""},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := f.open(t, kind, newReceiver(t, tt.answer))
				ctx := within(t, longEnough)
				err := s.Deliver(ctx, sampleEvent())
				if ctx.Err() != nil {
					t.Fatalf("the receiver held the attempt until its end: %v", err)
				}
				checkFailure(t, err, tt.class, tt.text)
				var e *delivery.Error
				if errors.As(err, &e) && !strings.HasPrefix(tt.body, string(e.Response)) || e != nil && len(e.Response)+headroom < len(tt.body) {
					t.Errorf("kept %d bytes of the answer: %.80q, want %.80q", len(e.Response), e.Response, tt.body)
				}
			})
		}
	})
}

// headroom is how much of an answer that does not end is left out, because it
// may be the beginning of a secret.
const headroom = 64

func checkFailure(t *testing.T, err error, class delivery.Class, text string) {
	t.Helper()
	if got := delivery.ClassOf(err); got != class {
		t.Errorf("Deliver = %v, class %q, want %q", err, got, class)
	}
	if err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("Deliver = %v, want %q in it", err, text)
	}
	checkNoSecret(t, "error", fmt.Sprint(err))
}

// reset answers with raw bytes and then closes the connection hard.
func reset(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		if raw == "" {
			_ = conn.(*net.TCPConn).SetLinger(0) // closes with a reset
			return
		}
		_, _ = conn.Write([]byte(raw)) // the sink may have given up
	}
}

// stall answers with the beginning of a body that never goes on.
func stall(status int, beginning string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(beginning))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// endless answers with a body without end, as fast as it is read.
func endless(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		for chunk := []byte(strings.Repeat("x", 4<<10)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

func TestReceiversThatAreNotThere(t *testing.T) {
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		plain := newReceiver(t, nil)
		selfSigned := unstartedReceiver(nil)
		selfSigned.StartTLS()
		t.Cleanup(selfSigned.Close)
		// A label of more than 63 characters cannot be a host anywhere.
		nowhere := "https://" + strings.Repeat("x", 64) + ".invalid"
		for name, tt := range map[string]struct {
			url   string
			class delivery.Class
			text  string
		}{
			"nobody listens":       {"http://127.0.0.1:1", delivery.Failed, "connection refused"},
			"no such host":         {nowhere, delivery.Network, "no such host"},
			"unknown certificate":  {selfSigned.URL, delivery.Network, "certificate"},
			"TLS, spoken to plain": {"https://" + strings.TrimPrefix(plain.URL, "http://"), delivery.Network, "TLS: "},
			"plain, spoken to TLS": {"http://" + strings.TrimPrefix(selfSigned.URL, "https://"), delivery.Rejected, "answered 400"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := openSink(t, kind, f.options(tt.url), Deps{})
				checkFailure(t, s.Deliver(within(t, longEnough), sampleEvent()), tt.class, tt.text)
			})
		}
	})
}

func TestAttemptsEndWithTheirContext(t *testing.T) {
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		t.Run("timeout", func(t *testing.T) {
			t.Parallel()
			s := f.open(t, kind, newReceiver(t, hang(make(chan struct{}, 1))))
			err := s.Deliver(within(t, 1200*time.Millisecond), sampleEvent())
			checkFailure(t, err, delivery.Failed, "no answer within ")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Deliver = %v, want context.DeadlineExceeded", err)
			}
		})
		t.Run("cancel", func(t *testing.T) {
			t.Parallel()
			entered := make(chan struct{}, 1)
			s := f.open(t, kind, newReceiver(t, hang(entered)))
			ctx, cancel := context.WithCancel(within(t, longEnough))
			result := make(chan error, 1)
			go func() { result <- s.Deliver(ctx, sampleEvent()) }()
			<-entered
			cancel()
			err := <-result
			checkFailure(t, err, delivery.Failed, "cancelled")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Deliver = %v, want context.Canceled", err)
			}
		})
	})
}

// hang never answers.
func hang(entered chan<- struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	}
}

// TestSecretsThatReceiversRepeat sends to receivers that answer with all they got.
func TestSecretsThatReceiversRepeat(t *testing.T) {
	everyHTTPKind(t, func(t *testing.T, kind string, f fixture) {
		for name, answer := range map[string]http.HandlerFunc{
			"dump of the request": func(w http.ResponseWriter, r *http.Request) {
				dump, err := httputil.DumpRequest(r, false)
				if err != nil {
					panic(err)
				}
				w.WriteHeader(500)
				_, _ = w.Write(dump)
			},
			"redirect to the same with more": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://"+pathSecret+".example.com"+r.RequestURI+"&h="+r.Header.Get("Authorization"))
				w.WriteHeader(307)
				_, _ = fmt.Fprintf(w, "moved to %s", r.RequestURI)
			},
			"spelt in JSON, HTML and plain": func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(403)
				for _, s := range allSecrets {
					_, _ = fmt.Fprintln(w, spellings(s))
				}
			},
			"cut by our bound": func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(404)
				for i := range 200 {
					_, _ = w.Write([]byte(strings.Repeat("x", i%7) + headerSecret))
				}
			},
			"broken off within one": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				w.WriteHeader(502)
				_, _ = w.Write([]byte(headerSecret[:len(headerSecret)-1]))
			},
			"in a reason phrase": reset("HTTP/1.1 500 " + headerSecret + "\r\nContent-Length: 0\r\n\r\n"),
			"in a broken head":   reset("HTTP/1.1 200 OK\r\n" + headerSecret + "\r\n\r\n"),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, answer)
				err := f.open(t, kind, r).Deliver(t.Context(), sampleEvent())
				var e *delivery.Error
				if !errors.As(err, &e) {
					t.Fatalf("Deliver = %v, want a delivery.Error", err)
				}
				checkNoSecret(t, "error", e.Error())
				checkNoSecret(t, "kept answer", string(e.Response))
				if strings.Contains(string(e.Response), headerSecret[:10]) {
					t.Errorf("the kept answer ends with the beginning of a secret: %q", e.Response)
				}
				if len(e.Response) > maxResponse {
					t.Errorf("kept %d bytes of the answer, want at most %d", len(e.Response), maxResponse)
				}
			})
		}
	})
}
