package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// roleVariable makes this program one of the servers under test.
const roleVariable = "PENSTOCK_BENCH_ROLE"

// configVariable holds the configuration of the role "penstock".
const configVariable = "PENSTOCK_BENCH_CONFIG"

// noRecordsVariable, when set, makes the role "penstock" keep no records of
// attempts, to see what they cost.
const noRecordsVariable = "PENSTOCK_BENCH_NO_RECORDS"

// profileVariable names the file for a CPU profile of the role "penstock".
const profileVariable = "PENSTOCK_BENCH_PROFILE"

const (
	secret      = "3f1c0a5e9b7d42688e21d4c0b6a7f9135d8e2b4c6a7091f3e5d7c9b1a3f5e7d9"
	webhookPath = "/webhooks/clickfunnels"
)

// runRole serves until it is told to stop. It prints its address as its first line.
func runRole(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch role {
	case "ceiling":
		return serve(ctx, ceiling())
	case "receiver":
		return new(receiver).serve(ctx)
	case "collector":
		return serve(ctx, collector())
	case "neighbours":
		return serve(ctx, neighbours(ctx))
	case "penstock":
		return penstock(ctx)
	case "nats":
		return natsNode(ctx)
	case "sink":
		return runSinkRole(ctx)
	}
	return fmt.Errorf("no such role")
}

// ceiling reads, verifies and answers, and does nothing else.
func ceiling() http.Handler {
	source := clickfunnels.NewSource(clickfunnels.Options{Name: "cf", Secrets: []string{secret}})
	e := echo.New()
	e.POST(webhookPath, func(c echo.Context) error {
		r := c.Request()
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return c.NoContent(http.StatusBadRequest)
		}
		if err := source.Verify(r.Header, body, time.Now()); err != nil {
			return c.NoContent(http.StatusUnauthorized)
		}
		return c.NoContent(http.StatusAccepted)
	})
	return e
}

func serve(ctx context.Context, h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func penstock(ctx context.Context) error {
	c, ms := app.Parse("bench.yaml", []byte(os.Getenv(configVariable)), app.LoadOptions{})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return fatal
	}
	a, err := app.New(c, app.Options{Version: "bench", NoRecords: os.Getenv(noRecordsVariable) != "", Traces: true})
	if err != nil {
		return err
	}
	if err := a.Open(ctx); err != nil {
		return err
	}
	fmt.Println(a.Addr())
	stop, err := profile()
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return errors.Join(a.Run(ctx), stop())
}

// profile writes a CPU profile of the server to the file that is named in
// profileVariable, if one is.
func profile() (stop func() error, err error) {
	path := os.Getenv(profileVariable)
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}
