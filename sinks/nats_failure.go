package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/penstock/penstock/internal/delivery"
)

func isNATSAuth(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// failure says whose fault err is, without secrets.
func (l *natsLinks) failure(ctx context.Context, start time.Time, err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) { // by us, or by a server that could not read us
		err = errDisconnected
		if l.isClosed() {
			err = errClosed
		}
	}
	class, text := explainNATS(ctx, start, err)
	return &delivery.Error{Class: class, Err: &failure{
		text:  l.label + ": " + oneLine(l.scrub.clean(text), 400),
		cause: err,
	}}
}

func explainNATS(ctx context.Context, start time.Time, err error) (delivery.Class, string) {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, errOwnStream):
		return delivery.Ours, err.Error()
	case ctx.Err() != nil:
		return explain(ctx, start, err)
	case errors.Is(err, nats.ErrPermissionViolation):
		return delivery.Refused, "the user may not publish on this subject (" + strings.TrimPrefix(err.Error(), "nats: ") + "); allow it on the server"
	case isNATSAuth(err):
		return delivery.Refused, strings.TrimPrefix(err.Error(), "nats: ") + "; check creds_file, nkey_file, user and password, token or the user in url"
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return delivery.Refused, "no stream takes this subject; make one that does, or set mode: core"
	case errors.Is(err, nats.ErrMaxPayload):
		return delivery.Rejected, strings.TrimPrefix(err.Error(), "nats: ")
	case errors.As(err, &api):
		return explainAPI(api)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, errReconnecting):
		return delivery.Failed, errReconnecting.Error()
	case errors.Is(err, errClosed), errors.Is(err, errDisconnected):
		return delivery.Failed, err.Error()
	case errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, nats.ErrSecureConnRequired):
		return delivery.Network, "TLS: " + strings.TrimPrefix(err.Error(), "nats: ") + "; use tls:// in url, or set tls"
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, io.EOF):
		return delivery.Failed, "the server did not answer"
	case isFileError(err):
		return delivery.Refused, err.Error()
	}
	return explain(ctx, start, err)
}

// explainAPI says what a stream's refusal means.
func explainAPI(err *jetstream.APIError) (delivery.Class, string) {
	const (
		tooLarge    jetstream.ErrorCode = 10054
		headerLarge jetstream.ErrorCode = 10097
		wrongStream jetstream.ErrorCode = 10060
		tooMany     jetstream.ErrorCode = 10167
	)
	text := fmt.Sprintf("the stream answered %d: %s", err.ErrorCode, err.Description)
	switch {
	case err.ErrorCode == tooLarge, err.ErrorCode == headerLarge:
		return delivery.Rejected, text
	case err.ErrorCode == wrongStream:
		return delivery.Refused, "another stream than the sink's stream takes this subject; correct stream or subject"
	case err.ErrorCode == tooMany:
		return delivery.Throttled, text
	case err.Code >= 500:
		return delivery.Failed, text
	}
	return delivery.Refused, text
}

// isFileError reports that a file of the options could not be read.
func isFileError(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}
