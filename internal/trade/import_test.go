package trade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// importRig is an importer over a real database with one app and one seller who was bound once.
type importRig struct {
	*testing.T
	im  *Importer
	dir string
}

func newImportRig(t *testing.T, database string, set store.Settings) *importRig {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &importRig{T: t, dir: t.TempDir(), im: &Importer{DB: db}}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Do(t.Context(), store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		b := pgdb.Binding{ID: v.NextID(), AppID: "demo", SellerID: "S1", Currency: "CNH", State: "REVOKED", BoundAt: 1, LinkHash: []byte{}}
		v.Bindings.Put(b.ID, b)
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "demo", Settings: string(text)})
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

// receive hands a file over; its local copy is gone afterwards.
func (r *importRig) receive(requestNo, rows string) {
	r.Helper()
	path := filepath.Join(r.dir, requestNo+".csv")
	if err := os.WriteFile(path, []byte(importHeader+rows), 0o600); err != nil {
		r.Fatal(err)
	}
	sum := sha256.Sum256([]byte(importHeader + rows))
	if err := r.im.Receive(r.Context(), "demo", requestNo, path, int64(len(importHeader+rows)), hex.EncodeToString(sum[:])); err != nil {
		r.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		r.Fatal(err)
	}
}

// upload hands a file over and returns its task.
func (r *importRig) upload(requestNo, rows string) pgdb.Task {
	r.Helper()
	r.receive(requestNo, rows)
	tasks := r.tasks(FileQueue("demo"))
	if len(tasks) == 0 {
		r.Fatal("no task")
	}
	return tasks[0]
}

func (r *importRig) tasks(queue string) (tasks []pgdb.Task) {
	r.Helper()
	r.read(func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: queue, Now: 1 << 60, Most: 9})
		return err
	})
	return tasks
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
	return r.balance(ledger.FiledShipped) + r.balance(ledger.FiledUnshipped)
}

func (r *importRig) balance(kind string) int64 {
	r.Helper()
	var sum int64
	r.read(func(q *pgdb.Queries) error {
		accounts, err := q.PageAccounts(r.Context(), pgdb.PageAccountsParams{AppID: "demo", SellerID: "S1", Kind: kind, Before: 1 << 62, Most: 100})
		for _, a := range accounts {
			sum += a.Balance
		}
		return err
	})
	return sum
}

// leave writes rows as a run does that is stopped before its file names it.
func (r *importRig) leave(f pgdb.TradeFile, rows string) (runID int64) {
	r.Helper()
	res, err := Check(strings.NewReader(importHeader+rows), Settings{}, Known{})
	if err != nil {
		r.Fatal(err)
	}
	defer res.Close()
	if runID, err = r.im.writeRows(r.Context(), pgdb.App{ID: r.app()}, &progress{}, res); err != nil {
		r.Fatal(err)
	}
	return runID
}

func (r *importRig) app() (id int64) {
	r.Helper()
	r.read(func(q *pgdb.Queries) error {
		app, err := q.GetApp(r.Context(), "demo")
		id = app.ID
		return err
	})
	return id
}

// rowsOfRuns counts the rows that are there, whether they count or not.
func (r *importRig) rowsOfRuns() map[int64]int {
	r.Helper()
	runs := map[int64]int{}
	r.read(func(q *pgdb.Queries) error {
		rows, err := q.PageItemsOfApp(r.Context(), pgdb.PageItemsOfAppParams{App: r.app(), First: []byte{0}, Most: 1e6})
		for _, row := range rows {
			runs[row.RunID]++
		}
		return err
	})
	return runs
}

