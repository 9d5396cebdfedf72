package app

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// ownBackup implements console.Backup for the store inside this process.
type ownBackup struct{ app *App }

func (b ownBackup) BackupSize(ctx context.Context) (int64, error) {
	return b.app.broker.BackupSize(ctx)
}

func (b ownBackup) Backup(ctx context.Context, noRejected bool, w io.Writer) error {
	_, err := b.app.broker.Backup(ctx, broker.BackupOptions{NoRejected: noRejected, Version: b.app.o.Version}, w)
	return err
}

// StoreOptions say how the store of a configuration is reached without running
// anything on it.
type StoreOptions struct {
	// CredsFile and NKeyFile are those of the NATS user for backups, instead
	// of those that the configuration gives to the running roles.
	CredsFile, NKeyFile string
	Logger              *slog.Logger
}

func (o StoreOptions) apply(c *config.Config) broker.Options {
	if o.CredsFile != "" || o.NKeyFile != "" {
		c.Broker.CredsFile, c.Broker.NKeyFile = o.CredsFile, o.NKeyFile
	}
	return unbuilt(c, Options{Roles: []string{RoleBackup}}, o.Logger).brokerOptions(clickfunnels.NewCatalog())
}

// Save writes a backup of the store of c to w: of the external streams, or of
// the data directory, which no other process may be using. begin is told first
// at most how many bytes will come; its error ends the call.
func Save(ctx context.Context, c *config.Config, o StoreOptions, b broker.BackupOptions, begin func(bytes int64) error, w io.Writer) (err error) {
	s := broker.New(o.apply(c))
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.OpenForBackup(ctx); err != nil {
		return err
	}
	size, err := s.BackupSize(ctx)
	if err != nil {
		return err
	}
	if err := begin(size); err != nil {
		return err
	}
	_, err = s.Backup(ctx, b, w)
	return err
}

// Restore makes the store of c again from a verified backup and compares the
// two. aside is where a data directory's former store went, if it had one.
func Restore(ctx context.Context, c *config.Config, o StoreOptions, f *backup.File, r broker.RestoreOptions) (aside string, err error) {
	options := o.apply(c)
	if c.Broker.URL == "" {
		return broker.RestoreDataDir(ctx, options, f, r)
	}
	s := broker.New(options)
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.OpenForBackup(ctx); err != nil {
		return "", err
	}
	if err := s.Restore(ctx, f, r); err != nil {
		return "", err
	}
	return "", s.CompareWith(ctx, f, r.Progress)
}

// InUse reports that a process has the data directory of c.
func InUse(c *config.Config) bool {
	used, _ := broker.InUse(c.Broker.DataDir) // why not is for who opens it
	return used
}
