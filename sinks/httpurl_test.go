package sinks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// TestURLOfAnEvent is what becomes of insertions, seen at the receiver.
func TestURLOfAnEvent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url, body string
		change    func(*event.Event)
		want      string // the request's path and query
		text      string // of the error, of class ours
	}{
		"subject":           {url: "/hooks/{{.Subject}}", want: "/hooks/orders.invoice.paid"},
		"all attributes":    {url: "/{{.ID}}/{{.Type}}/{{.Source}}/v{{.APIVersion}}/{{.Received.UTC.Format \"2006\"}}", want: "/0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10/orders%2Finvoice.paid/clickfunnels/v2/2026"},
		"data":              {url: "/{{.Data.id}}/{{.Data.contact.name}}", body: `{"data":{"id":12345678901234567890,"contact":{"name":"Ö/?#&"}}}`, want: "/12345678901234567890/%C3%96%2F%3F%23%26"},
		"body without data": {url: "/{{.Data.id}}", body: `{"id":true}`, want: "/true"},
		"query":             {url: "/?t={{.Type}}&x=y", change: func(e *event.Event) { e.Type = "a&x=z+ #\r\n" }, want: "/?t=a%26x%3Dz%2B%20%23%0D%0A&x=y&key=query-secret%26more"},
		"printf":            {url: `/{{printf "%s-%d" .Source .APIVersion}}`, want: "/clickfunnels-2"},
		"up a folder":       {url: "/hooks/{{.Type}}", change: func(e *event.Event) { e.Type = ".." }, text: "a value would make the path another one"},
		"up in two parts":   {url: "/hooks/{{.Type}}{{.Subject}}", change: func(e *event.Event) { e.Type, e.Subject = ".", "." }, text: "a value would make the path another one"},
		"more folders":      {url: "/hooks/{{.Type}}", change: func(e *event.Event) { e.Type = "../../admin" }, text: "a value would make the path another one"},
		"up, Windows":       {url: "/hooks/{{.Type}}", change: func(e *event.Event) { e.Type = `..\admin` }, text: "a value would make the path another one"},
		"missing":           {url: "/{{.Data.nope}}", text: "map has no entry for key \"nope\""},
		"null":              {url: "/{{.Data.id}}", body: `{"data":{"id":null}}`, text: "a value is missing"},
		"empty":             {url: "/{{.Type}}", change: func(e *event.Event) { e.Type = "" }, text: "a value is empty"},
		"a list":            {url: "/{{.Data}}", body: `{"data":[1]}`, text: "a value is neither text nor a number"},
		"not JSON":          {url: "/{{.Data.id}}", body: "a=b", text: "the body is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			options := "url: '" + r.URL + "/" + pathSecret + tt.url + "'\n"
			if strings.Contains(tt.want, "key=") {
				options += "query: {key: '" + querySecret + "'}\n"
			}
			e := sampleEvent()
			if tt.body != "" {
				e.Body = []byte(tt.body)
			}
			if tt.change != nil {
				tt.change(&e)
			}
			s := openSink(t, "http", options, Deps{})
			err := s.Deliver(t.Context(), e)
			if tt.text != "" {
				checkFailure(t, err, delivery.Ours, "make the url of the event: "+tt.text)
				if _, previewed := s.(Previewer).Preview(e); delivery.ClassOf(previewed) != delivery.Ours {
					t.Errorf("Preview: %v, want what Deliver says", previewed)
				}
				return
			}
			if err != nil {
				t.Fatalf("Deliver: %v", err)
			}
			if got := strings.TrimPrefix(r.requests[0].RequestURI, "/"+pathSecret); got != tt.want {
				t.Errorf("came to %s, want %s", got, tt.want)
			}
		})
	}
}

