// Package intake takes trade files in by SFTP and gives result files out. It decides when an upload is complete and
// hands a stable copy of it over; what is inside a file, who the app is, what happens next and where results come from are
// not its business: it knows no database, no trade rule and no envelope.
//
// On disk each app has a folder of its own:
//
//	<Dir>/<appId>/upload       what the client sees as /upload
//	<Dir>/<appId>/intake       the journal (see journal.go)
//	<Dir>/<appId>/intake/kept  <sha256>.csv, what is complete until it has been taken over; never written again
//
// Dir belongs to one Server at a time and lies on a file system that knows letter case and hard links.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"
)

// Config says where the files lie, who may log in, and what to do with a complete upload.
type Config struct {
	Dir     string
	HostKey ssh.Signer
	// OldHostKey, an RSA key, also lets in clients that know none but older algorithms. Nil keeps them out.
	OldHostKey ssh.Signer

	// Keys returns the login keys of an app. An unknown or disabled app has none.
	Keys func(ctx context.Context, appID string) ([]ssh.PublicKey, error)
	// Settings returns the rules for an app's uploads.
	Settings func(ctx context.Context, appID string) (Settings, error)
	// Complete takes over one complete upload. It is called once for each, in order for one requestNo, and again with
	// the same Upload when it returned an error or when the process ended before its success was noted: it must know
	// a repeat by (AppID, RequestNo, SHA256).
	Complete func(ctx context.Context, u Upload) error

	// Results lists what an app finds in /result, by name: at most so many of those that come after a name. OpenResult opens
	// one file of it, from which many goroutines may read at once; its error is fs.ErrNotExist when there is none of that name.
	Results    func(ctx context.Context, appID, after string, most int) ([]ResultFile, error)
	OpenResult func(ctx context.Context, appID, name string) (ResultFile, io.ReaderAt, error)

	// Spent says whether nothing, or not all, is kept any longer of a requestNo: what the app has left of it in /upload goes
	// as well, sooner or later. It is asked about what is there, one by one. Optional.
	Spent func(ctx context.Context, appID, requestNo string) (bool, error)

	// Now is the clock by which uploads come to rest. Nil means time.Now.
	Now func() time.Time
	// Wake returns a channel that is closed, or receives, when Now has been moved. Optional: without it a move is
	// noticed within a second.
	Wake func() <-chan struct{}

	Log     *slog.Logger // nil means slog.Default()
	Metrics prometheus.Registerer

	MaxConnections       int           // in all, at most half of them not logged in; default 256
	MaxConnectionsPerApp int           // default 32
	LoginGrace           time.Duration // to finish logging in; default 20 s
	IdleTimeout          time.Duration // without a byte either way; default 5 min
	KeyCheck             time.Duration // how often it is looked up whether a connection's key still counts; default 1 min
	WrongKeys            int           // after so many from one address it is barred; default 100, below zero never
	WrongKeyDelay        time.Duration // of the answer to an address's eleventh and every later one; default 1 s
	BarFor               time.Duration // how long; also how long a wrong key counts; default 10 min
}

// Settings are the rules for one app's uploads. The zero value means the defaults.
type Settings struct {
	// Quiet is how long a closed upload lies untouched before it counts as complete; default 5 s.
	Quiet time.Duration
	// RequireMarker demands a .done or .sha256 file beside every upload.
	RequireMarker bool
	// NamePattern matches a whole file name, and its first group is the requestNo. Nil means <requestNo>.csv.
	NamePattern *regexp.Regexp
	// MaxFileBytes is the largest upload; default 1 GiB.
	MaxFileBytes int64
	// MaxFiles and MaxBytes bound what the app has in its folder; default 10,000 and 10 GiB. Uploads that were taken over
	// make room by themselves, the oldest first.
	MaxFiles, MaxBytes int64
}

// Upload is one complete upload.
type Upload struct {
	AppID     string
	RequestNo string
	Path      string // absolute; a stable copy that nothing changes until it is taken over, when it goes away
	Size      int64
	SHA256    string // hex, lower case
}

// Server is the SFTP server together with the watch over what it received.
type Server struct {
	cfg    Config
	ssh    *ssh.ServerConfig
	bars   bars
	count  counts
	seldom rate.Sometimes // keeps what strangers can cause by the thousand from filling the log

	mu         sync.Mutex
	trees      map[string]*tree      // by appID
	conns      map[net.Conn]struct{} // open, logged in or not
	handshakes map[netip.Prefix]int  // connections that have not logged in, by address
	strangers  int                   // the same, of all addresses
	perApp     map[string]int        // logged-in connections by appID
	ctx        context.Context       // of Serve; nil before
	work       sync.WaitGroup        // connections and watchers
}