// sweep does what is due a day later.
func (r *importRig) sweepRuns() {
	r.Helper()
	for _, task := range r.tasks(RunQueue) {
		if err := r.im.SweepRun(r.Context(), task); err != nil {
			r.Fatal(err)
		}
	}
	if tasks := r.tasks(RunQueue); len(tasks) > 0 {
		r.Errorf("still to be swept: %v", tasks)
	}
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
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		task := r.upload("T-1", sale("O-1", "10.00")+sale("O-2", "20.00"))
		f := r.file("T-1")
		// The process ended after some rows were written.
		run := r.leave(f, sale("O-2", "5.00")+sale("O-3", "9.99"))
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
		if f := r.file("T-1"); f.State != fileSuccess || r.filed() != 30_00 {
			t.Errorf("the file is %s, filed are %d", f.State, r.filed())
		}
		r.verify()
		// The next file is compared with what counts.
		if err := r.im.Import(t.Context(), r.upload("T-2", sale("O-2", "20.00")+sale("O-3", "1.00"))); err != nil {
			t.Fatal(err)
		}
		if f := r.file("T-2"); f.State != fileSuccess || r.filed() != 31_00 {
			t.Errorf("the next file: %+v", f)
		}
		if rows := r.rowsOfRuns(); len(rows) != 3 || rows[run] != 2 {
			t.Errorf("rows by run: %v", rows)
		}
		r.sweepRuns()
		if rows := r.rowsOfRuns(); len(rows) != 2 || rows[run] != 0 || rows[r.file("T-1").RunID] != 2 || rows[r.file("T-2").RunID] != 1 {
			t.Errorf("rows by run, swept: %v", rows)
		}
		r.verify()
	})
}

// TestStoppedWhileRowsAreWritten: a run that was told to stop says so, however many rows it has written, and is not named.
func TestStoppedWhileRowsAreWritten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		var rows strings.Builder
		most, _ := r.im.rowsPerUnit()
		for i := range 30 * most {
			rows.WriteString(sale(fmt.Sprintf("O-%d", i), "1.00"))
		}
		res, err := Check(strings.NewReader(importHeader+rows.String()), Settings{}, Known{})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		written := make(chan error)
		go func() {
			_, err := r.im.writeRows(ctx, pgdb.App{ID: r.app()}, &progress{}, res)
			written <- err
		}()
		storetest.Until(t, "the first rows", func() bool { return len(r.rowsOfRuns()) > 0 })
		cancel()
		if err := <-written; !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
		for _, n := range r.rowsOfRuns() {
			if n >= 30*most {
				t.Error("it was not stopped in the middle")
			}
		}
	})
}

// TestSweptRunIsNotNamed: a run that took so long that its rows were being removed does not begin to count.
func TestSweptRunIsNotNamed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		task := r.upload("T-1", sale("O-1", "10.00"))
		f := r.file("T-1")
		f.State, f.RunID = fileSuccess, r.leave(f, sale("O-1", "10.00"))
		if err := r.im.finish(t.Context(), task, pgdb.App{ID: 1, AppID: "demo"}, store.Settings{}, f, &Result{Fresh: 2}); !store.NotFound(err) {
			t.Errorf("named a run of which a row was lost: %v", err)
		}
		r.sweepRuns()
		if err := r.im.finish(t.Context(), task, pgdb.App{ID: 1, AppID: "demo"}, store.Settings{}, f, &Result{Fresh: 1}); !store.NotFound(err) {
			t.Errorf("named a run that was swept: %v", err)
		}
		if f := r.file("T-1"); f.State != fileProcessing || len(r.rowsOfRuns()) != 0 {
			t.Errorf("the file is %s; rows by run: %v", f.State, r.rowsOfRuns())
		}
		if err := r.im.Import(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if f := r.file("T-1"); f.State != fileSuccess || r.filed() != 10_00 {
			t.Errorf("the file is %s, filed are %d", f.State, r.filed())
		}
		r.verify()
	})
}

