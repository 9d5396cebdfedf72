package sinks

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/penstock/penstock/config"
)

// What is an object.
const (
	objectBatch = "batch"
	objectEvent = "event"
)

// s3Keys are the keys of the kind s3.
type s3Keys struct {
	// Bucket is the bucket that objects are stored in. It must be there.
	Bucket string `yaml:"bucket,required" example:"penstock-events"`
	// Region is the bucket's region; left out, the one that AWS_REGION or the
	// profile names, and with an endpoint us-east-1.
	Region string `yaml:"region" example:"eu-central-1"`
	// Endpoint is the URL of a server that speaks S3; left out, Amazon's.
	Endpoint string `yaml:"endpoint" example:"https://s3.example.com"`
	// PathStyle puts the bucket into the path instead of the host's name, as
	// many servers other than Amazon's want it. The default is false.
	PathStyle bool `yaml:"path_style"`
	// AccessKeyID is the id of a key; left out, credentials come from where
	// the AWS tools look: the environment, a profile, a web identity, or the
	// role of the machine.
	AccessKeyID config.Secret `yaml:"access_key_id"`
	// SecretAccessKey is the other half of the key.
	SecretAccessKey config.Secret `yaml:"secret_access_key"`
	// SessionToken belongs to a key that is temporary.
	SessionToken config.Secret `yaml:"session_token"`
	// Profile names the profile of the AWS configuration files; left out, the
	// one that AWS_PROFILE names.
	Profile string `yaml:"profile" example:"penstock"`
	// RoleARN is a role to assume with these credentials.
	RoleARN string `yaml:"role_arn" example:"arn:aws:iam::123456789012:role/penstock"`
	// Object says what an object is: a batch of events as lines of JSON, or
	// one event whose body is the object, untouched. The default is batch.
	Object string `yaml:"object" oneof:"batch event"`
	// Key is the name of an object. {{sink}}, {{subject}}, {{source}},
	// {{first}} and {{last}} (sequences), {{id}} (of the event or the batch)
	// and {{ext}} are filled in, and the digits 2006, 01, 02, 15 and 04 are
	// the year, month, day, hour and minute in which the event was received,
	// in UTC. A batch is split where these differ.
	Key string `yaml:"key" example:"events/dt=2006-01-02/{{first}}-{{last}}-{{id}}.{{ext}}"`
	// Compression is that of batches. The default is gzip.
	Compression string `yaml:"compression" oneof:"none gzip zstd"`
	// ContentType is that of objects; left out, what they are.
	ContentType string `yaml:"content_type" example:"application/json"`
	// SSE is the encryption at rest to ask for; left out, the bucket's.
	SSE string `yaml:"sse" oneof:"AES256 aws:kms"`
	// KMSKeyID is the key for sse: aws:kms; left out, the account's.
	KMSKeyID string `yaml:"kms_key_id" example:"alias/penstock"`
	// StorageClass is that of objects, such as STANDARD_IA; left out, the
	// bucket's.
	StorageClass string `yaml:"storage_class" example:"STANDARD_IA"`
	// Tags are put on every object, at most 10.
	Tags map[string]string `yaml:"tags" example:"{team: data}"`
	// Batch says when a batch is stored: as soon as one of its bounds is
	// reached.
	Batch batchKeys `yaml:"batch"`
}

// The default names of objects, which Athena, DuckDB and their like read as
// partitions.
const (
	defaultBatchKey = "{{sink}}/dt=2006-01-02/hr=15/{{first}}-{{last}}-{{id}}.{{ext}}"
	defaultEventKey = "{{sink}}/dt=2006-01-02/hr=15/{{id}}.{{ext}}"
)

func defaultS3() s3Keys {
	return s3Keys{Object: objectBatch, Compression: "gzip", Batch: defaultBatch()}
}

// s3Options are the keys, understood.
type s3Options struct {
	s3Keys
	key keyTemplate
}