type counts struct {
	logins *prometheus.CounterVec
	bars   prometheus.Counter
}

// New opens the trees that are already there. Nothing is completed or served before Serve.
func New(cfg Config) (*Server, error) {
	if cfg.HostKey == nil || cfg.Keys == nil || cfg.Settings == nil || cfg.Complete == nil || cfg.Results == nil || cfg.OpenResult == nil {
		return nil, errors.New("intake: HostKey, Keys, Settings, Complete, Results and OpenResult are required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	cfg.Dir = dir
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wake == nil {
		cfg.Wake = func() <-chan struct{} { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.MaxConnections = orDefault(cfg.MaxConnections, 256)
	cfg.MaxConnectionsPerApp = orDefault(cfg.MaxConnectionsPerApp, 32)
	cfg.LoginGrace = orDefault(cfg.LoginGrace, 20*time.Second)
	cfg.IdleTimeout = orDefault(cfg.IdleTimeout, 5*time.Minute)
	cfg.KeyCheck = orDefault(cfg.KeyCheck, time.Minute)
	cfg.WrongKeyDelay = orDefault(cfg.WrongKeyDelay, time.Second)
	if cfg.WrongKeys == 0 {
		cfg.WrongKeys = 100
	}

	s := &Server{
		cfg:        cfg,
		bars:       bars{most: cfg.WrongKeys, last: orDefault(cfg.BarFor, 10*time.Minute), now: cfg.Now, sources: map[netip.Prefix]*source{}},
		count:      newCounts(cfg.Metrics),
		seldom:     rate.Sometimes{Interval: time.Second},
		trees:      map[string]*tree{},
		handshakes: map[netip.Prefix]int{},
		conns:      map[net.Conn]struct{}{},
		perApp:     map[string]int{},
	}
	s.ssh = s.sshConfig()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && plainName.MatchString(e.Name()) {
			if _, err := s.tree(e.Name()); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func newCounts(reg prometheus.Registerer) counts {
	c := counts{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "infinia_sftp_logins_total",
			Help: "SFTP logins accepted, wrong keys refused, connections turned away because their address is barred or there are too many."}, []string{"outcome"}),
		bars: prometheus.NewCounter(prometheus.CounterOpts{Name: "infinia_sftp_bars_total", Help: "Times that an address was barred after too many wrong keys."}),
	}
	if reg != nil {
		reg.MustRegister(c.logins, c.bars)
	}
	return c
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Serve accepts connections and completes uploads until ctx ends; then it closes l and every connection, waits for
// what is running, and returns nil. An upload in progress is thereby cut, and its client can resume it. Call it once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	s.ctx = ctx
	for _, t := range s.trees {
		s.work.Go(func() { t.watch(ctx) })
	}
	s.mu.Unlock()

	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			_ = c.Close()
		}
	})
	defer func() {
		cancel()
		s.work.Wait()
		stop()
	}()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("intake: %w", err)
		case err != nil: // out of file descriptors, or a client that left early: neither ends the server
			s.cfg.Log.Error("sftp accept", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			s.accept(ctx, c)
		}
	}
}

func (s *Server) accept(ctx context.Context, c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := origin(c.RemoteAddr())
	if until, barred := s.bars.barred(from); barred {
		s.count.logins.WithLabelValues("barred").Inc()
		// Before its version a server may write lines, which clients show in their debug log. A fresh connection has room
		// for it, so that nobody waits.
		_, _ = fmt.Fprintf(c, "Not allowed until %s: too many wrong keys from this address\r\n", until.UTC().Format(time.RFC3339))
		_ = c.Close()
		return
	}
	// Who has not logged in may not take the room of those who have: each address has a few handshakes at a time, and all of
	// them half of the room.
	crowded := len(s.conns) >= s.cfg.MaxConnections || s.strangers >= (s.cfg.MaxConnections+1)/2 || s.handshakes[from] >= maxHandshakes
	if crowded || ctx.Err() != nil {
		s.count.logins.WithLabelValues("crowded").Inc()
		s.seldom.Do(func() {
			s.cfg.Log.Warn("sftp connection refused", "remote", c.RemoteAddr().String(), "why", "too many connections")
		})
		_ = c.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.handshakes[from]++
	s.strangers++
	loggedIn := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.strangers--
		if s.handshakes[from]--; s.handshakes[from] == 0 {
			delete(s.handshakes, from)
		}
	})
	s.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.cfg.Log.Error("sftp connection panicked", "panic", p, "stack", string(debug.Stack()))
			}
			_ = c.Close()
			loggedIn()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
		s.connection(ctx, c, from, loggedIn)
	})
}

