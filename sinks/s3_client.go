package sinks

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/penstock/penstock/internal/delivery"
)

// openStore returns a client for objects that retries nothing: that is for the
// sink's lane. Credentials are fetched when they are needed, by the SDK's own
// HTTP client, because a machine's role comes from an address that sinks must
// never dial. Objects go through ours, with its guard.
func openStore(o s3Options, objects s3.HTTPClient) (*s3.Client, error) {
	var load []func(*awsconfig.LoadOptions) error
	if o.Profile != "" {
		load = append(load, awsconfig.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		load = append(load, awsconfig.WithRegion(o.Region))
	}
	if !o.AccessKeyID.IsZero() {
		load = append(load, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(o.AccessKeyID.Reveal(), o.SecretAccessKey.Reveal(), o.SessionToken.Reveal())))
	}
	// This reads the environment and files, and dials nothing.
	c, err := awsconfig.LoadDefaultConfig(context.Background(), load...)
	if err != nil {
		return nil, fmt.Errorf("read AWS configuration: %w", err)
	}
	if c.Region == "" {
		if o.Endpoint == "" {
			return nil, errors.New("region has no value; set region, or AWS_REGION in the environment")
		}
		c.Region = "us-east-1"
	}
	if o.RoleARN != "" {
		c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(c), o.RoleARN))
	}
	return s3.NewFromConfig(c, func(s *s3.Options) {
		s.HTTPClient = objects
		s.Retryer = aws.NopRetryer{}
		s.UsePathStyle = o.PathStyle
		s.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		s.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if o.Endpoint != "" {
			s.BaseEndpoint = aws.String(o.Endpoint)
		}
	}), nil
}

// objectClient makes the SDK's requests with our transport and says what their
// outcomes mean before the SDK does.
type objectClient struct{ *client }

// Do makes one request, following no redirect. An answer other than 2xx is a
// *delivery.Error.
func (c *objectClient) Do(r *http.Request) (*http.Response, error) {
	start := time.Now()
	ctx := r.Context()
	trace := delivery.TraceOf(ctx)
	reqCtx, cancel := context.WithCancel(ctx)
	if trace != nil && r.URL.Scheme == "https" {
		reqCtx = traceTLS(reqCtx, trace)
	}
	resp, err := c.transport.RoundTrip(r.WithContext(reqCtx))
	if err != nil {
		cancel()
		trace.Spoke(r.Method, r.URL, 0)
		return nil, c.noAnswer(ctx, start, c.label, c.scrub, err)
	}
	trace.Answered(time.Since(start))
	trace.Spoke(r.Method, r.URL, resp.StatusCode)
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		defer cancel()
		defer resp.Body.Close()
		class, note := c.classOf(resp)
		return nil, c.refine(resp, c.answered(resp, class, c.label, c.scrub, note, cancel))
	}
	if r.Method != http.MethodPut {
		// Its body counts, and may take as long as the attempt has.
		resp.Body = &cancelBody{resp.Body, cancel}
		return resp, nil
	}
	defer cancel()
	defer resp.Body.Close()
	// What is to be known of a stored object is in the head.
	accepted(resp, trace, c.scrub, cancel)
	resp.Body = http.NoBody
	return resp, nil
}

// cancelBody ends its request when it is closed.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// s3Code is what a code of S3 means beyond its status: whose fault it is, and
// what may help.
type s3Code struct {
	class delivery.Class
	hint  string
}

