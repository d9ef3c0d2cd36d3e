package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// rig is a database with apps whose endpoints the test answers for.
type rig struct {
	*testing.T
	db    *store.DB
	clock *store.Clock
}

func newNode(t *testing.T, database string) *rig {
	t.Helper()
	clock := store.NewClock(nil)
	db, err := store.Open(t.Context(), store.Config{Database: database, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{T: t, db: db, clock: clock}
}

func readTestKey(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../envelope/testdata/keys/" + name + ".pem")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// app registers an app whose callback goes to handle. All apps have the same keys here, so that fingerprints are made up.
func (r *rig) app(appID string, handle http.HandlerFunc) {
	r.Helper()
	endpoint := httptest.NewServer(handle)
	r.Cleanup(endpoint.Close)
	r.appAt(appID, endpoint.URL)
}

func (r *rig) appAt(appID, url string) {
	r.Helper()
	set, err := json.Marshal(store.Settings{CallbackURL: url})
	if err != nil {
		r.Fatal(err)
	}
	r.do(store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if err := q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: appID, Name: appID, Settings: string(set)}); err != nil {
			return err
		}
		if err := q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.ClientKey, Fingerprint: "client of " + appID,
			PublicKey: string(readTestKey(r.T, "test-client-2048.pub"))}); err != nil {
			return err
		}
		return q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: v.NextID(), AppID: appID, Owner: store.PlatformKey, Fingerprint: "platform of " + appID,
			PrivateKey: string(readTestKey(r.T, "test-platform-2048"))})
	}})
}

func (r *rig) do(u store.Unit) {
	r.Helper()
	if err := r.db.Do(r.Context(), u); err != nil {
		r.Fatal(err)
	}
}

// notify leaves a status event of the app's one seller.
func (r *rig) notify(appID, status string) {
	r.Helper()
	k := store.SellerKey{AppID: appID, SellerID: "S"}
	r.do(store.Unit{Keys: store.Keys{Apps: []string{appID}, Events: []store.SellerKey{k}}, Judge: func(v *store.View) error {
		app, _ := v.Apps.Get(appID)
		set, err := store.SettingsOf(app)
		if err != nil {
			return err
		}
		return Notify(v, set, Event{AppID: appID, SellerID: "S", Event: EventSellerStatus, Content: map[string]string{"sellerId": "S", "status": status}})
	}})
}

// deliveries are an app's, oldest first.
func (r *rig) deliveries(appID string) (all []pgdb.Delivery) {
	r.Helper()
	if err := r.db.Read(r.Context(), func(q *pgdb.Queries) (err error) {
		all, err = q.PageDeliveries(r.Context(), pgdb.PageDeliveriesParams{AppID: appID, Before: 1 << 62, Most: 100})
		return err
	}); err != nil {
		r.Fatal(err)
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

// run starts a dispatcher for the test's time.
func (r *rig) run(w *Webhooks) { r.work(map[string]Work{"webhook": {Most: 1, Run: Each(w.Deliver)}}) }

func (r *rig) work(work map[string]Work) {
	d := NewDispatcher(r.db, slog.New(slog.NewTextHandler(r.Output(), nil)), work)
	ctx, stop := context.WithCancel(r.Context())
	var ended sync.WaitGroup
	ended.Go(func() { d.Run(ctx) })
	r.Cleanup(func() { stop(); ended.Wait() })
}

func success(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "SUCCESS") }

// TestHangingEndpointDelaysNoOther: one endpoint never answers, another is served all the same.
func TestHangingEndpointDelaysNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newNode(t, engine.New(t))
		hanging, release := make(chan struct{}), make(chan struct{})
		r.app("hangs", func(http.ResponseWriter, *http.Request) { close(hanging); <-release })
		r.app("works", success)
		r.run(NewWebhooks(r.db, WebhookConfig{AllowPrivate: true}))
		r.notify("hangs", "FROZEN")
		<-hanging
		r.notify("works", "FROZEN")
		storetest.Until(t, "the other endpoint to be served", func() bool { return r.deliveries("works")[0].State == Delivered })
		if d := r.deliveries("hangs")[0]; d.State != Pending || d.Attempts != 0 {
			t.Errorf("the hanging delivery is %s after %d attempts", d.State, d.Attempts)
		}
		close(release)
	})
}

