package sim

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// world is the product under simulation: nodes over one database, the time they read and the endpoints they call.
type world struct {
	t       *testing.T
	ctx     context.Context
	rng     *rand.Rand // of the world alone: what the database draws
	now     time.Time
	nodes   []*node
	books   string // the database's file, relative to the working directory, so that no row names a machine
	opened  int
	receive map[string]http.Handler // what an app's endpoint does with a webhook, by host
	fate    func(hear func() *http.Response) (*http.Response, error)
	admins  map[*store.DB]func() http.Handler // made when they are first called: that takes longer than all the rest
}

// node is one server. What it holds besides the database is lost when it crashes; the operator's API holds nothing, so that
// one serves all nodes over a database.
type node struct {
	db       *store.DB
	engine   *op.Engine
	importer *trade.Importer
	webhooks *outbox.Webhooks
	admin    func() http.Handler
	hand     map[string][]pgdb.Task // due tasks that it has read, by queue
}

const (
	publicURL = "http://pay.example.com"
	operator  = "operator"
	nodesMany = 3
)

// open opens the books for one node. SQLite has one writer, so that all nodes share what the first one opened; over another
// engine each node would open its own here.
func (w *world) open(cfg store.Config) (*store.DB, error) {
	for _, n := range w.nodes {
		if n != nil && n.db != nil {
			return n.db, nil
		}
	}
	return store.Open(w.ctx, cfg)
}

// start makes a node, new or in the place of one that crashed.
func (w *world) start(i int) error {
	w.nodes[i] = nil
	w.opened++
	db, err := w.open(store.Config{Database: w.books, Clock: store.NewClock(func() time.Time { return w.now }),
		Random: rand.NewChaCha8([32]byte{byte(w.rng.Uint32()), byte(w.opened), byte(w.opened >> 8), byte(w.opened >> 16)})})
	if err != nil {
		return err
	}
	n := &node{db: db, hand: map[string][]pgdb.Task{}}
	w.nodes[i] = n
	if n.engine, err = op.NewEngine(w.ctx, db, publicURL, false); err != nil {
		return err
	}
	n.importer = &trade.Importer{DB: db}
	quiet := slog.New(slog.DiscardHandler)
	n.webhooks = outbox.NewWebhooks(db, outbox.WebhookConfig{Log: quiet, Transport: w})
	if w.admins[db] == nil {
		w.admins[db] = sync.OnceValue(func() http.Handler {
			return admin.New(admin.Config{Engine: n.engine, Importer: n.importer, Log: quiet, Tokens: map[string]string{"sim": operator}})
		})
	}
	n.admin = w.admins[db]
	return nil
}

// stop closes the database, as a server does that is told to stop, or after its files were copied away.
func (w *world) stop() error {
	var all []error
	closed := map[*store.DB]bool{}
	for i, n := range w.nodes {
		if n != nil && !closed[n.db] {
			closed[n.db] = true
			delete(w.admins, n.db)
			all = append(all, n.db.Close())
		}
		w.nodes[i] = nil
	}
	return errors.Join(all...)
}

func (w *world) startAll() error {
	for i := range w.nodes {
		if err := w.start(i); err != nil {
			return err
		}
	}
	return nil
}

// kill ends all nodes as power does: the files are taken as they lie there, without a close, and are the database of those
// that start anew. tear may shorten the log first.
func (w *world) kill(tear func(log []byte) []byte) error {
	was := w.books
	w.books = filepath.Join(fmt.Sprintf("books-%d", w.opened), "books.db")
	if err := os.MkdirAll(filepath.Dir(w.books), 0o700); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(was + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if suffix != "" && tear != nil {
			b = tear(b)
		}
		if err := os.WriteFile(w.books+suffix, b, 0o600); err != nil {
			return err
		}
	}
	if err := errors.Join(w.stop(), os.RemoveAll(filepath.Dir(was))); err != nil {
		return err
	}
	return w.startAll()
}

// size is how much a crash has to copy.
func (w *world) size() (n int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(w.books + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

// failCommit counts down to the commit that fails: SQLite takes it back and says so, which to the store is a commit whose
// outcome is unknown. At zero no commit fails.
var failCommit atomic.Int64

func init() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			if failCommit.Load() > 0 && failCommit.Add(-1) == 0 {
				return 1
			}
			return 0
		})
		return nil
	})
}

// RoundTrip is the network between a node and the apps' endpoints: fate decides what becomes of a delivery.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.fate(func() *http.Response {
		heard := httptest.NewRecorder()
		w.receive[r.URL.Host].ServeHTTP(heard, r)
		return heard.Result()
	})
}

// endpoint has an app hear its webhooks, as an integrator's server does.
func (w *world) endpoint(appID string, handle func(infinia.Notification)) error {
	client, err := testKey("test-client-2048")
	if err != nil {
		return err
	}
	platform, err := testKey("test-platform-2048")
	if err != nil {
		return err
	}
	w.receive[appID+".example.com"] = infinia.NewWebhookHandler(appID, []envelope.PrivateKey{client}, []*rsa.PublicKey{&platform.PublicKey},
		func(_ context.Context, n infinia.Notification) error { handle(n); return nil })
	return nil
}

func testKey(name string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(filepath.Join(keysDir, name+".pem"))
	if err != nil {
		return nil, err
	}
	return envelope.ParsePrivateKey(text)
}

// addApp registers an app. All have the same keys, so that their fingerprints are made up.
func (w *world) addApp(appID string, set store.Settings) error {
	text, err := json.Marshal(set)
	if err != nil {
		return err
	}
	client, err := testKey("test-client-2048")
	if err != nil {
		return err
	}
	platform, err := testKey("test-platform-2048")
	if err != nil {
		return err
	}
	return w.nodes[0].db.Do(w.ctx, store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return errors.Join(
			q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: appID, Name: appID, Settings: string(text), CreatedAt: v.Now()}),
			q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.ClientKey, Fingerprint: "client of " + appID, PublicKey: string(envelope.MarshalPublicKey(&client.PublicKey))}),
			q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.PlatformKey, Fingerprint: "platform of " + appID,
				PrivateKey: string(envelope.MarshalPrivateKey(platform))}))
	}})
}

// act calls the operator's API of a node.
func (n *node) act(ctx context.Context, method, path string, body any) (int, []byte) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequestWithContext(ctx, method, "/admin/v1"+path, bytes.NewReader(text))
	r.Header.Set("Authorization", "Bearer "+operator)
	r.Header.Set("Content-Type", "application/json")
	heard := httptest.NewRecorder()
	n.admin().ServeHTTP(heard, r)
	return heard.Code, heard.Body.Bytes()
}

// due reads what is due in a queue.
func (n *node) due(ctx context.Context, queue string, most int32) (tasks []pgdb.Task, err error) {
	now := store.Millis(n.db.Clock.Now())
	err = n.db.Read(ctx, func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: queue, Now: now, Most: most})
		return err
	})
	return tasks, err
}
