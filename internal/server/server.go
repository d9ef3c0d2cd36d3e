// Package server builds everything, starts it and stops it in order. It is what the commands, the sandbox and the tests
// have in common: nothing of the product is wired anywhere else.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/console"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/gate"
	"github.com/openinfinia/infinia/internal/intake"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// Config is everything that can be set. Data and AdminTokens are required, and PublicURL in production.
type Config struct {
	Data     string // folder of the uploads under way, the SFTP host key, and of the database unless one is named
	Database string // a postgres:// URL, which several nodes may have in common; default: an SQLite file in Data
	HTTP     string // address to listen on; port 0 takes a free one
	SFTP     string

	SFTPOldAlgorithms bool // let in SFTP clients that know no newer ones
	SFTPWrongKeys     int  // after so many from one address it is barred; 0: intake's default, below zero: never

	AcceptLostLog bool // start over an SQLite file whose log is lost, without the commits in it

	ContentKeys content.Keys // that uploads, error files and results are encrypted under in the database; the same on every node

	PublicURL   string            // where browsers reach the server; the sandbox's default is the HTTP address
	AdminTokens map[string]string // operator's name to token
	Sandbox     bool              // the same engine with a clock that can be moved, private webhook addresses and http links
	TLSCert     string            // PEM files; without them a proxy in front ends TLS
	TLSKey      string
	BehindProxy bool           // X-Forwarded-For tells the caller's address
	WebhookNets []netip.Prefix // private ranges where production may send webhooks
	Paths       map[infinia.Operation]string
	KeyBits     int             // of generated keys; default 4096
	RetryAfter  []time.Duration // of webhooks; nil: the contract's

	CallsPerSecond  float64        // per address; 0: gate's default
	RequestDataMost int            // characters; 0: gate's default
	ErrorLinkValid  time.Duration  // how long a link to an error file opens it; 0: 24 hours
	UploadName      *regexp.Regexp // of a whole file name, its first group the requestNo; nil: <requestNo>.csv

	Log   *slog.Logger
	Clock *store.Clock // nil: the machine's
}

// Server is a running system.
type Server struct {
	URL     string // where HTTP listens
	SFTP    string // address where SFTP listens
	DB      *store.DB
	Engine  *op.Engine
	HostKey ssh.PublicKey // of SFTP

	HostKeys []string // SFTP's fingerprints, as its clients show them at the first login

	making   atomic.Bool // a sandbox: its app and keys, and the file that names them, are not all there yet
	log      *slog.Logger
	unlock   func() error // lets another process use the data folder
	http     *http.Server
	unused   unused
	gate     *gate.Gate
	stopWork context.CancelFunc // ends SFTP and the outbox
	work     sync.WaitGroup
	once     sync.Once
	closed   error
}

const databaseName = "infinia.db"

// readyMost bounds what a question for readiness waits; who asks takes no answer for a no.
const readyMost = 3 * time.Second

// settleGather is how long shares that are due are waited for, so that one commit settles many.
const settleGather = 50 * time.Millisecond

// Start builds everything over the data folder and listens. What it started is stopped again when it fails.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if err := check(&cfg); err != nil {
		return nil, err
	}
	s := &Server{log: cfg.Log}
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	s.stopWork = stopWork
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(ctx))
		}
	}()
	var pair tls.Certificate
	if cfg.TLSCert != "" {
		if pair, err = tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
	}
	for _, dir := range []string{cfg.Data, filepath.Join(cfg.Data, "files")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if cfg.Database != "" { // an SQLite file has its own lock
		if s.unlock, err = store.Lock(filepath.Join(cfg.Data, databaseName)); err != nil {
			return nil, fmt.Errorf("%s: %w: each node has a folder of its own", cfg.Data, err)
		}
	}
	if s.DB, err = store.Open(ctx, store.Config{Database: cmp.Or(cfg.Database, filepath.Join(cfg.Data, databaseName)), Clock: cfg.Clock,
		AcceptLostLog: cfg.AcceptLostLog}); err != nil {
		return nil, err
	}
	if err := markKind(ctx, s.DB, cfg.Sandbox); err != nil {
		return nil, err
	}
	if err := cfg.ContentKeys.Check(ctx, s.DB); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("HTTP: %w", err)
	}
	s.http = &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ConnState: s.unused.track, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)}
	scheme := "http"
	if cfg.TLSCert != "" {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
		scheme = "https"
	}
	s.URL = scheme + "://" + listener.Addr().String()
	if cfg.PublicURL == "" {
		cfg.PublicURL = s.URL
	}
	sftpListener, err := s.build(ctx, workCtx, cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.SFTP = sftpListener.Addr().String()
	s.work.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("HTTP stopped", "err", err)
		}
	})
	return s, nil
}

