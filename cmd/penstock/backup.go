package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
)

// storeFlags say with which NATS user an external store is read or written.
type storeFlags struct {
	creds, nkey string
	log         logFlags
}

func (f *storeFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.creds, "creds", "", "credentials file of the NATS user for backups, instead of broker.creds_file")
	flags.StringVar(&f.nkey, "nkey", "", "NKey seed file of the NATS user for backups, instead of broker.nkey_file")
	f.log.register(flags)
	cmd.MarkFlagsMutuallyExclusive("creds", "nkey")
}

// store returns how a store is reached, with a log that has to be closed.
func (p process) store(f *storeFlags) (o app.StoreOptions, log *app.Log, err error) {
	if log, _, err = p.log(p.stderr, &f.log); err != nil {
		return o, nil, err
	}
	return app.StoreOptions{CredsFile: f.creds, NKeyFile: f.nkey, Logger: log.Logger()}, log, nil
}

// storeConfig loads files of which only the store matters.
func (p process) storeConfig(files []string, f storeFlags) (*config.Config, error) {
	c, ms := app.Load(files, app.LoadOptions{Env: p.env, Roles: []string{app.RoleProvisioner}})
	ms = withoutReplaced(ms, f.creds, f.nkey)
	if len(ms.Fatal()) > 0 {
		return nil, ms
	}
	printMistakes(p.stderr, ms)
	return c, nil
}

// withoutReplaced leaves out what is wrong with the file's own credentials when
// others are given: those of a role are not set where somebody provisions.
func withoutReplaced(ms config.Mistakes, creds, nkey string) config.Mistakes {
	if creds == "" && nkey == "" {
		return ms
	}
	return slices.DeleteFunc(ms, func(m config.Mistake) bool {
		return m.Path == "broker.nkey_file" || m.Path == "broker.creds_file"
	})
}

type backupFlags struct {
	admin              adminFlags
	store              storeFlags
	noRejected, asJSON bool
}

func newBackup(p process) *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup [-c FILE] DIR|FILE|-",
		Short: "Save events, queues, retries and dead letters into one file",
		Long: `Writes everything that Penstock has stored into one file: events with their
sequences, how far each sink has come, retries with their times, dead letters,
records of attempts, refused requests and replays. It may run while webhooks come in:
after a restore some deliveries may be repeated, and none is missing.

With -c FILE, an external NATS is read with the credentials of the user for
backups; the queue inside is read through the running process, or, when there is
none, from the data directory. Without -c the process at --server is asked.

In a folder the file is named after the time. A file that is there is complete:
it has another name while it is written. It holds personal data, so that only its
owner may read it. "-" writes to the standard output, for a program that encrypts.`,
		Example: `  penstock backup -c penstock.yaml /var/backups/
  penstock backup -c penstock.yaml --nkey backup.nk monday.backup
  penstock backup -c penstock.yaml - | age -r age1... > monday.backup.age
  penstock backup verify monday.backup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.backup(cmd.Context(), f, args[0]) },
	}
	f.admin.register(cmd.Flags())
	f.store.register(cmd)
	cmd.Flags().BoolVar(&f.noRejected, "no-rejected", false, "leave out requests that failed verification")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print what was saved as JSON")
	cmd.AddCommand(newBackupVerify(p))
	return cmd
}

func newBackupVerify(p process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Read a backup from end to end and compare it with its hashes",
		Long: `Reads every message of a backup, checks counts, order and hashes, and lists what it
