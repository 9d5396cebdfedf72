package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// otlpTimeout is the standard's.
const otlpTimeout = 10 * time.Second

// otlpPrefix begins the variables that the exporters read.
const otlpPrefix = "OTEL_EXPORTER_OTLP_"

// otlp are the variables of an OTLP exporter: each there is for all signals, and
// for this one, which goes before it.
type otlp struct {
	*Env
	signal string // TRACES or METRICS
	off    string // what is said when the signal is not sent for what is wrong
	broken bool   // something is wrong that cannot be made up for
}

// pick returns a variable's value, and under which name it was set.
func (o *otlp) pick(name string) (v, variable string) {
	general, own := otlpPrefix+name, otlpPrefix+o.signal+"_"+name
	if v := o.value(own); v != "" {
		o.value(general)
		return v, own
	}
	return o.value(general), general
}

// fail notes what the signal cannot be sent with.
func (o *otlp) fail(variable, why string) {
	o.broken = true
	o.problem(variable, why, o.off)
}

// receiver is what the variables say of the other side.
type receiver struct {
	endpoint bool // one is set
	grpc     bool
	timeout  time.Duration
}

// read reads all of them: the exporters print what they do not understand,
// secrets and all, so they are not asked when something is wrong.
func (o *otlp) read() receiver {
	protocol, variable := o.pick("PROTOCOL")
	r := receiver{timeout: otlpTimeout}
	r.grpc = o.choice(variable, protocol, "http/protobuf", "grpc", "http/protobuf") == "grpc"
	r.endpoint = o.endpoint(r.grpc)
	o.headers()
	if v, name := o.pick("TIMEOUT"); v != "" {
		r.timeout = o.millis(name, otlpTimeout)
	}
	compression, variable := o.pick("COMPRESSION")
	o.choice(variable, compression, "none", "gzip", "none")
	insecure, variable := o.pick("INSECURE")
	o.yes(variable, insecure)
	o.certificates()
	return r
}

// endpoint reports that one is set, and looks at it.
func (o *otlp) endpoint(grpc bool) bool {
	v, name := o.pick("ENDPOINT")
	if v == "" {
		return false
	}
	const want = "is no URL as http://collector:4318"
	u, err := url.Parse(v)
	if err != nil { // it would show the value
		o.hide(v)
		o.fail(name, want)
		return true
	}
	if u.User != nil || strings.Contains(v, "@") {
		o.hideUser(u)
	}
	switch scheme := strings.ToLower(u.Scheme); {
	case (scheme == "http" || scheme == "https") && u.Hostname() != "":
	case grpc && scheme == "unix":
	case grpc && u.Opaque != "" && isHostPort(v):
	default:
		o.hide(v)
		o.fail(name, want)
		return true
	}
	if u.User != nil || u.RawQuery != "" {
		o.problem(name, "has a user or a query, which are not sent", "the rest of it is used; see "+otlpPrefix+"HEADERS")
	}
	return true
}

// isHostPort reports that v is as gRPC takes it, too: collector:4317.
func isHostPort(v string) bool {
	host, port, err := net.SplitHostPort(v)
	if err != nil || host == "" || strings.ContainsAny(host, "@/") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (o *otlp) hideUser(u *url.URL) {
	if u.User != nil {
		password, _ := u.User.Password()
		o.hide(u.User.Username(), password)
	}
}

// hide adds words that no line of a log may show.
func (e *Env) hide(words ...string) {
	for _, w := range words {
		if len(w) >= leastSecret && !slices.Contains(e.hidden, w) {
			e.hidden = append(e.hidden, w)
		}
	}
}

// headers looks at those that are sent, and hides the words of all.
func (o *otlp) headers() {
	general := o.value(otlpPrefix + "HEADERS")
	v, name := o.pick("HEADERS")
	for _, list := range []string{general, v} {
		words, err := headerSecrets(list)
		o.hide(words...)
		if err == nil || list == "" {
			continue
		}
		o.hide(append(strings.Fields(list), list)...)
		if list == v {
			o.fail(name, "is not key=value,...: "+err.Error())
		}
	}
}

// certificates looks at the files with keys: without them the receiver would
// be refused, or refuse us.
func (o *otlp) certificates() {
	if file, name := o.pick("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		switch {
		case err != nil:
			o.fail(name, "names a file that cannot be read: "+reason(err))
		case !x509.NewCertPool().AppendCertsFromPEM(pem):
			o.fail(name, "names a file without a certificate in PEM")
		}
	}
	for _, signal := range []string{o.signal + "_", ""} {
		certName, keyName := otlpPrefix+signal+"CLIENT_CERTIFICATE", otlpPrefix+signal+"CLIENT_KEY"
		cert, key := o.value(certName), o.value(keyName)
		switch {
		case cert == "" && key == "":
			continue
		case key == "":
			o.fail(certName, "is set without "+keyName)
		case cert == "":
			o.fail(keyName, "is set without "+certName)
		default:
			if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
				o.fail(certName, "and "+keyName+" are no certificate and its key: "+reason(err))
			}
		}
		return // the signal's own go before the others
	}
}

// reason is err without the name of a file: it may be the key itself that was
// written there.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// wellFormed reports that a list is key=value,... with values that are
// percent-encoded.
func wellFormed(list string) bool {
	for pair := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(value); !ok || err != nil || strings.TrimSpace(name) == "" {
			return false
		}
	}
	return true
}

// leastSecret is how long a word is at least to be taken for a secret.
const leastSecret = 4

// headerSecrets are the words of the values in a list of headers, or what is
// wrong with it, without showing it.
func headerSecrets(list string) ([]string, error) {
	var words []string
	for pair := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return words, errors.New("a header has no name or no =")
		}
		for _, r := range name {
			if r <= ' ' || r > '~' || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r) {
				return words, errors.New("the name of a header has a character that names have not")
			}
		}
		plain, err := url.PathUnescape(value)
		if err != nil {
			return words, errors.New("the value of a header is not percent-encoded")
		}
		for _, word := range append(strings.Fields(plain), strings.Fields(value)...) {
			if len(word) >= leastSecret && word != "Bearer" && word != "Basic" {
				words = append(words, word)
			}
		}
	}
	return words, nil
}