// TestSupersededInFlight: while one event is being sent, a newer one comes. Only one is in flight, the older one is not
// tried again, and the newer one is the last that the endpoint hears.
func TestSupersededInFlight(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newNode(t, engine.New(t))
		var heard []string
		var mu sync.Mutex
		first, release := make(chan struct{}), make(chan struct{})
		key, err := envelope.ParsePrivateKey(readTestKey(t, "test-client-2048"))
		if err != nil {
			t.Fatal(err)
		}
		r.app("demo", func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			n, err := envelope.ParseNotification(body)
			if err != nil {
				t.Error(err)
			}
			plain, err := envelope.Decrypt(n.RequestData, key)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			heard = append(heard, string(plain))
			isFirst := len(heard) == 1
			mu.Unlock()
			if isFirst {
				close(first)
				<-release
				http.Error(w, "no", http.StatusInternalServerError)
				return
			}
			success(w, req)
		})
		r.run(NewWebhooks(r.db, WebhookConfig{AllowPrivate: true}))
		r.notify("demo", "FROZEN")
		<-first
		r.notify("demo", "ACTIVE")
		if d := r.deliveries("demo")[0]; d.State != Superseded {
			t.Errorf("the older event is %s while it is in flight", d.State)
		}
		close(release)
		storetest.Until(t, "the newer one to be delivered", func() bool { return r.deliveries("demo")[1].State == Delivered })
		r.clock.Advance(24 * time.Hour)
		storetest.Until(t, "nothing to be left to do", func() bool {
			queues, next, err := r.db.DueQueues(t.Context())
			return err == nil && len(queues) == 0 && next.IsZero()
		})
		mu.Lock()
		defer mu.Unlock()
		if len(heard) != 2 || !strings.Contains(heard[0], "FROZEN") || !strings.Contains(heard[1], "ACTIVE") {
			t.Errorf("the endpoint heard %q", heard)
		}
		if d := r.deliveries("demo")[0]; d.State != Superseded || d.Attempts != 1 {
			t.Errorf("the older event is %s after %d attempts", d.State, d.Attempts)
		}
	})
}

// TestPrivateAddresses: production dials no private address, whatever a name resolves to, unless an operator listed it.
func TestPrivateAddresses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for address, want := range map[string]bool{
			"203.0.113.7:443": true, "[2606:4700::1111]:443": true,
			"127.0.0.1:80": false, "10.0.0.1:80": false, "172.16.0.1:80": false, "192.168.1.1:80": false, "169.254.169.254:80": false,
			"0.0.0.0:80": false, "100.64.0.1:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false,
			"[::1]:80": false, "[::]:80": false, "[fe80::1]:80": false, "[fc00::1]:80": false, "[::ffff:10.0.0.1]:80": false, "[64:ff9b::a00:1]:80": false, "[64:ff9b:1::a00:1]:80": false, "[2002:a00:1::]:80": false,
			"[2001::1]:80": false, "[fec0::1]:80": false, "240.0.0.1:80": false, "198.18.0.1:80": false, "0.1.2.3:80": false,
			"10.9.8.7:80": true, // listed below
		} {
			w := NewWebhooks(nil, WebhookConfig{AllowNets: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}})
			if err := w.checkAddress("tcp", address, nil); (err == nil) != want {
				t.Errorf("%s: %v, allowed should be %v", address, err, want)
			}
		}

		r := newNode(t, engine.New(t))
		r.app("demo", func(http.ResponseWriter, *http.Request) { t.Error("a private address was called") })
		r.run(NewWebhooks(r.db, WebhookConfig{}))
		r.notify("demo", "FROZEN")
		storetest.Until(t, "the attempt to be refused", func() bool { return r.deliveries("demo")[0].Attempts == 1 })
		var attempts []pgdb.DeliveryAttempt
		if err := r.db.Read(t.Context(), func(q *pgdb.Queries) (err error) {
			attempts, err = q.ListAttempts(t.Context(), r.deliveries("demo")[0].ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if len(attempts) != 1 || attempts[0].Fault != errPrivate.Error() {
			t.Errorf("attempts %+v", attempts)
		}
	})
}

