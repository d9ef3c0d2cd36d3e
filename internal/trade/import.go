package trade

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// The states of a trade file, the same words as on the wire:
//
//	PROCESSING -> SUCCESS
//	PROCESSING -> PARTIAL   some rows were rejected and the app takes the good ones
//	PROCESSING -> FAILED    nothing was booked; other bytes under the same requestNo are the next attempt
const (
	fileProcessing = string(infinia.FileProcessing)
	fileSuccess    = string(infinia.FileSuccess)
	filePartial    = string(infinia.FilePartial)
	fileFailed     = string(infinia.FileFailed)
)

// Importer judges complete uploads, one at a time for each app, and books what they tell.
type Importer struct {
	DB      *store.DB
	Keys    content.Keys // that what is kept is encrypted under
	Busy    func() bool  // says whether calls are under way, which go first; may be nil
	Metrics *Metrics     // may be nil
}

// FileQueue is the outbox queue of an app's files; ResultQueue is that of the result files to be written for them.
func FileQueue(appID string) string   { return "file/" + appID }
func ResultQueue(appID string) string { return "file-result/" + appID }

// Receive takes over a complete upload: path is a stable copy of it, which nobody needs afterwards. The first content under a
// requestNo, and other content after a failure, is judged; the content that is already known changes nothing; any other is
// refused and remembered.
func (im *Importer) Receive(ctx context.Context, appID, requestNo, path string, size int64, digest string) error {
	newest := pgdb.NewestTradeFileParams{AppID: appID, RequestNo: requestNo}
	judged := func(f pgdb.TradeFile, err error) bool {
		return store.NotFound(err) || err == nil && f.State == fileFailed && f.SHA256 != digest
	}
	var f pgdb.TradeFile
	err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) { f, err = q.NewestTradeFile(ctx, newest); return err })
	if err != nil && !store.NotFound(err) {
		return err
	}
	var contentID int64
	if judged(f, err) {
		if contentID, err = im.keep(ctx, path, size, digest); err != nil {
			return fmt.Errorf("keep %s: %w", path, err)
		}
	}
	return im.DB.Do(ctx, store.Unit{Name: "upload", Keys: store.Keys{Apps: []string{appID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		f, err := q.NewestTradeFile(ctx, newest)
		if err != nil && !store.NotFound(err) {
			return err
		}
		switch {
		case !judged(f, err) && f.SHA256 == digest:
			return nil
		case !judged(f, err):
			v.AddTask(ResultQueue(appID), f.ID, v.Now())
			return q.InsertTradeRefused(ctx, pgdb.InsertTradeRefusedParams{ID: v.NextID(), FileID: f.ID, SHA256: digest, Size: size, At: v.Now()})
		case contentID == 0:
			return errors.New("the attempt before it has just failed; hand it over again")
		}
		if err := content.Refer(ctx, q, contentID); err != nil {
			return err
		}
		next := pgdb.TradeFile{ID: v.NextID(), AppID: appID, RequestNo: requestNo, Attempt: f.Attempt + 1, State: fileProcessing,
			SHA256: digest, Size: size, ReceivedAt: v.Now(), ContentID: contentID}
		v.Files.Put(next.ID, next)
		v.AddTask(FileQueue(appID), next.ID, v.Now())
		return nil
	}})
}

// keep copies an upload into the database, where every node reads it.
func (im *Importer) keep(ctx context.Context, path string, size int64, digest string) (id int64, err error) {
	src, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	return content.Write(ctx, im.DB, im.Keys, func(w io.Writer) error {
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum), src)
		if err == nil && (n != size || hex.EncodeToString(sum.Sum(nil)) != digest) {
			err = errors.New("these are not the bytes that were uploaded: the disk is at fault; have it uploaded again under another requestNo")
		}
		return err
	})
}

// Import judges and books a file; it is the Work of the file queues. A crash at any point leaves the task, and the file is
// judged again from its start: its rows count only once the switch has said so.
func (im *Importer) Import(ctx context.Context, t pgdb.Task) error {
	if err := im.importFile(ctx, t); err != nil {
		return fmt.Errorf("trade file %d: %w", t.RecordID, err)
	}
	return nil
}

