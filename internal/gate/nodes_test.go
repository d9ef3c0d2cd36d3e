package gate

import (
	"bytes"
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestLimitHoldsOverNodes: two nodes together let an app through as often as one bucket does, within what each may have drawn
// beforehand, and another app as if nothing had happened.
func TestLimitHoldsOverNodes(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	var nodes []*limits
	for range 2 {
		db, err := store.Open(t.Context(), store.Config{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		nodes = append(nodes, newLimits(db, 1))
	}
	const perSecond, blocks = 200.0, 3
	const most = 5 * perSecond
	const draw = perSecond / 20 // which each of the eight may have left
	began := time.Now()
	var let atomic.Int64
	var all sync.WaitGroup
	for _, l := range nodes {
		for range 4 {
			all.Go(func() {
				for range 200 { // together many more than the bucket has
					if l.app(t.Context(), "demo", perSecond, blocks) {
						let.Add(blocks)
					}
				}
			})
		}
	}
	all.Wait()
	refilled := perSecond * time.Since(began).Seconds()
	got := float64(let.Load())
	t.Logf("let %v blocks through, of %v and %.0f that came", got, most, refilled)
	if got > most+refilled || got < most-8*draw {
		t.Errorf("let %v blocks through, want %v and up to %.0f", got, most, refilled)
	}
	for i, l := range nodes {
		if !l.app(t.Context(), fmt.Sprint("other-", i), perSecond, blocks) {
			t.Error("another app was refused")
		}
	}
}

// TestAppChangesHold: what a node has kept of an app counts for nothing once the app was changed, whichever node did it: the
// next call is refused or accepted by what the app is then.
func TestAppChangesHold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		other := r.db
		if store.IsPostgres(r.database) {
			var err error
			if other, err = store.Open(t.Context(), store.Config{Database: r.database}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		change := func(act func(ctx context.Context, v *store.View, q *pgdb.Queries) error) {
			t.Helper()
			if err := other.Do(t.Context(), store.Unit{Keys: store.Keys{Apps: []string{testApp}}, Alone: act}); err != nil {
				t.Fatal(err)
			}
		}
		set := func(disabled int64, settings string) {
			t.Helper()
			change(func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
				return q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: testApp, Disabled: disabled, Settings: settings})
			})
		}
		calls := 0
		bind := func(client *rsa.PrivateKey, want infinia.Code) {
			t.Helper()
			calls++
			data, err := envelope.Encrypt(fmt.Appendf(nil, `{"requestNo":"B-%d","sellerId":"S%[1]d","sellerCertNo":"C%[1]d","sellerName":"A","storeName":"A",
				"storeUrl":"https://a.example","entityType":"Individual","country":"CHN","currency":"CNH"}`, calls), &r.platform.PublicKey, 0)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodPost, infinia.OpAccountBinding.Path(), bytes.NewReader(r.wrap(testApp, data, r.sign(data, client))))
			r.gate.ServeHTTP(w, req)
			resp, err := envelope.ParseResponse(w.Body.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if resp.Code != string(want) {
				t.Errorf("call %d: %s, want %s", calls, resp.Code, want)
			}
		}
		newer := testKey(t, "test-client-4096")
		var id int64
		bind(r.client, infinia.Success)
		bind(r.client, infinia.Success) // by what was kept
		bind(newer, infinia.NotAuthenticated)
		change(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			id = v.NextID()
			return q.InsertAppKey(ctx, pgdb.InsertAppKeyParams{ID: id, AppID: testApp, Owner: store.ClientKey, Fingerprint: envelope.Fingerprint(&newer.PublicKey),
				PublicKey: string(envelope.MarshalPublicKey(&newer.PublicKey))})
		})
		bind(newer, infinia.Success)
		bind(newer, infinia.Success)
		change(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			return q.RetireKey(ctx, pgdb.RetireKeyParams{ID: id, RetiredAt: v.Now()})
		})
		bind(newer, infinia.NotAuthenticated)
		bind(r.client, infinia.Success)
		set(1, "{}")
		bind(r.client, infinia.NotAuthenticated)
		set(0, `{"operations":["account-balance/query"]}`)
		bind(r.client, infinia.NotAllowed)
		set(0, `{"addresses":["192.0.2.77"]}`)
		bind(r.client, infinia.AddressNotAllowed)
		set(0, "{}")
		bind(r.client, infinia.Success)
	})
}
