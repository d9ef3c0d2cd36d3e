package op

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// rig is an engine over a real database, with one app.
type rig struct {
	*testing.T
	e   *Engine
	now time.Time
}

const testApp = "demo"

func newRig(t *testing.T, engine storetest.Engine, set store.Settings) *rig {
	t.Helper()
	r := &rig{T: t, now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	db, err := store.Open(t.Context(), store.Config{Database: engine.New(t),
		Clock: store.NewClock(func() time.Time { return r.now })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if r.e, err = NewEngine(t.Context(), db, "http://127.0.0.1", false); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	r.do(store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: testApp, Name: "Demo", Settings: string(text), CreatedAt: v.Now()})
	}})
	return r
}

func (r *rig) do(u store.Unit) {
	r.Helper()
	if err := r.e.DB.Do(r.Context(), u); err != nil {
		r.Fatal(err)
	}
}

// call runs an operation as gate does; its failure is the code and the fields named.
func (r *rig) call(name infinia.Operation, members map[string]string) (any, *infinia.Error) {
	r.Helper()
	rep, err := r.try(name, members)
	if err == nil {
		return rep, nil
	}
	e, ok := errors.AsType[*infinia.Error](err)
	if !ok {
		r.Fatalf("%s: %v", name, err)
	}
	return nil, e
}

func (r *rig) try(name infinia.Operation, members map[string]string) (any, error) {
	content := Content{}
	for k, v := range members {
		content[k] = &v
	}
	for _, o := range All {
		if o.Name == name {
			return o.Run(r.Context(), r.e, pgdb.App{AppID: testApp}, content)
		}
	}
	r.Fatalf("no operation %s", name)
	return nil, nil
}

// must runs an operation that has to succeed.
func must[Rep any](r *rig, name infinia.Operation, members map[string]string) Rep {
	r.Helper()
	rep, err := r.call(name, members)
	if err != nil {
		r.Fatalf("%s: %v", name, err)
	}
	return rep.(Rep)
}

// refused runs an operation that has to fail with the code, and the field named when it is given.
func (r *rig) refused(code infinia.Code, field string, name infinia.Operation, members map[string]string) {
	r.Helper()
	rep, err := r.call(name, members)
	switch {
	case err == nil:
		r.Fatalf("%s: answered %+v, want %s", name, rep, code)
	case err.Code != code:
		r.Fatalf("%s: %v, want %s", name, err, code)
	case field != "" && (len(err.Fields) != 1 || err.Fields[0].Field != field):
		r.Fatalf("%s: fields %v, want %s", name, err.Fields, field)
	}
}

func (r *rig) deposit(currency string, minor int64) {
	r.Helper()
	from, to := ledger.ExternalAccount(testApp, currency), ledger.PlatformAccount(testApp, currency)
	r.do(store.Unit{Keys: store.Keys{Accounts: []store.AccountKey{from, to}, Deposits: []store.DepositKey{{Currency: currency, BankReference: "BANK " + r.now.String()}}},
		Judge: func(v *store.View) error {
			k := store.DepositKey{Currency: currency, BankReference: "BANK " + r.now.String()}
			d := pgdb.Deposit{ID: v.NextID(), AppID: testApp, Currency: currency, Amount: minor, BankReference: k.BankReference, BookedAt: v.Now()}
			v.Deposits.Put(k, d)
			return ledger.Post(v, ledger.ForDeposit, d.ID, from, to, minor)
		}})
	r.now = r.now.Add(time.Millisecond)
}

// bind brings a seller's binding to SUCCESS through the hosted page's steps.
func (r *rig) bind(seller, currency string) {
	r.Helper()
	rep := must[infinia.AccountBindingReply](r, infinia.OpAccountBinding, bindingOf("BIND-"+seller+"-"+currency, seller, currency))
	token := rep.RedirectURL[len("http://127.0.0.1/b/"):]
	b, err := r.e.Confirm(r.Context(), token, Consent{TextVersion: "test"})
	if err != nil {
		r.Fatal(err)
	}
	r.onBinding(b.ID, func(v *store.View, b pgdb.Binding) error { _, err := Approve(v, b); return err })
}

func (r *rig) onBinding(id int64, act func(*store.View, pgdb.Binding) error) {
	r.Helper()
	var b pgdb.Binding
	if err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) (err error) { b, err = q.GetBinding(r.Context(), id); return err }); err != nil {
		r.Fatal(err)
	}
	r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{{AppID: testApp, SellerID: b.SellerID}}},
		Judge: func(v *store.View) error {
			b, _ := v.Bindings.Get(id)
			return act(v, b)
		}})
}

// file books trades of a seller as the switch of an accepted file does.
func (r *rig) file(seller, currency string, shipped, unshipped int64) {
	r.Helper()
	keys := store.Keys{}
	for _, kind := range []string{ledger.Evidence, ledger.FiledShipped, ledger.FiledUnshipped} {
		keys.Accounts = append(keys.Accounts, ledger.SellerAccount(testApp, kind, seller, currency))
	}
	var fileID int64
	r.do(store.Unit{Keys: keys, Judge: func(v *store.View) error {
		fileID = v.NextID()
		v.Files.Put(fileID, pgdb.TradeFile{ID: fileID, AppID: testApp, RequestNo: seller + r.now.String(), Attempt: 1, State: "SUCCESS", RunID: fileID, BookedNo: 1})
		v.AddTradePart(pgdb.TradePart{FileID: fileID, SellerID: seller, Currency: currency})
		for i, amount := range []int64{shipped, unshipped} {
			var err error
			switch evidence, account := keys.Accounts[0], keys.Accounts[i+1]; {
			case amount > 0:
				err = ledger.Post(v, ledger.ForTrade, fileID, evidence, account, amount)
			case amount < 0:
				err = ledger.Post(v, ledger.ForTrade, fileID, account, evidence, -amount)
			}
			if err != nil {
				return err
			}
			if amount != 0 {
				v.AddTradeRows([]pgdb.TradeRow{{App: 1, ItemKey: []byte(seller + currency), At: r.now.UnixMilli() + int64(i), RunID: fileID, Amount: amount, Shipped: int64(1 - i)}})
			}
		}
		return nil
	}})
	r.now = r.now.Add(time.Millisecond)
}

func bindingOf(requestNo, seller, currency string) map[string]string {
	return map[string]string{"requestNo": requestNo, "sellerId": seller, "sellerCertNo": "CERT-" + seller, "sellerName": "Acme Trading Ltd.",
		"storeName": "Acme", "storeUrl": "https://store.example.com/acme", "entityType": "Corporate", "country": "CHN", "currency": currency}
}

func shareOf(requestNo, seller, currency, amount string) map[string]string {
	return map[string]string{"requestNo": requestNo, "sellerId": seller, "currency": currency, "amount": amount}
}

// settle does the settlements that are due.
func (r *rig) settle() {
	r.Helper()
	var tasks []pgdb.Task
	if err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: SettleQueue, Now: store.Millis(r.now), Most: 10000})
		return err
	}); err != nil {
		r.Fatal(err)
	}
	if err := errors.Join(r.e.Settle(r.Context(), tasks)...); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) verify() {
	r.Helper()
	if err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) error {
		report, err := ledger.Verify(r.Context(), q)
		for _, f := range report.Faults {
			r.Error(f)
		}
		return err
	}); err != nil {
		r.Fatal(err)
	}
}