func (im *Importer) importFile(ctx context.Context, t pgdb.Task) error {
	var f pgdb.TradeFile
	var app pgdb.App
	if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
		if f, err = q.GetTradeFile(ctx, t.RecordID); err != nil {
			return err
		}
		app, err = q.GetApp(ctx, f.AppID)
		return err
	}); err != nil {
		return err
	}
	if f.State != fileProcessing { // another run has ended it
		return im.DB.Do(ctx, store.Unit{Name: "trade file", Keys: store.Keys{Apps: []string{f.AppID}}, Judge: func(v *store.View) error { v.DropTask(t.ID); return nil }})
	}
	set, err := store.SettingsOf(app)
	if err != nil {
		return err
	}
	src, err := content.Open(ctx, im.DB, im.Keys, f.ContentID)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrDatabase) { // whose faults tell of missing files too
		// An earlier version kept it in the data folder. No later try would find it.
		return im.fail(ctx, t, app, set, f, &Result{}, "file: its upload is not there any more; upload it again under another requestNo")
	}
	if err != nil {
		return err
	}
	p := &progress{}
	stop := sync.OnceFunc(im.tell(ctx, f, p))
	defer stop()
	reading := &progressReader{src, p, f.Size, []int{20, 500, 750}}
	books := booked{ctx, im.DB, app}
	res, err := Check(reading, Settings{Zone: set.Location(), Rest: im.rest}, Known{Bound: books.bound, Booked: books.rows})
	if err != nil {
		return err
	}
	defer res.Close()
	if im.Metrics != nil {
		im.Metrics.judged.Add(float64(res.Total))
	}
	f.State = outcome(res, set.AcceptPartial)
	f.TotalRows, f.AcceptedRows, f.RejectedRows, f.FailReason = int64(res.Total), int64(res.Accepted), int64(res.Rejected), res.FailReason()
	if f.Broken, err = textOf(res.Broken); err != nil {
		return err
	}
	if len(res.Parts) == 1 {
		f.SellerID, f.Currency = res.Parts[0].SellerID, string(res.Parts[0].Currency)
	}
	if res.Rejected > 0 || len(res.FileProblems) > 0 {
		// All rows where one bad row refuses the file, else the rejected ones. The switch tells of it.
		if f.ErrorsID, err = content.Write(ctx, im.DB, im.Keys, func(w io.Writer) error { return WriteErrorFile(w, reading, res, f.State == fileFailed) }); err != nil {
			return err
		}
	}
	if f.State == fileFailed { // its error file has the warnings
		stop()
		return im.fail(ctx, t, app, set, f, res, f.FailReason)
	}
	if f.Warnings, err = textOf(warnings(res)); err != nil {
		return err
	}
	if !res.overflow {
		p.step(1000, int64(res.Fresh+res.Updates))
		f.RunID, err = im.writeRows(ctx, app, p, res)
		stop()
		if err = errors.Join(err, res.Close()); err == nil { // the switch needs the room
			err = im.finish(ctx, t, app, set, f, res)
		}
		if !errors.Is(err, money.ErrOverflow) {
			return err
		}
	}
	stop()
	// No row is wrong by itself, but together they are more than an account can hold. Nothing was booked.
	return im.fail(ctx, t, app, set, f, res, "file: the amounts of one seller and currency sum to more than can be booked; check them, they are beyond 92 quadrillion minor units")
}

// fail ends a file of which nothing is booked.
func (im *Importer) fail(ctx context.Context, t pgdb.Task, app pgdb.App, set store.Settings, f pgdb.TradeFile, res *Result, reason string) error {
	f.State, f.RunID, f.AcceptedRows, f.Warnings, f.FailReason = fileFailed, 0, 0, "", reason
	return im.finish(ctx, t, app, set, f, res)
}

// outcome is atomic unless the app takes the good rows of a file.
func outcome(res *Result, partial bool) string {
	switch {
	case len(res.FileProblems) > 0, res.Rejected > 0 && (!partial || res.Accepted == 0):
		return fileFailed
	case res.Rejected > 0:
		return filePartial
	}
	return fileSuccess
}

