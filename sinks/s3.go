package sinks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

const (
	// partSize is above what size an object is uploaded in parts, and how
	// large they are.
	partSize = 8 << 20
	// uploads is how many objects of one batch are on their way at one time.
	uploads = 8
	// abortTimeout bounds how long the parts of an upload that failed are
	// cleaned away after its attempt.
	abortTimeout = 5 * time.Second
)

// s3Sink stores events as objects: a batch as lines of JSON, or each by itself.
type s3Sink struct {
	*client
	name    string
	o       s3Options
	upload  *transfermanager.Client
	tagging string
	pack    packer
	size    atomic.Int64 // of the last batch, packed: a guess at the next
}

func openS3(c config.Sink, o s3Options, d Deps) (Sink, error) {
	secrets := []string{o.AccessKeyID.Reveal(), o.SecretAccessKey.Reveal(), o.SessionToken.Reveal()}
	s := &s3Sink{
		client: newClient(d, http.MethodPut, &url.URL{Scheme: "s3", Host: o.Bucket}, c.Retry.PermanentStatuses, secrets...),
		name:   c.Name, o: o, pack: newPacker(o.Compression),
	}
	s.label = "s3://" + o.Bucket
	tags := url.Values{}
	for k, v := range o.Tags {
		tags.Set(k, v)
	}
	s.tagging = tags.Encode()
	store, err := openStore(o, &objectClient{s.client})
	if err != nil {
		return nil, err
	}
	s.upload = transfermanager.New(store, func(t *transfermanager.Options) {
		t.PartSizeBytes, t.MultipartUploadThreshold = partSize, partSize
		t.FailTimeout = abortTimeout
		t.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	})
	return s, nil
}

// Batching returns the bounds of a batch, or none when each event is an object.
func (s *s3Sink) Batching() Batching { return s.o.batching() }

// Deliver stores e as an object of its own.
func (s *s3Sink) Deliver(ctx context.Context, e event.Event) error {
	if s.o.Object == objectEvent {
		return s.put(ctx, s.eventObject(e))
	}
	return s.DeliverBatch(ctx, []event.Event{e})[0]
}

// DeliverBatch stores the events as one object for each partition of the key.
// Only the events of an object that was not stored have failed.
func (s *s3Sink) DeliverBatch(ctx context.Context, events []event.Event) []error {
	errs := make([]error, len(events))
	groups := s.partition(events)
	var g errgroup.Group
	g.SetLimit(uploads)
	for _, group := range groups {
		g.Go(func() error {
			err := s.putBatch(ctx, events, group)
			for _, i := range group {
				errs[i] = err
			}
			return nil
		})
	}
	_ = g.Wait() // each error is in errs
	return errs
}

// partition returns the events' places by the part of the key that depends on
// the event, each group in the order of the stream: the same events always
// come to the same objects.
func (s *s3Sink) partition(events []event.Event) [][]int {
	var groups [][]int
	numbers := map[string]int{}
	var b []byte
	for i := range events {
		b = s.o.key.appendPartition(b[:0], &events[i])
		n, ok := numbers[string(b)]
		if !ok {
			n = len(groups)
			numbers[string(b)] = n
			groups = append(groups, nil)
		}
		groups[n] = append(groups[n], i)
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b int) int {
			return cmp.Or(cmp.Compare(events[a].Seq, events[b].Seq), cmp.Compare(events[a].ID, events[b].ID))
		})
	}
	return groups
}

// object is what is stored.
type object struct {
	key, contentType string
	metadata         map[string]string
	body             []byte
}

// putBatch stores the events of one group.
func (s *s3Sink) putBatch(ctx context.Context, events []event.Event, group []int) error {
	if err := ctx.Err(); err != nil { // it need not be encoded
		return s.noAnswer(ctx, time.Now(), s.label, s.scrub, err)
	}
	body, err := s.pack.pack(events, group, int(s.size.Load()))
	if err != nil {
		return delivery.Fail(delivery.Ours, fmt.Errorf("%s: compress: %w", s.label, err))
	}
	s.size.Store(int64(len(body)))
	o := s.batchObject(events, group)
	o.body = body
	return s.put(ctx, o)
}

// batchObject is the object of a group without its body.
func (s *s3Sink) batchObject(events []event.Event, group []int) object {
	h := sha256.New()
	var line []byte
	for _, i := range group {
		line = strconv.AppendUint(line[:0], events[i].Seq, 10)
		line = append(append(append(line, ' '), events[i].ID...), '\n')
		h.Write(line)
	}
	first, last := &events[group[0]], &events[group[len(group)-1]]
	return object{
		key:         s.o.key.render(s.name, first, last.Seq, hex.EncodeToString(h.Sum(nil)[:8]), s.pack.ext),
		contentType: cmp.Or(s.o.ContentType, s.pack.contentType),
	}
}

// eventObject is the event as an object of its own.
func (s *s3Sink) eventObject(e event.Event) object {
	ext := "json"
	if !strings.Contains(contentType(e), "json") {
		ext = "bin"
	}
	meta := map[string]string{
		"id": event.HeaderValue(e.ID, maxMeta), "type": event.HeaderValue(e.Type, maxMeta),
		"subject": event.HeaderValue(e.Subject, maxMeta), "source": event.HeaderValue(e.Source, maxMeta),
		"received": e.Received.UTC().Format(time.RFC3339Nano), "seq": strconv.FormatUint(e.Seq, 10),
		"api-version": strconv.Itoa(e.APIVersion),
	}
	return object{
		key:         s.o.key.render(s.name, &e, e.Seq, e.ID, ext),
		contentType: cmp.Or(s.o.ContentType, event.HeaderValue(contentType(e), maxMeta)),
		metadata:    meta, body: e.Body,
	}
}

// maxMeta bounds each attribute among an object's metadata, which may have 2 KB.
const maxMeta = 400

// put stores one object.
func (s *s3Sink) put(ctx context.Context, o object) error {
	start := time.Now()
	in := &transfermanager.UploadObjectInput{
		Bucket: aws.String(s.o.Bucket), Key: aws.String(o.key), Body: bytes.NewReader(o.body),
		ContentType: aws.String(o.contentType), Metadata: o.metadata,
		StorageClass:         types.StorageClass(s.o.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(s.o.SSE),
	}
	if s.tagging != "" {
		in.Tagging = aws.String(s.tagging)
	}
	if s.o.KMSKeyID != "" {
		in.SSEKMSKeyID = aws.String(s.o.KMSKeyID)
	}
	_, err := s.upload.UploadObject(ctx, in)
	if err != nil {
		return s.meaning(ctx, start, err)
	}
	return nil
}

// Preview shows the object that e alone would be, uncompressed.
func (s *s3Sink) Preview(e event.Event) (Preview, error) {
	o := s.eventObject(e)
	if s.o.Object != objectEvent {
		o = s.batchObject([]event.Event{e}, []int{0})
		var b bytes.Buffer
		appendEvent(&b, &e)
		o.body = b.Bytes()
	}
	p := Preview{Target: s.label + "/" + o.key, Body: o.body}
	for _, h := range []HeaderLine{
		{"Content-Type", o.contentType}, {"X-Amz-Storage-Class", s.o.StorageClass}, {"X-Amz-Tagging", s.tagging},
		{"X-Amz-Server-Side-Encryption", s.o.SSE}, {"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", s.o.KMSKeyID},
	} {
		if h.Value != "" {
			p.Header = append(p.Header, h)
		}
	}
	return p, nil
}
