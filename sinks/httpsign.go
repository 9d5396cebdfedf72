package sinks

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/config"
)

// signKeys are the keys of sign.
type signKeys struct {
	// Scheme is how requests are signed: standard-webhooks (headers
	// Webhook-Id, Webhook-Timestamp and Webhook-Signature), hmac (the HMAC of
	// the body, in the header of your choice) or clickfunnels (the headers
	// that ClickFunnels sends, so that a receiver written for it goes on
	// verifying). What is signed is the body before compression.
	Scheme string `yaml:"scheme,required" oneof:"standard-webhooks hmac clickfunnels"`
	// Secrets are the keys to sign with. For standard-webhooks they are
	// base64, with or without whsec_ before it, and several give a signature
	// each, so that a receiver can change from one to the next. The other
	// schemes take one, whose characters are the key.
	Secrets []config.Secret `yaml:"secrets,required"`
	// Header is the header that holds the signature. It is required for the
	// scheme hmac and only for it.
	Header string `yaml:"header" example:"X-Signature"`
	// Algorithm is the hash of the scheme hmac. sha1 is there for receivers
	// that know nothing better.
	Algorithm string `yaml:"algorithm" oneof:"sha256 sha512 sha1"`
	// Encoding is how the scheme hmac writes the signature; hex is in lower case.
	Encoding string `yaml:"encoding" oneof:"hex base64"`
	// Prefix is written before the signature of the scheme hmac, such as sha256=.
	Prefix string `yaml:"prefix" example:"sha256="`
}

const (
	headerTimestamp         = "Webhook-Timestamp"
	headerSignature         = "Webhook-Signature"
	headerClickFunnelsStamp = "X-Webhook-Clickfunnels-Timestamp"
	headerClickFunnels      = "X-Webhook-Clickfunnels-Signature"
)

// signer signs attempts. It is safe for concurrent use.
type signer struct {
	headers []string // it sets these
	// sign returns the values of headers, in their order.
	sign func(id string, at time.Time, body []byte) []string
	// secrets are never sent, but whoever verifies knows them.
	secrets []string
}

// decodeSign reads sign, which is n. It returns nil when there is none.
func decodeSign(n config.Node, k signKeys) (*signer, config.Mistakes) {
	if n.IsZero() || k.Scheme == "" || len(k.Secrets) == 0 {
		return nil, nil // what is missing is told
	}
	mistakes := k.keysOfHMAC(n)
	place := "secrets"
	if !n.Get("secrets_file").IsZero() {
		place = "secrets_file"
	}
	for i, s := range k.Secrets {
		if s.IsZero() {
			mistakes = append(mistakes, n.Errorf(place, fmt.Sprintf("secret %d is empty", i+1), "give it a value or remove it"))
		}
	}
	if k.Scheme != "standard-webhooks" && len(k.Secrets) > 1 {
		mistakes = append(mistakes, n.Errorf(place, "the scheme "+k.Scheme+" has room for one signature, so for one secret",
			"keep one; standard-webhooks takes several"))
	}
	s, more := k.signer(n, place)
	for _, secret := range k.Secrets {
		s.secrets = append(s.secrets, secret.Reveal(), strings.TrimPrefix(secret.Reveal(), "whsec_"))
	}
	return s, append(mistakes, more...)
}

func (k signKeys) signer(n config.Node, place string) (*signer, config.Mistakes) {
	switch k.Scheme {
	case "standard-webhooks":
		keys, mistakes := standardKeys(n, place, k.Secrets, n.Get(place).Unresolved())
		return standardWebhooks(keys), mistakes
	case "clickfunnels":
		return clickFunnels(k.Secrets[0].Reveal()), nil
	default:
		return k.hmac(), nil
	}
}