func check(cfg *Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	switch {
	case cfg.Data == "":
		return errors.New("a data folder is required")
	case cfg.Database != "" && !store.IsPostgres(cfg.Database):
		return errors.New("the database is named by a postgres:// URL; without one it is a file in the data folder")
	case len(cfg.AdminTokens) == 0:
		return errors.New("at least one operator with a token is required")
	case (cfg.TLSCert == "") != (cfg.TLSKey == ""):
		return errors.New("TLS takes both a certificate and a key file")
	case !cfg.Sandbox && !strings.HasPrefix(cfg.PublicURL, "https://"):
		return errors.New("production needs a public URL with https: links to sellers are secrets")
	}
	for name, token := range cfg.AdminTokens {
		if len(token) < 16 {
			return fmt.Errorf("the token of operator %s has fewer than 16 characters", name)
		}
	}
	return nil
}

// markKind writes into a fresh database whether it is a sandbox's, and refuses one of the other kind: neither its keys nor
// its money belong here.
func markKind(ctx context.Context, db *store.DB, sandbox bool) error {
	kind, other := "production", "sandbox"
	if sandbox {
		kind, other = other, kind
	}
	is, err := db.Mark(ctx, "kind", kind)
	if err == nil && is != kind {
		err = fmt.Errorf("this is the database of a %s; its keys and books must not be used in %s", other, kind)
	}
	return err
}

// build makes the parts, starts SFTP and the outbox, and sets the HTTP routes.
func (s *Server) build(ctx, workCtx context.Context, cfg Config) (net.Listener, error) {
	var err error
	if s.Engine, err = op.NewEngine(ctx, s.DB, cfg.PublicURL, !cfg.Sandbox); err != nil {
		return nil, err
	}
	if cfg.ErrorLinkValid > 0 {
		s.Engine.ErrorLinkValid = cfg.ErrorLinkValid
	}
	reg := newRegistry(s.DB, s.ready)
	var faults *gate.Faults
	if cfg.Sandbox {
		faults = new(gate.Faults)
	}
	s.gate = gate.New(gate.Config{Engine: s.Engine, Log: cfg.Log, Metrics: reg, Sandbox: cfg.Sandbox, Faults: faults, Paths: cfg.Paths, BehindProxy: cfg.BehindProxy,
		CallsPerSecond: cfg.CallsPerSecond, RequestDataMost: cfg.RequestDataMost})

	importer := &trade.Importer{DB: s.DB, Keys: cfg.ContentKeys, Busy: s.gate.Busy, Metrics: trade.NewMetrics(reg)}
	if err := importer.Watch(ctx); err != nil {
		return nil, err
	}
	files, sftpListener, err := s.intake(ctx, cfg, reg, importer)
	if err != nil {
		return nil, err
	}
	s.work.Go(func() {
		if err := files.Serve(workCtx, sftpListener); err != nil {
			s.log.Error("SFTP stopped", "err", err)
		}
	})

	webhooks := outbox.NewWebhooks(s.DB, outbox.WebhookConfig{Log: cfg.Log, Metrics: reg, AllowPrivate: cfg.Sandbox, AllowNets: cfg.WebhookNets, RetryAfter: cfg.RetryAfter})
	dispatcher := outbox.NewDispatcher(s.DB, cfg.Log, map[string]outbox.Work{
		op.SettleQueue:     {Most: 256, Gather: settleGather, Run: s.Engine.Settle},
		op.ExpiryQueue:     {Most: 64, Run: outbox.Each(s.Engine.ExpireBinding)},
		"file":             {Most: 1, Ordered: true, Run: outbox.Each(importer.Import)},
		"file-result":      {Most: 16, Run: outbox.Each(importer.WriteResults)},
		trade.RunQueue:     {Most: 1, Run: outbox.Each(importer.SweepRun)},
		trade.KeepQueue:    {Most: 1, Run: outbox.Each(importer.EraseOld)},
		content.Queue:      {Most: 16, Run: outbox.Each(func(ctx context.Context, t pgdb.Task) error { return content.Sweep(ctx, s.DB, t) })},
		content.RekeyQueue: {Most: 1, Run: outbox.Each(func(ctx context.Context, t pgdb.Task) error { return content.Rekey(ctx, s.DB, cfg.ContentKeys, t) })},
		"webhook":          {Most: 1, Run: outbox.Each(webhooks.Deliver)},
	})
	s.work.Go(func() { dispatcher.Run(workCtx) })

	adminCfg := admin.Config{Engine: s.Engine, Importer: importer, Log: cfg.Log, Tokens: cfg.AdminTokens, KeyBits: cfg.KeyBits, Production: !cfg.Sandbox}
	if cfg.Sandbox {
		offset := filepath.Join(cfg.Data, "clock_offset")
		if err := restoreClock(s.DB.Clock, offset); err != nil {
			return nil, err
		}
		adminCfg.Sandbox = &admin.Sandbox{Clock: s.DB.Clock, Faults: faults, Reset: s.reset,
			Moved: func() error { return replaceFile(offset, []byte(s.DB.Clock.Offset().String())) }}
	}
	pages := console.New(console.Config{Engine: s.Engine, Importer: importer, Log: cfg.Log, Sandbox: cfg.Sandbox, Secure: !cfg.Sandbox, Address: s.gate.Address})
	mux := http.NewServeMux()
	mux.Handle("/api/", http.StripPrefix("/api", s.gate))
	mux.Handle("/admin/v1/", admin.New(adminCfg))
	mux.Handle("/", pages)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	s.making.Store(cfg.Sandbox)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyMost)
		defer cancel()
		switch err := s.ready(ctx); {
		case errors.Is(err, errMaking):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		case err != nil:
			s.log.Error("not ready", "err", err)
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", admin.Authorized(adminCfg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})))
	s.http.Handler = mux
	return sftpListener, nil
}

