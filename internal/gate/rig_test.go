package gate

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/internal/trade"
)

// rig is a gate over a real database with one app, whose clock, ids and random bytes are always the same, so that whole
// answers can be compared.
type rig struct {
	*testing.T
	gate     *Gate
	db       *store.DB
	engine   *op.Engine
	importer *trade.Importer
	webhooks *outbox.Webhooks
	dir      string
	database string

	client   *rsa.PrivateKey
	platform *rsa.PrivateKey

	mu       sync.Mutex
	now      time.Time
	endpoint func(http.ResponseWriter) // what the app's webhook endpoint answers
	events   []string                  // what it was sent, opened
}

const testApp = "demo"

func testKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	b, err := os.ReadFile("../../envelope/testdata/keys/" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	k, err := envelope.ParsePrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRig(t *testing.T, engine storetest.Engine, set store.Settings) *rig {
	t.Helper()
	return newRigOver(t, engine.New(t), set)
}

func newRigOver(t *testing.T, database string, set store.Settings) *rig {
	t.Helper()
	r := &rig{T: t, database: database, dir: t.TempDir(), now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC),
		client: testKey(t, "test-client-2048"), platform: testKey(t, "test-platform-2048")}
	r.endpoint = func(w http.ResponseWriter) { io.WriteString(w, "SUCCESS") }
	hook := httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(hook.Close)
	if set.CallbackURL == "" {
		set.CallbackURL = hook.URL
	}
	var seed [32]byte
	var err error
	r.db, err = store.Open(t.Context(), store.Config{Database: r.database, Random: rand.NewChaCha8(seed),
		Clock: store.NewClock(func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now })})
	if err != nil {
		t.Fatal(err)
	}
	if r.engine, err = op.NewEngine(t.Context(), r.db, "http://sandbox.test", false); err != nil {
		t.Fatal(err)
	}
	r.gate = New(Config{Engine: r.engine, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry(), Sandbox: true})
	t.Cleanup(func() {
		r.gate.Close()
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
	r.importer = &trade.Importer{DB: r.db}
	r.webhooks = outbox.NewWebhooks(r.db, outbox.WebhookConfig{AllowPrivate: true})
	r.addApp(testApp, set, &r.client.PublicKey, r.platform)
	return r
}

// addApp registers an app with one client key and one platform pair.
func (r *rig) addApp(appID string, set store.Settings, client *rsa.PublicKey, platform *rsa.PrivateKey) {
	r.Helper()
	text, err := json.Marshal(set)
	if err != nil {
		r.Fatal(err)
	}
	r.do(store.Unit{Keys: store.Keys{Apps: []string{appID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if err := q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: appID, Name: "Demo Marketplace", Settings: string(text), CreatedAt: v.Now()}); err != nil {
			return err
		}
		if err := q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.ClientKey, Fingerprint: envelope.Fingerprint(client),
			PublicKey: string(envelope.MarshalPublicKey(client)), CreatedAt: v.Now()}); err != nil {
			return err
		}
		return q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.PlatformKey, Fingerprint: envelope.Fingerprint(&platform.PublicKey),
			PublicKey: string(envelope.MarshalPublicKey(&platform.PublicKey)), PrivateKey: string(envelope.MarshalPrivateKey(platform)), CreatedAt: v.Now()})
	}})
}

func (r *rig) do(u store.Unit) {
	r.Helper()
	if err := r.db.Do(r.Context(), u); err != nil {
		r.Fatal(err)
	}
}

// receive is the app's webhook endpoint.
func (r *rig) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.Error(err)
	}
	n, err := envelope.ParseNotification(body)
	if err != nil {
		r.Error(err)
	}
	if _, err := envelope.Verify(n.RequestData, n.Signature, &r.platform.PublicKey); err != nil {
		r.Error(err)
	}
	plain, err := envelope.Decrypt(n.RequestData, r.client)
	if err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, string(plain))
	r.endpoint(w)
}

// seal makes the body of a call.
func (r *rig) seal(content string) []byte {
	r.Helper()
	data, err := envelope.Encrypt([]byte(content), &r.platform.PublicKey, 64)
	if err != nil {
		r.Fatal(err)
	}
	return r.wrap(testApp, data, r.sign(data, r.client))
}