// TestShippedLater: a sale that is filed again as shipped moves, by a row of its own; what is compared later is the newer.
func TestShippedLater(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		waiting := strings.NewReplacer("Shipped,,T-1,SF,2026-02-02 10:00:00", "Not Shipped,2026-02-02 10:00:00,,,")
		for i, c := range []struct {
			rows               string
			state              string
			shipped, unshipped int64
		}{
			{waiting.Replace(sale("O-1", "10.00") + sale("O-2", "20.00")), fileSuccess, 0, 30_00},
			{sale("O-1", "10.00"), fileSuccess, 10_00, 20_00},
			{strings.ReplaceAll(sale("O-1", "10.00"), "T-1", "T-2"), fileSuccess, 10_00, 20_00}, // another carrier
			{waiting.Replace(sale("O-1", "10.00")), fileFailed, 10_00, 20_00},
			{sale("O-1", "10.00") + sale("O-2", "20.00"), fileSuccess, 30_00, 0},
			{sale("O-2", "20.00"), fileSuccess, 30_00, 0},
		} {
			no := fmt.Sprintf("T-%d", i)
			if err := r.im.Import(t.Context(), r.upload(no, c.rows)); err != nil {
				t.Fatal(err)
			}
			if f := r.file(no); f.State != c.state || r.balance(ledger.FiledShipped) != c.shipped || r.balance(ledger.FiledUnshipped) != c.unshipped {
				t.Errorf("%s is %s, %d shipped, %d not: %s", no, f.State, r.balance(ledger.FiledShipped), r.balance(ledger.FiledUnshipped), f.FailReason)
			}
			r.verify()
		}
	})
}

// TestMoreThanCanBeBooked: rows that are sound one by one, but more together than an account holds, fail the file and do
// not hold up the next.
func TestMoreThanCanBeBooked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
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
	})
}

// TestReceiveKeepsTheUpload: what is judged is in the database, and only what is judged.
func TestReceiveKeepsTheUpload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		contents := func() (n int) {
			r.read(func(q *pgdb.Queries) error {
				tasks, err := q.ListDueTasks(t.Context(), pgdb.ListDueTasksParams{Queue: content.Queue, Now: 1 << 60, Most: 100})
				n = len(tasks)
				return err
			})
			return n
		}
		task := r.upload("T-1", sale("O-1", "10.00"))
		f := r.file("T-1")
		src, err := content.Open(t.Context(), r.im.DB, r.im.Keys, f.ContentID)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(src); err != nil || string(text) != importHeader+sale("O-1", "10.00") || f.Size != int64(len(text)) {
			t.Errorf("kept %q, %v", text, err)
		}
		r.receive("T-1", sale("O-1", "10.00")) // the same bytes
		r.receive("T-1", sale("O-2", "10.00")) // others while it is judged
		if n := contents(); n != 1 {
			t.Errorf("%d contents were written", n)
		}
		if err := r.im.Import(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		r.receive("T-1", sale("O-3", "10.00")) // and after it was accepted
		if n := contents(); n != 1 {
			t.Errorf("%d contents were written", n)
		}
		if err := r.im.Receive(t.Context(), "demo", "T-2", filepath.Join(r.dir, "none"), 1, "00"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a copy that is not there: %v", err)
		}
		path := filepath.Join(r.dir, "T-2.csv")
		if err := os.WriteFile(path, []byte("others"), 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte("bytes."))
		if err := r.im.Receive(t.Context(), "demo", "T-2", path, 6, hex.EncodeToString(sum[:])); err == nil || !strings.Contains(err.Error(), "not the bytes") {
			t.Errorf("a copy of other bytes: %v", err)
		}
		r.read(func(q *pgdb.Queries) error {
			if _, err := q.NewestTradeFile(t.Context(), pgdb.NewestTradeFileParams{AppID: "demo", RequestNo: "T-2"}); !store.NotFound(err) {
				t.Errorf("T-2 was taken over: %v", err)
			}
			return nil
		})
	})
}

