package trade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// importRig is an importer over a real database with one app and one seller who was bound once.
type importRig struct {
	*testing.T
	im  *Importer
	dir string
}

func newImportRig(t *testing.T, set store.Settings) *importRig {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Config{Database: filepath.Join(dir, "books.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &importRig{T: t, dir: dir, im: &Importer{DB: db, ErrorsDir: dir,
		Result:       func(_, _ string, write func(io.Writer) error) error { return write(io.Discard) },
		RemoveResult: func(_, _ string) error { return nil }}}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Do(t.Context(), store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return errors.Join(q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "demo", Settings: string(text)}),
			q.InsertBinding(ctx, pgdb.InsertBindingParams{ID: v.NextID(), AppID: "demo", SellerID: "S1", Currency: "CNH", State: "REVOKED", BoundAt: 1, LinkHash: []byte{}}))
	}}); err != nil {
		t.Fatal(err)
	}
	return r
}

const importHeader = "sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity,productUnitPrice," +
	"shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress\n"

func sale(order, amount string) string {
	return "S1," + order + ",SKU,2026-02-01 10:00:00,CNH," + amount + ",001,Lamp,1," + amount + ",Shipped,,T-1,SF,2026-02-02 10:00:00,USA,https://s.example.com,,\n"
}

// upload hands a file over and returns its task.
func (r *importRig) upload(requestNo, rows string) pgdb.Task {
	r.Helper()
	path := filepath.Join(r.dir, requestNo+".csv")
	if err := os.WriteFile(path, []byte(importHeader+rows), 0o600); err != nil {
		r.Fatal(err)
	}
	if err := r.im.Receive(r.Context(), "demo", requestNo, path, 1, fmt.Sprintf("digest of %q", rows)); err != nil {
		r.Fatal(err)
	}
	var tasks []pgdb.Task
	r.read(func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: FileQueue("demo"), Now: 1 << 60, Most: 1})
		return err
	})
	if len(tasks) != 1 {
		r.Fatalf("%d tasks", len(tasks))
	}
	return tasks[0]
}

func (r *importRig) read(fn func(q *pgdb.Queries) error) {
	r.Helper()
	if err := r.im.DB.Read(r.Context(), fn); err != nil {
		r.Fatal(err)
	}
}

func (r *importRig) file(requestNo string) (f pgdb.TradeFile) {
	r.Helper()
	r.read(func(q *pgdb.Queries) (err error) {
		f, err = q.NewestTradeFile(r.Context(), pgdb.NewestTradeFileParams{AppID: "demo", RequestNo: requestNo})
		return err
	})
	return f
}

// filed is what the books say that the seller has filed.
func (r *importRig) filed() int64 {
	r.Helper()
	var sum int64
	r.read(func(q *pgdb.Queries) error {
		accounts, err := q.PageAccounts(r.Context(), pgdb.PageAccountsParams{AppID: "demo", SellerID: "S1", Before: 1 << 62, Most: 100})
		for _, a := range accounts {
			if a.Kind == ledger.FiledShipped || a.Kind == ledger.FiledUnshipped {
				sum += a.Balance
			}
		}
		return err
	})
	return sum
}

func (r *importRig) verify() {
	r.Helper()
	r.read(func(q *pgdb.Queries) error {
		report, err := ledger.Verify(r.Context(), q)
		for _, f := range report.Faults {
			r.Error(f)
		}
		return err
	})
}

// TestImportAgainAfterACrash: rows that an earlier run left are no obstacle and count once.
func TestImportAgainAfterACrash(t *testing.T) {
	r := newImportRig(t, store.Settings{})
	task := r.upload("T-1", sale("O-1", "10.00")+sale("O-2", "20.00"))
	f := r.file("T-1")
	// The process ended after some rows were written.
	if err := r.im.writeRows(t.Context(), pgdb.App{ID: 1}, f, []Row{{SellerID: "S1", Currency: "CNH", Amount: 999, Key: [16]byte{1}}, {SellerID: "S1", Currency: "CNH", Amount: 5, Key: [16]byte{2}}}); err != nil {
		t.Fatal(err)
	}
	if r.filed() != 0 {
		t.Error("rows count before the switch")
	}
	if err := r.im.Import(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	// It ended after the switch, before anyone knew: another run changes nothing, neither the books nor the rows.
	if err := r.im.Import(t.Context(), task); err != nil {
		t.Error(err)
	}
	if err := r.im.writeRows(t.Context(), pgdb.App{ID: 1}, f, nil); err != nil {
		t.Error(err)
	}
	if f := r.file("T-1"); f.State != fileSuccess || r.filed() != 30_00 {
		t.Errorf("the file is %s, filed are %d", f.State, r.filed())
	}
	r.verify()
}

// TestMoreThanCanBeBooked: rows that are sound one by one, but more together than an account holds, fail the file and do
// not hold up the next.
func TestMoreThanCanBeBooked(t *testing.T) {
	r := newImportRig(t, store.Settings{})
	// As much as fits is there already.
	keys := []store.AccountKey{ledger.SellerAccount("demo", ledger.Evidence, "S1", "CNH"), ledger.SellerAccount("demo", ledger.FiledShipped, "S1", "CNH")}
	if err := r.im.DB.Do(t.Context(), store.Unit{Keys: store.Keys{Accounts: keys}, Judge: func(v *store.View) error {
		return ledger.Post(v, ledger.ForTrade, 1, keys[0], keys[1], 1<<63-1)
	}}); err != nil {
		t.Fatal(err)
	}
	if err := r.im.Import(t.Context(), r.upload("T-1", sale("O-1", "10.00"))); err != nil {
		t.Fatal(err)
	}
	if f := r.file("T-1"); f.State != fileFailed || f.AcceptedRows != 0 || !strings.Contains(f.FailReason, "more than can be booked") {
		t.Errorf("the file: %+v", f)
	}
	if r.filed() != 1<<63-1 {
		t.Errorf("filed: %d", r.filed())
	}
}