// TestHostOfAnEvent lets events choose a host.
func TestHostOfAnEvent(t *testing.T) {
	t.Parallel()
	for host, tt := range map[string]struct {
		class delivery.Class
		text  string
	}{
		"api.example.com":               {"", ""},
		"API.Example.Com":               {"", ""},
		"eu.hooks.example.com":          {"", ""},
		"a.eu.hooks.example.com":        {"", ""},
		"hooks.example.com":             {delivery.Ours, "not in allowed_hosts"},
		"evilhooks.example.com":         {delivery.Ours, "not in allowed_hosts"},
		"eu.hooks.example.com.evil.com": {delivery.Ours, "not in allowed_hosts"},
		"api.example.com:8443":          {delivery.Ours, "make the url"},
		"evil.com/api.example.com":      {delivery.Ours, "make the url"},
		"evil.com#.hooks.example.com":   {delivery.Ours, "make the url"},
		"me@api.example.com":            {delivery.Ours, "make the url"},
		"ａpi.example.com":               {delivery.Ours, "host that is not one"},
		"":                              {delivery.Ours, "a value is empty"},
		"169.254.169.254":               {delivery.Ours, "not in allowed_hosts"},
		"localhost":                     {delivery.Refused, "not a public address"},
		"127.0.0.1":                     {delivery.Refused, "not a public address"},
		"10.1.2.3":                      {delivery.Refused, "not a public address"},
		"100.100.100.200":               {delivery.Refused, "metadata"},
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, nil)
			s := openSink(t, "http", "url: 'http://{{.Type}}/hooks'\n"+
				"allowed_hosts: [api.example.com, '*.hooks.example.com', localhost, 127.0.0.1, 10.1.2.3, 100.100.100.200]", Deps{}).(*httpSink)
			if got := s.String(); got != "POST *" {
				t.Errorf("the sink prints as %q, want POST *", got)
			}
			if tt.class == "" { // what is allowed is not ours to reach
				s.transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, r.Listener.Addr().String())
				}}
			}
			e := sampleEvent()
			e.Type = host
			err := s.Deliver(within(t, longEnough), e)
			checkFailure(t, err, tt.class, tt.text)
			if tt.class == "" && !strings.EqualFold(r.requests[0].Host, host) {
				t.Errorf("came for host %q, want %q", r.requests[0].Host, host)
			}
			var d *delivery.Error
			if errors.As(err, &d) && tt.class == delivery.Refused && !strings.HasPrefix(d.Error(), "POST "+host+": ") {
				t.Errorf("Deliver = %v, want the host of the event in it", err)
			}
		})
	}
}

// FuzzURLOfAnEvent inserts anything: it changes what stands in its place only.
func FuzzURLOfAnEvent(f *testing.F) {
	for _, seed := range []string{"orders/invoice.paid", "..", "a&b=c#d", "\x00\xff%2e%2e", "@evil.com:80/", "ü 💰", "{{.ID}}"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, kind, subject string) {
		template, _, what, _ := parseURLTemplate("https://api.example.com/hooks/{{.Type}}/in?x={{.Subject}}&y=1")
		if what != "" {
			t.Fatal(what)
		}
		u, err := template.of(event.Event{Type: kind, Subject: subject})
		if err != nil {
			if delivery.ClassOf(err) != delivery.Ours || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("of(%q, %q) = %v (%s), want one line of class ours", kind, subject, err, delivery.ClassOf(err))
			}
			return
		}
		elements := strings.Split(u.EscapedPath(), "/")
		if u.Host != "api.example.com" || u.User != nil || u.Fragment != "" || len(elements) != 4 || elements[1] != "hooks" || elements[3] != "in" {
			t.Errorf("of(%q, %q) = %s, want one path element and no other host", kind, subject, u)
		}
		if q := u.Query(); len(q) != 2 || q.Get("x") != subject || q.Get("y") != "1" {
			t.Errorf("of(%q, %q) has the query %q", kind, subject, u.RawQuery)
		}
		if _, err := http.NewRequest(http.MethodPost, u.String(), nil); err != nil {
			t.Errorf("of(%q, %q) makes no request: %v", kind, subject, err)
		}
	})
}
