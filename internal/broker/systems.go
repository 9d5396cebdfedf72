package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// firstAnswer is how long the first server of a cluster has to answer,
// serversAnswer how long the others have after each answer.
const (
	firstAnswer   = 10 * time.Second
	serversAnswer = 2 * time.Second
)

// ServerSync is how a NATS server writes to its disk.
type ServerSync struct {
	Name string
	// Always: each write is on disk before it is acknowledged. Else Every says
	// how often it is synced.
	Always bool
	Every  time.Duration
}

// ServerSyncs asks every server of the cluster with JetStream how it syncs. o
// holds the credentials of a user of the system account.
func ServerSyncs(ctx context.Context, o Options) (out []ServerSync, err error) {
	nc, err := nats.Connect(redactURL(o.Config.URL), append(externalOptions(o), nats.Name("penstock-doctor"))...)
	if err != nil {
		return nil, connectError(o.Config.URL, err)
	}
	defer nc.Close()
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the servers how they sync: %w", err)
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, []byte(`{"config":true}`)); err != nil {
		return nil, fmt.Errorf("ask the servers how they sync: %w", err)
	}
	for wait := firstAnswer; ; wait = serversAnswer {
		patient, cancel := context.WithTimeout(ctx, wait)
		m, err := sub.NextMsgWithContext(patient)
		cancel()
		switch {
		case err != nil && len(out) > 0:
			return out, nil
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
			return nil, errors.New("no server answered; the credentials have to be those of a user of the system account")
		case err != nil:
			return nil, fmt.Errorf("ask the servers how they sync: %w", err)
		}
		var answer struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
			Data struct {
				Config struct {
					Every  time.Duration `json:"sync_interval"`
					Always bool          `json:"sync_always"`
				} `json:"config"`
				Disabled bool `json:"disabled"`
			} `json:"data"`
		}
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return nil, errors.New("no server answered; the credentials have to be those of a user of the system account")
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return nil, fmt.Errorf("read a server's answer: %w", err)
		}
		if !answer.Data.Disabled {
			out = append(out, ServerSync{answer.Server.Name, answer.Data.Config.Always, answer.Data.Config.Every})
		}
	}
}
