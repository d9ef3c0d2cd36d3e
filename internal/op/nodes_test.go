package op

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestNodesAtOnce has several nodes over one database share revenue of several apps at once, every request sent to all of
// them, while they settle each other's shares, freeze sellers and book deposits, whose references all apps have in common.
// Each request acts once, nothing waits for ever, and the books add up.
func TestNodesAtOnce(t *testing.T) {
	const nodes, apps, sellers, rounds = 3, 3, 5, 40
	database := storetest.Postgres.New(t)
	rigs := make([]*rig, nodes)
	for i := range rigs {
		db, err := store.Open(t.Context(), store.Config{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		e, err := NewEngine(t.Context(), db, "http://127.0.0.1", false)
		if err != nil {
			t.Fatal(err)
		}
		rigs[i] = &rig{T: t, e: e, now: time.Now()}
	}
	appID := func(i int) string { return fmt.Sprintf("app-%d", i) }
	sellerID := func(i int) string { return fmt.Sprintf("S-%d", i) }
	settings, err := json.Marshal(store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range apps {
		rigs[0].do(store.Unit{Keys: store.Keys{Apps: []string{appID(i)}}, IDs: 1000, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			for s := range sellers {
				v.Sellers.Put(store.SellerKey{AppID: appID(i), SellerID: sellerID(s)}, pgdb.Seller{ID: v.NextID(), AppID: appID(i), SellerID: sellerID(s), Status: string(infinia.SellerActive)})
				b := pgdb.Binding{ID: v.NextID(), AppID: appID(i), SellerID: sellerID(s), Currency: "CNH", State: BindingSuccess, LinkHash: []byte{}}
				v.Bindings.Put(b.ID, b)
			}
			return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: appID(i), Settings: string(settings)})
		}})
		for s := range sellers {
			keys := []store.AccountKey{ledger.SellerAccount(appID(i), ledger.Evidence, sellerID(s), "CNH"), ledger.SellerAccount(appID(i), ledger.FiledShipped, sellerID(s), "CNH")}
			var file int64
			rigs[0].do(store.Unit{Keys: store.Keys{Accounts: keys}, Judge: func(v *store.View) error {
				file = v.NextID()
				v.Files.Put(file, pgdb.TradeFile{ID: file, AppID: appID(i), RequestNo: sellerID(s), Attempt: 1, State: "SUCCESS", RunID: file, BookedNo: 1})
				v.AddTradePart(pgdb.TradePart{FileID: file, SellerID: sellerID(s), Currency: "CNH"})
				v.AddTradeRows([]pgdb.TradeRow{{App: int64(i), ItemKey: fmt.Append(nil, i, s), RunID: file, Amount: 1e6, Shipped: 1}})
				return ledger.Post(v, ledger.ForTrade, file, keys[0], keys[1], 1e6)
			}})
		}
	}
	deposit := func(r *rig, app, n int) error { // each reference is taken by whichever app comes first
		from, to := ledger.ExternalAccount(appID(app), "CNH"), ledger.PlatformAccount(appID(app), "CNH")
		keys := make([]store.DepositKey, 2)
		for i := range keys {
			keys[i] = store.DepositKey{Currency: "CNH", BankReference: fmt.Sprintf("BANK-%d", (n+i*app)%97)}
		}
		return r.e.DB.Do(t.Context(), store.Unit{Keys: store.Keys{Accounts: []store.AccountKey{from, to}, Deposits: keys}, Judge: func(v *store.View) error {
			for _, k := range keys {
				if _, ok := v.Deposits.Get(k); ok {
					continue
				}
				d := pgdb.Deposit{ID: v.NextID(), AppID: appID(app), Currency: "CNH", Amount: 1000, BankReference: k.BankReference, BookedAt: v.Now()}
				v.Deposits.Put(k, d)
				if err := ledger.Post(v, ledger.ForDeposit, d.ID, from, to, d.Amount); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	share := func(r *rig, app, n int) (string, error) {
		content := Content{}
		for k, v := range shareOf(fmt.Sprintf("R-%d", n), sellerID(n%sellers), "CNH", "0.07") {
			content[k] = &v
		}
		rep, err := All[5].Run(t.Context(), r.e, pgdb.App{AppID: appID(app)}, content)
		if refusal, ok := errors.AsType[*infinia.Error](err); ok {
			return string(refusal.Code), nil
		}
		if err == nil && rep.(infinia.RevenueSharingReply).Amount != "0.07" {
			err = fmt.Errorf("answered %+v", rep)
		}
		return "accepted", err
	}
	settle := func(r *rig) error {
		var tasks []pgdb.Task
		if err := r.e.DB.Read(t.Context(), func(q *pgdb.Queries) (err error) {
			tasks, err = q.ListDueTasks(t.Context(), pgdb.ListDueTasksParams{Queue: SettleQueue, Now: 1 << 60, Most: 20})
			return err
		}); err != nil {
			return err
		}
		return errors.Join(r.e.Settle(t.Context(), tasks)...)
	}
	var mu sync.Mutex
	answers := map[string]map[string]bool{} // by app and request
	var all sync.WaitGroup
	for _, r := range rigs {
		for app := range apps {
			all.Go(func() {
				for n := range rounds {
					answer, err := share(r, app, n)
					err = errors.Join(err, deposit(r, app, n))
					if n%10 == 9 {
						err = errors.Join(err, settle(r))
					}
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					k := fmt.Sprintf("%d %d", app, n)
					if answers[k] == nil {
						answers[k] = map[string]bool{}
					}
					answers[k][answer] = true
					mu.Unlock()
				}
			})
		}
		all.Go(func() {
			for n := range rounds {
				k := store.SellerKey{AppID: appID(n % apps), SellerID: sellerID(n % sellers)}
				err := r.e.DB.Do(t.Context(), store.Unit{Keys: store.Keys{Apps: []string{k.AppID}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
					Judge: func(v *store.View) error {
						s, _ := v.Sellers.Get(k)
						to := infinia.SellerIsFrozen
						if s.Status == string(to) {
							to = infinia.SellerActive
						}
						return SetSellerStatus(v, k, to)
					}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for len(dueTasks(t, rigs[0])) > 0 {
		if err := settle(rigs[0]); err != nil {
			t.Fatal(err)
		}
	}
	for k, a := range answers {
		if len(a) != 1 {
			t.Errorf("request %s was answered %v", k, a)
		}
	}
	rigs[0].verify()

	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var requests, deposits, deadlocks int
	if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM request), (SELECT count(*) FROM deposit),
		(SELECT deadlocks FROM pg_stat_database WHERE datname = current_database())`).Scan(&requests, &deposits, &deadlocks); err != nil {
		t.Fatal(err)
	}
	if requests != apps*rounds || deposits > 97 || deadlocks != 0 {
		t.Errorf("%d requests, %d deposits, %d deadlocks", requests, deposits, deadlocks)
	}
}

func dueTasks(t *testing.T, r *rig) (tasks []pgdb.Task) {
	t.Helper()
	if err := r.e.DB.Read(t.Context(), func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(t.Context(), pgdb.ListDueTasksParams{Queue: SettleQueue, Now: 1 << 60, Most: 20})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return tasks
}