// rowsPerUnit is how many rows are written at once. On SQLite that keeps the one writer free for calls between the pieces of
// a file; PostgreSQL has writers beside it.
func (im *Importer) rowsPerUnit() (rows, writers int) {
	if im.DB.Shared() {
		return 4000, 2
	}
	return sqliteRowsPerUnit, 1
}

const sqliteRowsPerUnit = 500

// writeRows writes the accepted rows in the order of their table, under a run of their own. They begin to count when the file
// names the run; those of a run that no file names are removed in the background.
func (im *Importer) writeRows(ctx context.Context, app pgdb.App, p *progress, res *Result) (runID int64, err error) {
	if res.Fresh+res.Updates == 0 {
		return 0, nil
	}
	if err := im.DB.Do(ctx, store.Unit{Name: "trade run", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		runID = v.NextID()
		v.AddTask(RunQueue, runID, v.Now()+runLasts.Milliseconds())
		return q.InsertTradeRun(ctx, pgdb.InsertTradeRunParams{ID: runID, App: app.ID})
	}}); err != nil {
		return 0, err
	}
	// While one piece is committed the next is made.
	most, writers := im.rowsPerUnit()
	pieces := make(chan []pgdb.TradeRow)
	written := make(chan error, writers)
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	for range writers {
		go func() {
			var err error
			for rows := range pieces {
				if err != nil {
					continue
				}
				began := time.Now()
				if err = im.DB.WriteTradeRows(ctx, runID, rows); err != nil {
					cancel()
					continue
				}
				p.add(int64(len(rows)))
				if im.Metrics != nil {
					im.Metrics.written.Add(float64(len(rows)))
				}
				im.rest(time.Since(began))
			}
			written <- err
		}()
	}
	var piece []pgdb.TradeRow
	var keys []byte // of the piece
	hand := func() error {
		select {
		case pieces <- piece:
			piece, keys = nil, nil
			return nil
		case <-writing.Done():
			return ctx.Err() // or a writer's own, which is told below
		}
	}
	err = res.EachRow(func(rows []Row) error {
		for i := range rows {
			r := &rows[i]
			if piece == nil {
				piece, keys = make([]pgdb.TradeRow, 0, most), make([]byte, 0, 16*most)
			}
			keys = append(keys, r.Item[:]...)
			piece = append(piece, pgdb.TradeRow{App: app.ID, ItemKey: keys[len(keys)-16 : len(keys) : len(keys)], At: r.At, Returned: asInt(r.Amount < 0), RunID: runID,
				Part: int64(r.part), Amount: r.Amount, Shipped: asInt(r.Shipped), ShipHash: r.ShipDetail, Line: int64(r.Line), RowOffset: r.Offset})
			if len(piece) == most {
				if err := hand(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && len(piece) > 0 {
		err = hand()
	}
	close(pieces)
	for range writers {
		err = errors.Join(err, <-written)
	}
	return runID, err
}

// RunQueue is the outbox queue of runs whose rows perhaps do not count.
const RunQueue = "trade-run"

// runLasts is how long a run may take to write its rows and be named.
const runLasts = 24 * time.Hour

// SweepRun removes the rows of a run that no file names; it is the Work of RunQueue.
func (im *Importer) SweepRun(ctx context.Context, t pgdb.Task) error {
	var app int64
	err := im.DB.Do(ctx, store.Unit{Name: "sweep trade run", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (err error) {
		if app, err = q.SweepTradeRun(ctx, t.RecordID); store.NotFound(err) { // its file names it
			v.DropTask(t.ID)
			return nil
		}
		return err
	}})
	if err != nil || app == 0 {
		return err
	}
	for first, more := make([]byte, 16), true; more; {
		var rows []pgdb.PageItemsOfAppRow
		if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
			rows, err = q.PageItemsOfApp(ctx, pgdb.PageItemsOfAppParams{App: app, First: first, Most: sweepAtOnce})
			return err
		}); err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		last := rows[len(rows)-1].ItemKey
		if slices.ContainsFunc(rows, func(r pgdb.PageItemsOfAppRow) bool { return r.RunID == t.RecordID }) {
			if err := im.DB.Do(ctx, store.Unit{Name: "sweep trade rows", Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
				return q.DeleteRowsOfRun(ctx, pgdb.DeleteRowsOfRunParams{App: app, First: first, Last: last, RunID: t.RecordID})
			}}); err != nil {
				return err
			}
		}
		first, more = after(last), len(rows) == sweepAtOnce
	}
	return im.DB.Do(ctx, store.Unit{Name: "sweep trade run", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		v.DropTask(t.ID)
		return q.DeleteTradeRun(ctx, t.RecordID)
	}})
}