holds. It needs no server and no configuration. It exits with 1, and says what and
where, when the file is not what was written.`,
		Example: `  penstock backup verify monday.backup
  penstock backup verify monday.backup --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := p.verified(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			return p.printBackup(f, "the backup is whole", asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verified opens a backup and checks all of it.
func (p process) verified(ctx context.Context, path string) (*backup.File, error) {
	f, err := backup.Open(path)
	if err != nil {
		return nil, err
	}
	line := p.statusLine()
	defer line.end()
	if err := f.Verify(ctx, line.transfer("checking")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// saver copies the store to w; begin is told first how much may come.
type saver func(ctx context.Context, begin func(int64) error, w io.Writer) error

// backupSource decides where the store is read.
func (p process) backupSource(f backupFlags, options app.StoreOptions) (saver, error) {
	if len(f.admin.files) > 0 {
		c, err := p.storeConfig(f.admin.files, f.store)
		if err != nil {
			return nil, err
		}
		if f.admin.server == "" && (c.Broker.URL != "" || !app.InUse(c)) {
			if _, err := os.Stat(c.Broker.DataDir); c.Broker.URL == "" && err != nil {
				return nil, fmt.Errorf("there is nothing to back up: %w", err)
			}
			return func(ctx context.Context, begin func(int64) error, w io.Writer) error {
				return app.Save(ctx, c, options, broker.BackupOptions{NoRejected: f.noRejected, Version: readBuild().Version}, begin, w)
			}, nil
		}
	}
	client, err := p.client(f.admin)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, begin func(int64) error, w io.Writer) error {
		err := client.Backup(ctx, f.noRejected, begin, w)
		var no *console.APIError
		if errors.As(err, &no) && no.Status == 404 {
			return errors.New("that process has its events on an external NATS: name its configuration with -c, and the NATS user for backups with --nkey or --creds")
		}
		return err
	}, nil
}

func (p process) backup(ctx context.Context, f backupFlags, to string) error {
	options, log, err := p.store(&f.store)
	if err != nil {
		return err
	}
	defer log.Close()
	save, err := p.backupSource(f, options)
	if err != nil {
		return err
	}
	line := p.statusLine()
	defer line.end()
	if to == "-" {
		if p.attends(p.stdout) {
			return usagef("the standard output is a terminal; pipe it into a program, or name a file")
		}
		return save(ctx, func(int64) error { return nil }, p.stdout)
	}
	path, err := backupPath(to, time.Now())
	if err != nil {
		return err
	}
	err = app.WriteBackup(path, func(file *os.File) error {
		counted := &countedWriter{w: file, line: line}
		err := save(ctx, func(bytes int64) error { counted.of = bytes; return app.RoomFor(filepath.Dir(path), bytes) }, counted)
		if err != nil {
			return err
		}
		line.end()
		written, err := p.verified(ctx, file.Name())
		if err != nil {
			return err
		}
		return written.Close()
	})
	if err != nil {
		return err
	}
	done, err := backup.Open(path)
	if err != nil {
		return err
	}
	defer done.Close()
	return p.printBackup(done, "wrote "+path, f.asJSON)
}

// backupPath is the file to write, which must not be there.
func backupPath(to string, now time.Time) (string, error) {
	info, err := os.Stat(to)
	switch {
	case err == nil && info.IsDir(), err != nil && strings.HasSuffix(to, string(filepath.Separator)):
		if err := os.MkdirAll(to, 0o700); err != nil {
			return "", fmt.Errorf("make the folder of the backup: %w", err)
		}
		return filepath.Join(to, "penstock-"+now.UTC().Format("20060102T150405Z")+".backup"), nil
	case err == nil:
		return "", fmt.Errorf("%s is there already; name another file, or a folder", to)
	case errors.Is(err, os.ErrNotExist):
		return to, nil
	}
	return "", err
}

// backupSummary is what --json prints.
type backupSummary struct {
	File            string `json:"file"`
	Bytes           int64  `json:"file_bytes"`
	backup.Manifest `json:"manifest"`
}

func (p process) printBackup(f *backup.File, what string, asJSON bool) error {
	if asJSON {
		return writeJSON(p.stdout, backupSummary{File: f.Path, Bytes: f.Size, Manifest: f.Manifest})
	}
	if err := printStreams(p.stdout, f.Streams); err != nil {
		return err
	}
	messages, _ := f.Totals()
	fmt.Fprintf(p.stdout, "%s: %d messages, %s, from %s (penstock %s, NATS %s), taken %s in %s\n", what, messages, bytesText(f.Size),
		f.Source, f.Penstock, f.NATS, f.Started.Local().Format(time.DateTime), f.Finished.Sub(f.Started).Round(time.Millisecond))
	return nil
}

func printStreams(w io.Writer, streams []backup.Stream) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STREAM\tMESSAGES\tFIRST\tLAST\tBYTES\tQUEUES\tSHA-256")
	for _, s := range streams {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%d\t%.12s\n", s.Name, s.Messages, s.First, s.Last, bytesText(int64(s.Bytes)), len(s.Consumers), s.SHA256)
	}
	return t.Flush()
}

// countedWriter shows how many bytes have gone through it.
type countedWriter struct {
	w     io.Writer
	line  *statusLine
	n, of int64
}

// Write implements io.Writer.
func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.line.show(fmt.Sprintf("saving: %s of at most %s", bytesText(c.n), bytesText(c.of)))
	return n, err
}

// statusLine is one line that says what goes on: written over on a terminal,
// else repeated every few seconds.
type statusLine struct {
	p       process
	written time.Time
	width   int
}

func (p process) statusLine() *statusLine { return &statusLine{p: p, written: time.Now()} }

func (l *statusLine) show(text string) {
	terminal, now := l.p.attends(l.p.stderr), time.Now()
	every := lineEvery
	if terminal {
		every = lookEvery
	}
	if now.Sub(l.written) < every {
		return
	}
	l.written = now
	if !terminal {
		fmt.Fprintln(l.p.stderr, text)
		return
	}
	fmt.Fprintf(l.p.stderr, "\r%s%s", text, strings.Repeat(" ", max(0, l.width-len(text))))
	l.width = len(text)
}

// end clears the line.
func (l *statusLine) end() {
	if l.width > 0 {
		fmt.Fprintf(l.p.stderr, "\r%s\r", strings.Repeat(" ", l.width))
		l.width = 0
	}
}

// transfer shows the progress of something done to a stream.
func (l *statusLine) transfer(doing string) func(backup.Progress) {
	return func(g backup.Progress) {
		l.show(doing + " " + g.Stream + ": " + strconv.FormatUint(g.Messages, 10) + " of " + strconv.FormatUint(g.Of, 10))
	}
}

type restoreFlags struct {
	files           []string
	store           storeFlags
	replace, asJSON bool
}

func newRestore(p process) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore -c FILE BACKUP",
		Short: "Make the store of a backup again",
		Long: `Checks a backup from end to end, makes its streams in the store of the configuration,
reads them back and compares them with it. Sequences, times, how far each sink had
come, and when retries are due are as they were; limits are those of the
configuration. Every penstock on that store must be stopped.

What is in the store is left alone: with --replace a data directory's former store
is moved aside within it, and the streams of an external NATS are deleted. A backup
that is not whole, or of a newer version, changes nothing.`,
		Example: `  penstock restore -c penstock.yaml monday.backup
  penstock restore -c cluster.yaml --nkey backup.nk --replace monday.backup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.restore(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().StringArrayVarP(&f.files, "config", "c", nil, configFlagHelp)
	f.store.register(cmd)
	cmd.Flags().BoolVar(&f.replace, "replace", false, "also when there is a store: move it aside, or delete the streams of an external NATS")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print what was restored as JSON")
	return cmd
}

func (p process) restore(ctx context.Context, f restoreFlags, path string) error {
	if len(f.files) == 0 {
		return usagef("no configuration is named; run `penstock restore -c penstock.yaml %s`", path)
	}
	options, log, err := p.store(&f.store)
	if err != nil {
		return err
	}
	defer log.Close()
	c, err := p.storeConfig(f.files, f.store)
	if err != nil {
		return err
	}
	b, err := p.verified(ctx, path)
	if err != nil {
		return err
	}
	defer b.Close()
	line := p.statusLine()
	aside, err := app.Restore(ctx, c, options, b, broker.RestoreOptions{Replace: f.replace, Progress: line.transfer("restoring")})
	line.end()
	if err != nil {
		return err
	}
	if aside != "" {
		fmt.Fprintf(p.stderr, "what was there is in %s; delete it once you do not need it\n", aside)
	}
	return p.printBackup(b, "restored and compared", f.asJSON)
}
