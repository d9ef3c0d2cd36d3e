package sim

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

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
	nodes   []*node // nil while one is down
	books   books
	opened  int
	receive map[string]http.Handler // what an app's endpoint does with a webhook, by host
	fate    func(hear func() *http.Response) (*http.Response, error)
	admins  map[*store.DB]func() http.Handler // made when they are first called: that takes longer than all the rest
}

// books is the database under simulation, and what may befall it.
type books interface {
	// open opens the database for a node.
	open(ctx context.Context, node int, cfg store.Config) (*store.DB, error)

	// stop closes what the nodes have opened, as servers do that are told to stop.
	stop() error

	// kill ends a node without a word.
	kill(node int) error

	// mayBeKilled says whether all nodes can be ended without a word, all at once or while one commits.
	mayBeKilled() bool
	killAll() error

	// killInCommit ends a node, or all of them, while it commits what run does; down are those that have ended. A commit that
	// is to be lost reaches the disk only in part, or not at all.
	killInCommit(node int, lost bool, part float64, run func()) (down []int, isLost bool, err error)

	// failCommit has one of the next commits fail, and spare none. failed says whether it has, and whether the commit
	// stands all the same.
	failCommit(rng *rand.Rand)
	spare()
	failed() (failed, stands bool)

	// side is another way to the database.
	side() (driver, source string)
}

// node is one server. What it holds besides the database is lost when it crashes; the operator's API holds nothing, so that
// one serves all nodes over what was opened once.
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

// start makes a node, new or in the place of one that crashed.
func (w *world) start(i int) error {
	w.opened++
	db, err := w.books.open(w.ctx, i, store.Config{Clock: store.NewClock(func() time.Time { return w.now }),
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

// stop closes the database in order.
func (w *world) stop() error {
	err := w.books.stop()
	for i := range w.nodes {
		w.forget(i)
	}
	return err
}

// startAll starts the nodes that are down.
func (w *world) startAll() error {
	for i, n := range w.nodes {
		if n == nil {
			if err := w.start(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget drops a node that has ended.
func (w *world) forget(i int) {
	if n := w.nodes[i]; n != nil {
		w.nodes[i] = nil
		if !slices.ContainsFunc(w.nodes, func(other *node) bool { return other != nil && other.db == n.db }) {
			delete(w.admins, n.db)
		}
	}
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
		func(_ context.Context, n infinia.Notification) error { handle(n); return nil }, infinia.WithDeduplicator(handled{}))
	return nil
}

// handled remembers every notification, as a program's own database does: an event that was heard, but whose answer was
// lost, may come again after more of them than the default one remembers.
type handled map[string]bool

func (h handled) Once(ctx context.Context, requestNo string, handle func(context.Context) error) error {
	if h[requestNo] {
		return nil
	}
	err := handle(ctx)
	h[requestNo] = err == nil
	return err
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