var errMaking = errors.New("the sandbox is being made")

// ready says why the node cannot be used yet, or not at present.
func (s *Server) ready(ctx context.Context) error {
	if s.making.Load() {
		return errMaking
	}
	return s.DB.Ready(ctx)
}

// intake makes the SFTP side: who may log in, what counts as complete, and where a complete upload goes.
func (s *Server) intake(ctx context.Context, cfg Config, reg prometheus.Registerer, importer *trade.Importer) (*intake.Server, net.Listener, error) {
	hostKey, err := intake.LoadOrMakeHostKey(filepath.Join(cfg.Data, "sftp_host_key"))
	if err != nil {
		return nil, nil, err
	}
	s.HostKey, s.HostKeys = hostKey.PublicKey(), []string{ssh.FingerprintSHA256(hostKey.PublicKey())}
	var oldKey ssh.Signer
	if cfg.SFTPOldAlgorithms {
		if oldKey, err = intake.LoadOrMakeOldHostKey(filepath.Join(cfg.Data, "sftp_host_key_rsa")); err != nil {
			return nil, nil, err
		}
		s.HostKeys = append(s.HostKeys, ssh.FingerprintSHA256(oldKey.PublicKey())+" (RSA)")
	}
	files, err := intake.New(intake.Config{
		Dir: filepath.Join(cfg.Data, "files"), HostKey: hostKey, OldHostKey: oldKey, Log: cfg.Log, Metrics: reg, WrongKeys: cfg.SFTPWrongKeys, Now: s.DB.Clock.Now, Wake: s.DB.Clock.Moved,
		Keys: s.sftpKeys,
		Settings: func(ctx context.Context, appID string) (intake.Settings, error) {
			app, err := s.app(ctx, appID)
			if err != nil {
				return intake.Settings{}, err
			}
			set, err := store.SettingsOf(app)
			return intake.Settings{Quiet: set.UploadQuiet(), RequireMarker: set.RequireUploadMarker, NamePattern: cfg.UploadName,
				MaxFileBytes: set.UploadFileMegabytes << 20, MaxBytes: set.UploadMegabytes << 20, MaxFiles: set.UploadFiles}, err
		},
		Complete: func(ctx context.Context, u intake.Upload) error {
			return importer.Receive(ctx, u.AppID, u.RequestNo, u.Path, u.Size, u.SHA256)
		},
		Spent: func(ctx context.Context, appID, requestNo string) (bool, error) {
			var newest pgdb.TradeFile
			err := s.DB.ReadOne(ctx, func(q *pgdb.Queries) (err error) {
				newest, err = q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: appID, RequestNo: requestNo})
				return err
			})
			if store.NotFound(err) {
				return false, nil
			}
			return newest.ErasedAt > 0 || newest.RedactedAt > 0, err
		},
		Results: func(ctx context.Context, appID, after string, most int) ([]intake.ResultFile, error) {
			rows, err := importer.Results(ctx, appID, after, most)
			files := make([]intake.ResultFile, len(rows))
			for i, r := range rows {
				files[i] = intake.ResultFile{Name: r.Name, Size: r.Size, ModTime: store.Time(r.WrittenAt)}
			}
			return files, err
		},
		OpenResult: func(ctx context.Context, appID, name string) (intake.ResultFile, io.ReaderAt, error) {
			row, file, err := importer.OpenResult(ctx, appID, name)
			if err != nil {
				return intake.ResultFile{}, nil, err
			}
			return intake.ResultFile{Name: name, Size: file.Size(), ModTime: store.Time(row.WrittenAt)}, file, nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", cfg.SFTP)
	if err != nil {
		return nil, nil, fmt.Errorf("SFTP: %w", err)
	}
	return files, l, nil
}

func (s *Server) app(ctx context.Context, appID string) (app pgdb.App, err error) {
	err = s.DB.Read(ctx, func(q *pgdb.Queries) error { app, err = q.GetApp(ctx, appID); return err })
	return app, err
}

// sftpKeys are the login keys of an app that is known and not disabled.
func (s *Server) sftpKeys(ctx context.Context, appID string) ([]ssh.PublicKey, error) {
	app, err := s.app(ctx, appID)
	if store.NotFound(err) || app.Disabled != 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []pgdb.AppKey
	if err := s.DB.Read(ctx, func(q *pgdb.Queries) error { rows, err = q.ListKeysOfApp(ctx, appID); return err }); err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for _, r := range rows {
		if r.Owner != store.SFTPKey || r.RetiredAt > 0 {
			continue
		}
		k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(r.PublicKey))
		if err != nil {
			return nil, fmt.Errorf("SFTP key %s: %w", r.Fingerprint, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// reset empties a sandbox's books, with the files in the database. Apps and keys stay, and so does what apps have in /upload,
// which counts only when it is sent again.
func (s *Server) reset(ctx context.Context) error {
	var apps []string
	if err := s.DB.Read(ctx, func(q *pgdb.Queries) error {
		rows, err := q.PageApps(ctx, pgdb.PageAppsParams{Before: 1<<63 - 1, Most: 1<<31 - 1})
		for _, r := range rows {
			apps = append(apps, r.AppID)
		}
		return err
	}); err != nil {
		return err
	}
	return s.DB.Do(ctx, store.Unit{Name: "reset", Keys: store.Keys{Apps: apps}, Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
		for _, forget := range []func(context.Context) error{q.ResetRequests, q.ResetSellers, q.ResetBindings, q.ResetAccounts, q.ResetPostings,
			q.ResetShares, q.ResetDeposits, q.ResetTradeFiles, q.ResetTradeRefused, q.ResetTradeParts, q.ResetTradeRuns, q.ResetTradeRows, q.ResetResultFiles, q.ResetContents, q.ResetContentChunks, q.ResetDeliveries,
			q.ResetDeliveryAttempts, q.ResetTasks, q.ResetCalls, q.ResetAudits} {
			if err := forget(ctx); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Close stops in order: no new calls, those under way end, then SFTP and the outbox, then what is recorded, then the
// database. It may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		var errs []error
		if s.http != nil {
			s.unused.close()
			if err := s.http.Shutdown(ctx); err != nil {
				errs = append(errs, fmt.Errorf("HTTP: %w", err), s.http.Close())
			}
		}
		s.stopWork()
		s.work.Wait()
		if s.gate != nil {
			s.gate.Close()
		}
		if s.DB != nil {
			errs = append(errs, s.DB.Close())
		}
		if s.unlock != nil {
			errs = append(errs, s.unlock())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// unused are connections on which no request has come yet. Shutdown would wait five seconds for each, and clients leave
// some behind when they call side by side.
type unused struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
	ended bool                  // guarded by mu
}

func (u *unused) track(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns == nil {
		u.conns = map[net.Conn]struct{}{}
	}
	if state != http.StateNew {
		delete(u.conns, c)
		return
	}
	if u.ended {
		c.Close()
		return
	}
	u.conns[c] = struct{}{}
}

func (u *unused) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	for c := range u.conns {
		c.Close()
	}
}