// keysOfHMAC checks the keys that the scheme hmac alone has.
func (k signKeys) keysOfHMAC(n config.Node) config.Mistakes {
	var mistakes config.Mistakes
	if k.Scheme != "hmac" {
		for _, key := range []string{"header", "algorithm", "encoding", "prefix"} {
			if !n.Get(key).IsZero() {
				mistakes = append(mistakes, n.Errorf(key, "belongs to the scheme hmac", "leave it out, or set scheme: hmac"))
			}
		}
		return mistakes
	}
	if n.Get("header").IsZero() {
		return config.Mistakes{n.Errorf("", "has no header, which the scheme hmac needs", "add header: X-Signature")}
	}
	if n.Get("header").Unresolved() {
		return nil
	}
	if what, hint := headerMistake(textproto.CanonicalMIMEHeaderKey(k.Header), k.Prefix); what != "" {
		mistakes = append(mistakes, n.Errorf("header", what, hint))
	}
	return mistakes
}

// standardKeys decodes secrets as the libraries of Standard Webhooks do, which
// take base64 for granted with and without the prefix.
func standardKeys(n config.Node, place string, secrets []config.Secret, unknown bool) ([][]byte, config.Mistakes) {
	var keys [][]byte
	var mistakes config.Mistakes
	for i, s := range secrets {
		text := strings.TrimRight(strings.TrimPrefix(s.Reveal(), "whsec_"), "=")
		key, err := base64.RawStdEncoding.DecodeString(text)
		switch {
		case unknown || s.IsZero():
			key = []byte(text)
		case err != nil || len(key) == 0:
			mistakes = append(mistakes, n.Errorf(place, fmt.Sprintf("secret %d is not base64, as Standard Webhooks wants it", i+1),
				"make one: echo whsec_$(openssl rand -base64 32)"))
		}
		keys = append(keys, key)
	}
	return keys, mistakes
}

// standardWebhooks signs id, time and body with each key, by the specification
// of Standard Webhooks. The id is the value of the header Webhook-Id.
func standardWebhooks(keys [][]byte) *signer {
	macs := make([]*mac, len(keys))
	for i, key := range keys {
		macs[i] = newMAC(sha256.New, key)
	}
	return &signer{
		headers: []string{headerTimestamp, headerSignature},
		sign: func(id string, at time.Time, body []byte) []string {
			stamp := strconv.FormatInt(at.Unix(), 10)
			head := append(append(append(append(make([]byte, 0, len(id)+24), id...), '.'), stamp...), '.')
			var signatures []byte
			for i, m := range macs {
				if i > 0 {
					signatures = append(signatures, ' ')
				}
				signatures = base64.StdEncoding.AppendEncode(append(signatures, "v1,"...), m.sum(head, body))
			}
			return []string{stamp, string(signatures)}
		},
	}
}

// clickFunnels signs time and body as ClickFunnels does.
func clickFunnels(secret string) *signer {
	m := newMAC(sha256.New, []byte(secret))
	return &signer{
		headers: []string{headerClickFunnelsStamp, headerClickFunnels},
		sign: func(_ string, at time.Time, body []byte) []string {
			stamp := strconv.FormatInt(at.Unix(), 10)
			return []string{stamp, hex.EncodeToString(m.sum([]byte(stamp+"."), body))}
		},
	}
}

// hmac signs the body alone.
func (k signKeys) hmac() *signer {
	hashes := map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New, "sha1": sha1.New}
	m := newMAC(hashes[k.Algorithm], []byte(k.Secrets[0].Reveal()))
	encode := hex.EncodeToString
	if k.Encoding == "base64" {
		encode = base64.StdEncoding.EncodeToString
	}
	return &signer{
		headers: []string{textproto.CanonicalMIMEHeaderKey(k.Header)},
		sign: func(_ string, _ time.Time, body []byte) []string {
			return []string{k.Prefix + encode(m.sum(nil, body))}
		},
	}
}

// mac computes HMACs with one key, whose set-up it keeps. It is safe for
// concurrent use.
type mac struct{ pool sync.Pool }

func newMAC(algorithm func() hash.Hash, key []byte) *mac {
	return &mac{sync.Pool{New: func() any { return hmac.New(algorithm, key) }}}
}

func (m *mac) sum(head, body []byte) []byte {
	h := m.pool.Get().(hash.Hash)
	defer m.pool.Put(h)
	h.Reset()
	h.Write(head) // a hash takes everything
	h.Write(body)
	return h.Sum(nil)
}