// sweepAtOnce is how many rows of an app are looked at, and perhaps removed, at once.
const sweepAtOnce = 1000

// after is the next item. Of the last one no row can be left: a range is removed whole, however many rows an item has.
func after(item []byte) []byte {
	next := slices.Clone(item)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next
		}
	}
	return append(slices.Clone(item), 0)
}

// inProcess says whether the file is still to be booked.
func inProcess(v *store.View, fileID int64) error {
	if f, ok := v.Files.Get(fileID); !ok || f.State != fileProcessing {
		return fmt.Errorf("it is %s already", f.State)
	}
	return nil
}

func asInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// finish is the switch: in one unit the file gets its state and names its rows, which begin to count, and the books learn
// what each seller has filed.
func (im *Importer) finish(ctx context.Context, t pgdb.Task, app pgdb.App, set store.Settings, f pgdb.TradeFile, res *Result) error {
	keys := store.Keys{Apps: []string{f.AppID}, Files: []int64{f.ID}}
	changed := 0
	for _, p := range res.Parts {
		if f.State == fileFailed || p.Shipped == 0 && p.Unshipped == 0 {
			continue
		}
		changed++
		for _, kind := range []string{ledger.Evidence, ledger.FiledShipped, ledger.FiledUnshipped} {
			keys.Accounts = append(keys.Accounts, ledger.SellerAccount(f.AppID, kind, p.SellerID, string(p.Currency)))
		}
	}
	return im.DB.Do(ctx, store.Unit{
		Name: "trade file", Keys: keys, IDs: 10 + 5*changed,
		Judge: func(v *store.View) error {
			if err := inProcess(v, f.ID); err != nil {
				return err
			}
			v.DropTask(t.ID)
			f.FinishedAt = v.Now()
			v.AddTask(ResultQueue(f.AppID), f.ID, v.Now())
			for _, p := range res.Parts {
				part := pgdb.TradePart{FileID: f.ID, No: int64(p.No), SellerID: p.SellerID, Currency: string(p.Currency),
					TotalRows: int64(p.Total), AcceptedRows: int64(p.Accepted), RejectedRows: int64(p.Total - p.Accepted)}
				if f.State == fileFailed {
					part.AcceptedRows = 0
				} else if err := p.post(v, f); err != nil {
					return err
				}
				v.AddTradePart(part)
			}
			return outbox.Notify(v, set, outbox.Event{AppID: f.AppID, SellerID: f.SellerID, Event: outbox.EventFile,
				Content: map[string]string{"fileRequestNo": f.RequestNo, "status": f.State, "attempt": strconv.FormatInt(f.Attempt, 10)}})
		},
		Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (err error) {
			if f.State != fileFailed {
				if f.BookedNo, err = q.NextBookedNo(ctx, f.AppID); err != nil {
					return err
				}
			}
			v.Files.Put(f.ID, f)
			if err := q.DeleteTradeProgress(ctx, f.ID); err != nil {
				return err
			}
			if f.ErrorsID != 0 {
				if err := content.Refer(ctx, q, f.ErrorsID); err != nil {
					return err
				}
			}
			if f.RunID != 0 { // unless it took a day and its rows are being removed, or a failover has lost some
				if _, err := q.TakeTradeRun(ctx, pgdb.TakeTradeRunParams{ID: f.RunID, RowCount: int64(res.Fresh + res.Updates)}); err != nil {
					return fmt.Errorf("run %d, it is judged again: %w", f.RunID, err)
				}
			}
			return nil
		},
	})
}