var s3Codes = map[string]s3Code{
	"NoSuchBucket":                       {delivery.Refused, "the bucket does not exist; check bucket, region and endpoint"},
	"AccessDenied":                       {delivery.Refused, "check the rights of the sink's credentials and the bucket's policy"},
	"AllAccessDisabled":                  {delivery.Refused, "the bucket is closed"},
	"InvalidAccessKeyId":                 {delivery.Refused, "the access key is not known there; check access_key_id and endpoint"},
	"XAdminUserNotFound":                 {delivery.Refused, "the access key is not known there; check access_key_id and endpoint"},
	"SignatureDoesNotMatch":              {delivery.Refused, "check secret_access_key and region"},
	"ExpiredToken":                       {delivery.Refused, "the credentials have expired"},
	"InvalidToken":                       {delivery.Refused, "check session_token"},
	"TokenRefreshRequired":               {delivery.Refused, "the credentials have expired"},
	"RequestTimeTooSkewed":               {delivery.Refused, "the clock of this machine is wrong"},
	"AuthorizationHeaderMalformed":       {delivery.Refused, "check region"},
	"AuthorizationQueryParametersError":  {delivery.Refused, "check region"},
	"PermanentRedirect":                  {delivery.Refused, "check region and endpoint"},
	"TemporaryRedirect":                  {delivery.Failed, ""},
	"IllegalLocationConstraintException": {delivery.Refused, "check region"},
	"InvalidBucketName":                  {delivery.Refused, "check bucket"},
	"InvalidStorageClass":                {delivery.Refused, "check storage_class"},
	"KMS.NotFoundException":              {delivery.Refused, "check kms_key_id"},
	"KMS.DisabledException":              {delivery.Refused, "the key of kms_key_id is disabled"},
	"InvalidTag":                         {delivery.Refused, "check tags"},
	"SlowDown":                           {delivery.Throttled, ""},
	"RequestLimitExceeded":               {delivery.Throttled, ""},
	"Throttling":                         {delivery.Throttled, ""},
	"ThrottlingException":                {delivery.Throttled, ""},
	"TooManyRequests":                    {delivery.Throttled, ""},
	"RequestTimeout":                     {delivery.Failed, ""},
	"BadDigest":                          {delivery.Failed, ""},
	"IncompleteBody":                     {delivery.Failed, ""},
	"InternalError":                      {delivery.Failed, ""},
	"NoSuchUpload":                       {delivery.Failed, ""},
	"EntityTooLarge":                     {delivery.Rejected, "the object is larger than the server takes; lower batch.max_bytes"},
}

// refine adds to what an answer means by its status what its code says.
func (c *objectClient) refine(resp *http.Response, err error) error {
	var e *delivery.Error
	if !errors.As(err, &e) {
		return err
	}
	var answer struct{ Code, Region string }
	// A beginning of the answer is enough; without a code the status speaks.
	_ = xml.NewDecoder(bytes.NewReader(e.Response)).Decode(&answer)
	known := s3Codes[answer.Code]
	if known.class != "" {
		e.Class = known.class
	}
	hint := known.hint
	region := resp.Header.Get("X-Amz-Bucket-Region")
	if region == "" {
		region = answer.Region
	}
	switch {
	case region != "" && regionPattern.MatchString(region) && (resp.StatusCode/100 == 3 || hint == "check region"):
		hint = "the bucket is in region " + region + "; set region to that"
	case hint == "" && resp.StatusCode == http.StatusNotFound:
		hint = "check bucket and endpoint"
	case hint == "" && (resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized):
		hint = "check the sink's credentials"
	case hint == "" && resp.StatusCode/100 == 3:
		hint = "redirects are not followed; check region and endpoint"
	}
	text := c.label + ": answered " + statusText(resp.StatusCode)
	if validToken(answer.Code) && len(answer.Code) <= 64 {
		text += ", " + answer.Code
	}
	if hint != "" {
		text += ": " + hint
	}
	e.Err = errors.New(c.scrub.clean(text))
	return e
}

// meaning says what it means that an upload begun at start failed: what Do
// said, an error within an answer of 200, or that there was no request at all.
func (c *client) meaning(ctx context.Context, start time.Time, err error) error {
	var e *delivery.Error
	if errors.As(err, &e) {
		return e
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		known := s3Codes[api.ErrorCode()]
		if known.class == "" {
			known.class = delivery.Failed
		}
		text := c.label + ": answered with the error " + strconv.QuoteToASCII(api.ErrorCode())
		if known.hint != "" {
			text += ": " + known.hint
		}
		return &delivery.Error{Class: known.class, Err: &failure{text: oneLine(c.scrub.clean(text), 400), cause: err}}
	}
	if ctx.Err() != nil {
		return c.noAnswer(ctx, start, c.label, c.scrub, err)
	}
	return &delivery.Error{Class: delivery.Refused, Err: &failure{
		text: oneLine(c.scrub.clean(c.label+": prepare request: "+err.Error()), 400), cause: err,
	}}
}