func (o s3Options) batching() Batching {
	if o.Object == objectEvent {
		return Batching{}
	}
	return o.Batch.batching()
}

var (
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	classPattern  = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	rolePattern   = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::\d{12}:role/[\w+=,.@/-]+$`)
	regionPattern = regexp.MustCompile(`^[a-zA-Z0-9-]{1,63}$`)
)

func decodeS3(c config.Sink) (s3Options, config.Mistakes) {
	o := s3Options{s3Keys: defaultS3()}
	mistakes := c.Options.Decode(&o.s3Keys)
	add := func(key, what, hint string) {
		if !c.Options.Get(key).Unresolved() {
			mistakes = append(mistakes, c.Options.Errorf(key, what, hint))
		}
	}
	wrong := func(key, value string, ok *regexp.Regexp, hint string) {
		if value != "" && !ok.MatchString(value) {
			add(key, fmt.Sprintf("%q is not one", value), hint)
		}
	}
	wrong("bucket", o.Bucket, bucketPattern, "a bucket has 3 to 63 small letters, digits, dots and hyphens")
	wrong("region", o.Region, regionPattern, "write it as eu-central-1")
	wrong("storage_class", o.StorageClass, classPattern, "write it as STANDARD_IA")
	wrong("role_arn", o.RoleARN, rolePattern, "write it as arn:aws:iam::123456789012:role/name")
	if o.Endpoint != "" {
		if _, what, _ := parseURL(o.Endpoint); what != "" {
			add("endpoint", what, "write it as https://s3.example.com")
		}
	}
	o.checkCredentials(c.Options, add)
	if o.KMSKeyID != "" && o.SSE != "aws:kms" {
		add("kms_key_id", "has no use without sse: aws:kms", "add that or remove this")
	}
	for key, value := range map[string]string{"content_type": o.ContentType, "kms_key_id": o.KMSKeyID} {
		if !validHeaderValue(value) {
			add(key, "has a control character", "use printable characters")
		}
	}
	o.checkTags(c.Options, add)
	o.chooseKey(c.Options, add)
	mistakes.Sort()
	return o, mistakes
}

// checkCredentials checks that a key is whole.
func (o *s3Options) checkCredentials(n config.Node, add func(key, what, hint string)) {
	given := func(key string) bool { return !n.Get(key).IsZero() || !n.Get(key+"_file").IsZero() }
	switch id, secret := given("access_key_id"), given("secret_access_key"); {
	case id && !secret:
		add("access_key_id", "has no secret_access_key", "give both, or neither for the credentials of the environment")
	case secret && !id:
		add("secret_access_key", "has no access_key_id", "give both, or neither for the credentials of the environment")
	case given("session_token") && !id:
		add("session_token", "has no access_key_id", "give both, or neither for the credentials of the environment")
	case id && o.Profile != "":
		add("profile", "has no use beside access_key_id", "keep one of them")
	}
}

// maxTags is the most that S3 takes.
const maxTags = 10

func (o *s3Options) checkTags(n config.Node, add func(key, what, hint string)) {
	if len(o.Tags) > maxTags {
		add("tags", fmt.Sprintf("has %d tags", len(o.Tags)), fmt.Sprintf("an object may have %d", maxTags))
	}
	for _, k := range slices.Sorted(maps.Keys(o.Tags)) {
		if v := o.Tags[k]; k == "" || len(k) > 128 || len(v) > 256 {
			add("tags", fmt.Sprintf("has the tag %.130q with %d bytes", k, len(v)), "a name has 1 to 128 bytes, a value at most 256")
		}
	}
}

// chooseKey reads the key's template.
func (o *s3Options) chooseKey(n config.Node, add func(key, what, hint string)) {
	text := o.Key
	if text == "" {
		text = defaultBatchKey
		if o.Object == objectEvent {
			text = defaultEventKey
		}
	}
	var what, hint string
	if o.key, what, hint = parseKey(text); what != "" {
		add("key", what, hint)
	}
}