// TestUploadIsNotThere: a file whose upload is not in the database, where an earlier version did not keep it, fails and holds
// up nothing. A database that cannot be asked for it fails no file.
func TestUploadIsNotThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		database := engine.New(t)
		r := newImportRig(t, database, store.Settings{})
		for no, contentID := range map[string]int64{"T-earlier": 0, "T-removed": 1 << 40} {
			if err := r.im.DB.Do(t.Context(), store.Unit{Judge: func(v *store.View) error {
				f := pgdb.TradeFile{ID: v.NextID(), AppID: "demo", RequestNo: no, Attempt: 1, State: fileProcessing, SHA256: "00", ContentID: contentID}
				v.Files.Put(f.ID, f)
				v.AddTask(FileQueue("demo"), f.ID, v.Now())
				return nil
			}}); err != nil {
				t.Fatal(err)
			}
			r.leave(r.file(no), sale("O-1", "5.00")) // what it had written when it was stopped is of no use either
			task := r.tasks(FileQueue("demo"))[0]
			engine.Exec(t, database, "ALTER TABLE content RENAME TO aside")
			err := r.im.Import(t.Context(), task)
			if f := r.file(no); !errors.Is(err, store.ErrDatabase) || f.State != fileProcessing {
				t.Errorf("%s is %s while the database cannot be asked: %v", no, f.State, err)
			}
			engine.Exec(t, database, "ALTER TABLE aside RENAME TO content")
			if err := r.im.Import(t.Context(), task); err != nil {
				t.Fatal(err)
			}
			f := r.file(no)
			if f.State != fileFailed || !strings.Contains(f.FailReason, "not there any more") || f.FinishedAt == 0 {
				t.Errorf("%s is %s: %s", no, f.State, f.FailReason)
			}
			if tasks := r.tasks(FileQueue("demo")); len(tasks) != 0 {
				t.Errorf("%s will be tried again: %v", no, tasks)
			}
			if _, err := r.im.ErrorFile(t.Context(), f); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error file: %v", err)
			}
			for _, task := range r.tasks(ResultQueue("demo")) {
				if err := r.im.WriteResults(t.Context(), task); err != nil {
					t.Error(err)
				}
			}
		}
		r.verify()
	})
}

// TestTwoImportersOnOneFile: by mistake two nodes work on one file; it is booked once, whatever comes between their units.
func TestTwoImportersOnOneFile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		database := engine.New(t)
		r := newImportRig(t, database, store.Settings{AcceptPartial: true})
		nodes := []*Importer{r.im, r.im}
		if engine == storetest.Postgres { // the other one is a node of its own
			db, err := store.Open(t.Context(), store.Config{Database: database})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			nodes[1] = &Importer{DB: db}
		}
		want := int64(0)
		for round := range 3 {
			no := fmt.Sprintf("T-%d", round)
			var rows strings.Builder
			for i := range 3 * sqliteRowsPerUnit {
				rows.WriteString(sale(fmt.Sprintf("O-%d-%d", round, i), "1.00"))
				want += 1_00
			}
			rows.WriteString(sale("O-bad", "0.00")) // so that there is an error file
			task := r.upload(no, rows.String())
			for tries := 0; r.file(no).State == fileProcessing; tries++ {
				if tries == 10 {
					t.Fatalf("%s is not judged", no)
				}
				var both sync.WaitGroup
				for _, node := range nodes {
					both.Go(func() { t.Log(no, node.Import(t.Context(), task)) })
					if tries > 0 { // as the outbox does: the next try comes alone
						break
					}
				}
				both.Wait()
			}
			if f := r.file(no); f.State != filePartial || f.AcceptedRows != 3*sqliteRowsPerUnit || r.filed() != want {
				t.Errorf("%s is %s with %d rows, filed are %d, want %d", no, f.State, f.AcceptedRows, r.filed(), want)
			}
			file, err := r.im.ErrorFile(t.Context(), r.file(no))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(file); err != nil || !strings.Contains(string(text), "O-bad") {
				t.Errorf("error file: %q, %v", text, err)
			}
			r.verify()
		}
	})
}

// TestLargeUpload: a file of 100 MB is taken over without being in memory.
func TestLargeUpload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		path := filepath.Join(r.dir, "large.csv")
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		sum, piece := sha256.New(), []byte(strings.Repeat(sale("O-1", "10.00"), 10_000))
		size := int64(0)
		for size < 100e6 {
			n, err := io.MultiWriter(file, sum).Write(piece)
			if err != nil {
				t.Fatal(err)
			}
			size += int64(n)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		taken := make(chan error)
		go func() {
			taken <- r.im.Receive(t.Context(), "demo", "T-1", path, size, hex.EncodeToString(sum.Sum(nil)))
		}()
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		for most := int64(0); ; {
			select {
			case err := <-taken:
				if f := r.file("T-1"); err != nil || f.Size != size || most > 16<<20 {
					t.Errorf("%v; it has %d of %d bytes; at most %d bytes of memory were held", err, f.Size, size, most)
				}
				return
			case <-look.C:
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			}
		}
	})
}