// post books by how much a file changes what a seller has filed.
func (p Part) post(v *store.View, f pgdb.TradeFile) error {
	account := func(kind string) store.AccountKey {
		return ledger.SellerAccount(f.AppID, kind, p.SellerID, string(p.Currency))
	}
	for _, side := range []struct {
		kind   string
		amount int64
	}{{ledger.FiledShipped, p.Shipped}, {ledger.FiledUnshipped, p.Unshipped}} {
		var err error
		switch {
		case side.amount > 0:
			err = ledger.Post(v, ledger.ForTrade, f.ID, account(ledger.Evidence), account(side.kind), side.amount)
		case side.amount < 0:
			err = ledger.Post(v, ledger.ForTrade, f.ID, account(side.kind), account(ledger.Evidence), -side.amount)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrorFile opens the error file of one attempt; its error is ErrErased when that was erased, and fs.ErrNotExist when there
// is none.
func (im *Importer) ErrorFile(ctx context.Context, f pgdb.TradeFile) (*io.SectionReader, error) {
	if ErrorsErased(f) > 0 {
		return nil, fmt.Errorf("the error file: %w", ErrErased)
	}
	return content.Open(ctx, im.DB, im.Keys, f.ErrorsID)
}

// EverBound says whether a binding in the currency is or once was successful.
func EverBound(bindings []pgdb.Binding, currency string) bool {
	return slices.ContainsFunc(bindings, func(b pgdb.Binding) bool { return b.Currency == currency && b.BoundAt > 0 })
}

// booked answers the checker's questions from the database, in short snapshots, so that readers stay free for calls. What is
// booked does not change in between: an app's files are judged one at a time.
type booked struct {
	ctx context.Context
	db  *store.DB
	app pgdb.App
}

func (b booked) bound(of []Binding) (map[Binding]bool, error) {
	bound := make(map[Binding]bool, len(of))
	for len(of) > 0 {
		var s [16]string
		for i := range s {
			s[i] = of[min(i, len(of)-1)].SellerID
		}
		of = of[min(len(s), len(of)):]
		if err := b.db.ReadOne(b.ctx, func(q *pgdb.Queries) error {
			rows, err := q.ListBoundOfSellers(b.ctx, pgdb.ListBoundOfSellersParams{AppID: b.app.AppID,
				Seller1: s[0], Seller2: s[1], Seller3: s[2], Seller4: s[3], Seller5: s[4], Seller6: s[5], Seller7: s[6], Seller8: s[7],
				Seller9: s[8], Seller10: s[9], Seller11: s[10], Seller12: s[11], Seller13: s[12], Seller14: s[13], Seller15: s[14], Seller16: s[15]})
			for _, r := range rows {
				bound[Binding{r.SellerID, money.Currency(r.Currency)}] = true
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return bound, nil
}

func (b booked) rows(first, last [16]byte, most int) (rows []Booked, more bool, err error) {
	var page []pgdb.PageBookedRowsRow
	for { // an item may have any number of rows
		if err := b.db.Read(b.ctx, func(q *pgdb.Queries) (err error) {
			page, err = q.PageBookedRows(b.ctx, pgdb.PageBookedRowsParams{App: b.app.ID, First: first[:], Last: last[:], Most: int32(most)})
			return err
		}); err != nil {
			return nil, false, err
		}
		if more = len(page) == most; !more {
			break
		}
		n := len(page)
		for n > 0 && bytes.Equal(page[n-1].ItemKey, page[most-1].ItemKey) {
			n--
		}
		if page = page[:n]; n > 0 {
			break
		}
		most *= 2
	}
	var no int64 // of the file that booked the last one of rows
	for _, r := range page {
		row := Booked{Item: [16]byte(r.ItemKey), At: r.At, Currency: money.Currency(r.Currency), Amount: r.Amount, Shipped: r.Shipped != 0,
			ShipDetail: r.ShipHash, FileRequestNo: r.RequestNo, Line: int(r.Line)}
		if n := len(rows) - 1; n >= 0 && rows[n].Item == row.Item && rows[n].At == row.At && rows[n].Amount < 0 == (row.Amount < 0) {
			if r.BookedNo > no { // it changed the shipping
				rows[n], no = row, r.BookedNo
			}
			continue
		}
		rows, no = append(rows, row), r.BookedNo
	}
	return rows, more, nil
}