// TestFaultsNeverShowTheURL: a callback URL may hold a secret.
func TestFaultsNeverShowTheURL(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newNode(t, engine.New(t))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close() // nobody listens there now
		r.appAt("demo", "http://"+address+"/?token=s3cr3t")
		w := NewWebhooks(r.db, WebhookConfig{AllowPrivate: true})
		r.run(w)
		r.notify("demo", "FROZEN")
		storetest.Until(t, "the attempt to fail", func() bool { return r.deliveries("demo")[0].Attempts == 1 })
		if err := r.db.Read(t.Context(), func(q *pgdb.Queries) error {
			attempts, err := q.ListAttempts(t.Context(), r.deliveries("demo")[0].ID)
			if err == nil && (len(attempts) != 1 || attempts[0].Fault == "" || strings.Contains(attempts[0].Fault, "s3cr3t")) {
				t.Errorf("attempts %+v", attempts)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReplay: by hand, a delivery goes again under its number, unless it would not be the seller's last word.
func TestReplay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		older := pgdb.Delivery{ID: 1, AppID: "demo", SellerID: "S", Event: EventSellerStatus}
		newest := older
		newest.ID = 2
		for _, c := range []struct {
			name  string
			d     pgdb.Delivery
			state string
			ok    bool
		}{
			{"dead and the newest", newest, Dead, true},
			{"delivered and the newest", newest, Delivered, true},
			{"dead but older", older, Dead, false},
			{"pending", newest, Pending, false},
			{"superseded", newest, Superseded, false},
			{"of another kind", pgdb.Delivery{ID: 1, Event: EventShare}, Dead, true},
		} {
			r := newNode(t, engine.New(t))
			err := r.db.Do(t.Context(), store.Unit{Keys: store.Keys{Apps: []string{"demo"}, Deliveries: []int64{1, 2}}, Judge: func(v *store.View) error {
				c.d.State = c.state
				return Replay(v, c.d, newest)
			}})
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrNotReplayable) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

// TestDeliveryStates holds the drawing against what happens: every outcome of a try, and every act, in every state.
func TestDeliveryStates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		text, err := os.ReadFile("notify.go")
		if err != nil {
			t.Fatal(err)
		}
		_, drawing, _ := strings.Cut(string(text), "// The states of a delivery:")
		drawing, _, _ = strings.Cut(drawing, "const (")
		drawn := map[string]bool{}
		for line := range strings.Lines(drawing) {
			if f := strings.Fields(line); len(f) >= 4 && f[2] == "->" {
				drawn[f[1]+" -> "+f[3]] = true
			}
		}
		seen := map[string]bool{}
		w := NewWebhooks(nil, WebhookConfig{RetryAfter: []time.Duration{time.Minute}})
		for _, state := range []string{Pending, Delivered, Dead, Superseded} {
			for name, act := range map[string]func(v *store.View, d pgdb.Delivery) error{
				"taken": func(v *store.View, d pgdb.Delivery) error {
					return w.result(v, pgdb.Task{RecordID: d.ID}, pgdb.DeliveryAttempt{DeliveryID: d.ID, Attempt: 1})
				},
				"not taken": func(v *store.View, d pgdb.Delivery) error {
					return w.result(v, pgdb.Task{RecordID: d.ID}, pgdb.DeliveryAttempt{DeliveryID: d.ID, Attempt: 1, Fault: "no"})
				},
				"last try": func(v *store.View, d pgdb.Delivery) error {
					return w.result(v, pgdb.Task{RecordID: d.ID}, pgdb.DeliveryAttempt{DeliveryID: d.ID, Attempt: 2, Fault: "no"})
				},
				"superseded": func(v *store.View, d pgdb.Delivery) error {
					return Notify(v, store.Settings{CallbackURL: "x"}, Event{AppID: d.AppID, SellerID: d.SellerID, Event: EventSellerStatus})
				},
				"by hand": func(v *store.View, d pgdb.Delivery) error { _ = Replay(v, d, d); return nil },
			} {
				if state != Pending && (name == "taken" || name == "not taken" || name == "last try") {
					continue // deliver tries only what is pending; superseded in flight has its own test
				}
				r := newNode(t, engine.New(t))
				k := store.SellerKey{AppID: "demo", SellerID: "S"}
				r.do(store.Unit{Name: name, Keys: store.Keys{Events: []store.SellerKey{k}}, Judge: func(v *store.View) error {
					d := pgdb.Delivery{ID: v.NextID(), AppID: k.AppID, SellerID: k.SellerID, RequestNo: "N", Event: EventSellerStatus, State: state}
					v.Deliveries.Put(d.ID, d)
					if err := act(v, d); err != nil {
						return err
					}
					if after, _ := v.Deliveries.Get(d.ID); after.State != state {
						seen[state+" -> "+after.State] = true
					}
					return nil
				}})
			}
		}
		for a := range drawn {
			if !seen[a] {
				t.Errorf("drawn, but not seen: %s", a)
			}
		}
		for a := range seen {
			if !drawn[a] {
				t.Errorf("seen, but not drawn: %s", a)
			}
		}
	})
}