func (r *rig) sign(text string, key *rsa.PrivateKey) string {
	r.Helper()
	s, err := envelope.Sign(text, key)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func (r *rig) wrap(appID, data, signature string) []byte {
	r.Helper()
	b, err := json.Marshal(envelope.Request{Version: "1.0", AppID: appID, DataType: "JSON", RequestData: data, Signature: signature})
	if err != nil {
		r.Fatal(err)
	}
	return b
}

// post sends a body and returns the HTTP status, the answer's envelope and its opened responseData.
func (r *rig) post(path string, body []byte) (int, envelope.Response, string) {
	r.Helper()
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(r.Context(), http.MethodPost, path, bytes.NewReader(body))
	req.RemoteAddr = "203.0.113.7:4000"
	r.gate.ServeHTTP(w, req)
	resp, err := envelope.ParseResponse(w.Body.Bytes())
	if err != nil {
		r.Fatalf("%s: answered %d %q: %v", path, w.Code, w.Body, err)
	}
	if resp.ResponseData == "" {
		return w.Code, resp, ""
	}
	plain, err := envelope.Decrypt(resp.ResponseData, r.client)
	if err != nil {
		r.Fatal(err)
	}
	return w.Code, resp, string(plain)
}

// work does everything that is due, queue by queue, until nothing is.
func (r *rig) work() {
	r.Helper()
	works := map[string]func(context.Context, []pgdb.Task) []error{op.SettleQueue: r.engine.Settle, op.ExpiryQueue: outbox.Each(r.engine.ExpireBinding),
		"file": outbox.Each(r.importer.Import), "file-result": outbox.Each(r.importer.WriteResults), trade.RunQueue: outbox.Each(r.importer.SweepRun), "webhook": outbox.Each(r.webhooks.Deliver),
		content.Queue: outbox.Each(func(ctx context.Context, t pgdb.Task) error { return content.Sweep(ctx, r.db, t) })}
	for {
		now := store.Millis(r.db.Clock.Now())
		queues, _, err := r.db.DueQueues(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		if len(queues) == 0 {
			return
		}
		for _, queue := range queues {
			var tasks []pgdb.Task
			r.read(func(q *pgdb.Queries) (err error) {
				tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: queue, Now: now, Most: 256})
				return err
			})
			kind, _, _ := strings.Cut(queue, "/")
			if err := errors.Join(works[kind](r.Context(), tasks)...); err != nil {
				r.Fatal(err)
			}
		}
	}
}

func (r *rig) read(fn func(q *pgdb.Queries) error) {
	r.Helper()
	if err := r.db.Read(r.Context(), fn); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) deposit(currency string, minor int64, bankReference string) {
	r.Helper()
	from, to := ledger.ExternalAccount(testApp, currency), ledger.PlatformAccount(testApp, currency)
	key := store.DepositKey{Currency: currency, BankReference: bankReference}
	r.do(store.Unit{Keys: store.Keys{Accounts: []store.AccountKey{from, to}, Deposits: []store.DepositKey{key}}, Judge: func(v *store.View) error {
		d := pgdb.Deposit{ID: v.NextID(), AppID: testApp, Currency: currency, Amount: minor, BankReference: bankReference, BookedAt: v.Now()}
		v.Deposits.Put(key, d)
		return ledger.Post(v, ledger.ForDeposit, d.ID, from, to, minor)
	}})
}

func (r *rig) setSeller(seller string, status infinia.SellerStatus) {
	r.Helper()
	k := store.SellerKey{AppID: testApp, SellerID: seller}
	r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
		Judge: func(v *store.View) error { return op.SetSellerStatus(v, k, status) }})
}

// onBinding acts on the newest binding of a seller and currency.
func (r *rig) onBinding(seller, currency string, act func(*store.View, pgdb.Binding) error) error {
	r.Helper()
	k := store.SellerKey{AppID: testApp, SellerID: seller}
	return r.db.Do(r.Context(), store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{k}}, Judge: func(v *store.View) error {
		for _, b := range slices.Backward(v.BindingsOf(k)) {
			if b.Currency == currency {
				return act(v, b)
			}
		}
		return fmt.Errorf("%s has no binding in %s", seller, currency)
	}})
}

func (r *rig) verify() {
	r.Helper()
	r.read(func(q *pgdb.Queries) error {
		report, err := ledger.Verify(r.Context(), q)
		for _, f := range report.Faults {
			r.Error(f)
		}
		return err
	})
}