// maxHandshakes is how many connections of one address may be logging in at once.
const maxHandshakes = 32

// connection runs one TCP connection: log in, then SFTP on each session channel.
func (s *Server) connection(ctx context.Context, c net.Conn, from netip.Prefix, loggedIn func()) {
	log := s.cfg.Log.With("remote", c.RemoteAddr().String())

	// The grace is a deadline of its own, which trickling bytes do not push on.
	idle := &idleConn{Conn: c}
	_ = c.SetDeadline(time.Now().Add(s.cfg.LoginGrace))
	sc, channels, requests, err := s.login(ctx, log, idle, from)
	if err != nil {
		return
	}
	loggedIn()
	_ = c.SetDeadline(time.Now().Add(s.cfg.IdleTimeout))
	idle.idle.Store(int64(s.cfg.IdleTimeout))

	app := sc.Permissions.Extensions[appExtension]
	log = log.With("app", app)
	go ssh.DiscardRequests(requests)
	if !s.enter(app) {
		log.Warn("sftp connection refused", "why", "too many connections of this app")
		_ = sc.Close()
		for ch := range channels { // the library ends only when somebody has taken what it received
			_ = ch.Reject(ssh.ResourceShortage, "too many connections of this app")
		}
		return
	}
	defer s.leave(app)
	log.Info("sftp connected", "client", fmt.Sprintf("%.64s", sc.ClientVersion()))
	defer log.Info("sftp disconnected")

	connected, cancel := context.WithCancel(ctx)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel()
	defer func() { _ = sc.Close() }() // before the wait: it ends the sessions
	sessions.Go(func() { s.recheck(connected, log, sc.Permissions, func() { _ = c.Close() }) })
	slots := make(chan struct{}, maxSessions)
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sftp sessions")
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = ch.Reject(ssh.ResourceShortage, "too many sessions on this connection")
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			<-slots
			continue
		}
		sessions.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					log.Error("sftp session panicked", "panic", p, "stack", string(debug.Stack()))
				}
				_ = channel.Close()
				<-slots
			}()
			s.channel(ctx, log, app, channel, reqs)
		})
	}
}

// maxSessions bounds the session channels of one connection; clients use one, parallel ones a few.
const maxSessions = 8

// channel waits for the sftp subsystem to be asked for and serves it; there is no shell, no exec, no forwarding.
func (s *Server) channel(ctx context.Context, log *slog.Logger, app string, channel ssh.Channel, reqs <-chan *ssh.Request) {
	for req := range reqs {
		var subsystem struct{ Name string }
		switch {
		case req.Type == "subsystem" && ssh.Unmarshal(req.Payload, &subsystem) == nil && subsystem.Name == "sftp":
			_ = req.Reply(true, nil)
		case req.Type == "exec", req.Type == "shell": // a program of the user's, such as scp -O: only this way it shows why
			_ = req.Reply(true, nil)
			go ssh.DiscardRequests(reqs)
			_, _ = io.WriteString(channel.Stderr(), "This server speaks SFTP only: no shell, no commands, no scp -O. Use sftp, or scp -s.\r\n")
			exit(channel, 1)
			return
		default:
			_ = req.Reply(false, nil)
			continue
		}
		go ssh.DiscardRequests(reqs)
		t, err := s.tree(app)
		if err != nil {
			log.Error("sftp tree", "err", err)
			return
		}
		h := &session{ctx: ctx, tree: t, log: log, open: slots{app: &t.handles}}
		rs := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h})
		if err := rs.Serve(); err != nil && !errors.Is(err, io.EOF) {
			log.Info("sftp session cut", "err", err)
		}
		exit(channel, 0)
		return
	}
}

func exit(channel ssh.Channel, status uint32) {
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// tree returns the app's tree, opened and watched.
func (s *Server) tree(appID string) (*tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.trees[appID]; t != nil {
		return t, nil
	}
	t, err := openTree(&s.cfg, appID)
	if err != nil {
		return nil, fmt.Errorf("intake: app %s: %w", appID, err)
	}
	s.trees[appID] = t
	if ctx := s.ctx; ctx != nil && ctx.Err() == nil {
		s.work.Go(func() { t.watch(ctx) })
	}
	return t, nil
}

func (s *Server) enter(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perApp[app] >= s.cfg.MaxConnectionsPerApp {
		return false
	}
	s.perApp[app]++
	return true
}

func (s *Server) leave(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perApp[app]--; s.perApp[app] == 0 {
		delete(s.perApp, app)
	}
}
