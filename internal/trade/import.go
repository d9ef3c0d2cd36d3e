package trade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"

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
	DB *store.DB
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
	return content.Write(ctx, im.DB, func(w io.Writer) error {
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
	src, err := content.Open(ctx, im.DB, f.ContentID)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrDatabase) { // whose faults tell of missing files too
		// An earlier version kept it in the data folder. No later try would find it.
		return im.fail(ctx, t, app, set, f, &Result{}, "file: its upload is not there any more; upload it again under another requestNo")
	}
	if err != nil {
		return err
	}
	books := newBooked(ctx, im.DB, app)
	res, err := Check(src, Settings{Zone: set.Location()}, Known{Bound: books.bound, Prior: books.prior, Items: books.items})
	if err != nil {
		return err
	}
	f.State = outcome(res, set.AcceptPartial)
	f.TotalRows, f.AcceptedRows, f.RejectedRows, f.FailReason = int64(res.Total), int64(res.Accepted), int64(res.Rejected), res.FailReason()
	if f.State == fileFailed {
		res.Rows, f.AcceptedRows = nil, 0
	} else if f.Warnings, err = warningsText(res); err != nil { // the error file of a failed one has them
		return err
	}
	if len(res.Parts) == 1 {
		f.SellerID, f.Currency = res.Parts[0].SellerID, string(res.Parts[0].Currency)
	}
	if res.Rejected > 0 || len(res.FileProblems) > 0 {
		// All rows where one bad row refuses the file, else the rejected ones. The switch tells of it.
		if f.ErrorsID, err = content.Write(ctx, im.DB, func(w io.Writer) error { return WriteErrorFile(w, src, res, f.State == fileFailed) }); err != nil {
			return err
		}
	}
	if err := im.writeRows(ctx, app, f, res.Rows); err != nil {
		return err
	}
	changes, err := books.changes(res.Rows)
	if err == nil {
		err = im.finish(ctx, t, app, set, f, res, changes)
	}
	if !errors.Is(err, money.ErrOverflow) {
		return err
	}
	// No row is wrong by itself, but together they are more than an account can hold. Nothing was booked.
	return im.fail(ctx, t, app, set, f, res, "file: the amounts of one seller and currency sum to more than can be booked; check them, they are beyond 92 quadrillion minor units")
}

// fail ends a file for a reason that is not in its rows.
func (im *Importer) fail(ctx context.Context, t pgdb.Task, app pgdb.App, set store.Settings, f pgdb.TradeFile, res *Result, reason string) error {
	f.State, f.AcceptedRows, f.Warnings, res.Rows = fileFailed, 0, "", nil
	f.FailReason = reason
	if err := im.clearRows(ctx, f); err != nil {
		return err
	}
	return im.finish(ctx, t, app, set, f, res, nil)
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

// rowsPerUnit keeps the writer free for calls between the pieces of a file.
const rowsPerUnit = 200

// writeRows writes the new rows under their file's id, sorted by key, after what an earlier run may have left.
func (im *Importer) writeRows(ctx context.Context, app pgdb.App, f pgdb.TradeFile, rows []Row) error {
	if err := im.clearRows(ctx, f); err != nil {
		return err
	}
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Update })
	slices.SortFunc(rows, func(a, b Row) int { return slices.Compare(a.Key[:], b.Key[:]) })
	for chunk := range slices.Chunk(rows, rowsPerUnit) {
		if err := im.alone(ctx, "trade rows", f, func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			if err := inProcess(v, f.ID); err != nil {
				return err
			}
			for _, r := range chunk {
				if err := q.InsertTradeRow(ctx, pgdb.InsertTradeRowParams{App: app.ID, RowKey: r.Key[:], FileID: f.ID, ItemKey: r.Item[:],
					SellerID: r.SellerID, Currency: string(r.Currency), Amount: r.Amount, At: r.At, Shipped: asInt(r.Shipped),
					ShipHash: r.ShipDetail, Line: int64(r.Line), RowOffset: r.Offset, RowLength: int64(r.Length)}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (im *Importer) clearRows(ctx context.Context, f pgdb.TradeFile) error {
	return im.alone(ctx, "clear rows", f, func(ctx context.Context, _ *store.View, q *pgdb.Queries) error { return q.DeleteRowsOfFile(ctx, f.ID) })
}

// alone runs a piece of a file's import. It names the app, as every unit does that changes what the app has filed: should two
// nodes work on one file, their pieces follow each other, and the switch finds out.
func (im *Importer) alone(ctx context.Context, name string, f pgdb.TradeFile, fn func(context.Context, *store.View, *pgdb.Queries) error) error {
	return im.DB.Do(ctx, store.Unit{Name: name, Keys: store.Keys{Apps: []string{f.AppID}, Files: []int64{f.ID}}, Alone: fn})
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

// finish is the switch: in one unit the file gets its state, its rows begin to count, and the books learn what each seller
// has filed.
func (im *Importer) finish(ctx context.Context, t pgdb.Task, app pgdb.App, set store.Settings, f pgdb.TradeFile, res *Result, changes map[binding]filed) error {
	fresh := 0
	for _, r := range res.Rows {
		if !r.Update {
			fresh++
		}
	}
	order := slices.SortedFunc(maps.Keys(changes), compareBindings)
	keys := store.Keys{Apps: []string{f.AppID}, Files: []int64{f.ID}}
	for _, b := range order {
		for _, kind := range []string{ledger.Evidence, ledger.FiledShipped, ledger.FiledUnshipped} {
			keys.Accounts = append(keys.Accounts, ledger.SellerAccount(f.AppID, kind, b.seller, string(b.currency)))
		}
	}
	return im.DB.Do(ctx, store.Unit{
		Name: "trade file", Keys: keys, IDs: 10 + 5*len(order),
		Judge: func(v *store.View) error {
			if err := inProcess(v, f.ID); err != nil {
				return err
			}
			v.DropTask(t.ID)
			f.FinishedAt = v.Now()
			v.Files.Put(f.ID, f)
			v.AddTask(ResultQueue(f.AppID), f.ID, v.Now())
			for _, b := range order {
				if err := changes[b].post(v, f, b); err != nil {
					return err
				}
			}
			return outbox.Notify(v, set, outbox.Event{AppID: f.AppID, SellerID: f.SellerID, Event: outbox.EventFile,
				Content: map[string]string{"fileRequestNo": f.RequestNo, "status": f.State, "attempt": strconv.FormatInt(f.Attempt, 10)}})
		},
		Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			// What begins to count is what was accepted, or nothing does: another run may have cleared rows or left some.
			n, err := q.CountRowsOfFile(ctx, f.ID)
			if err != nil {
				return err
			}
			if n != int64(fresh) {
				return fmt.Errorf("%d rows are there, %d were accepted: another run is at work on it; it is judged again", n, fresh)
			}
			if f.ErrorsID != 0 {
				if err := content.Refer(ctx, q, f.ErrorsID); err != nil {
					return err
				}
			}
			for _, p := range res.Parts {
				accepted := p.Accepted
				if f.State == fileFailed {
					accepted = 0
				}
				if err := q.InsertTradePart(ctx, pgdb.InsertTradePartParams{FileID: f.ID, SellerID: p.SellerID, Currency: string(p.Currency),
					TotalRows: int64(p.Total), AcceptedRows: int64(accepted), RejectedRows: int64(p.Total - p.Accepted)}); err != nil {
					return err
				}
			}
			for _, r := range res.Rows {
				if !r.Update {
					continue
				}
				if err := q.UpdateBookedRow(ctx, pgdb.UpdateBookedRowParams{App: app.ID, RowKey: r.Key[:], Shipped: asInt(r.Shipped), ShipHash: r.ShipDetail}); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// filed is by how much a file changes what a seller has filed, in minor units.
type filed struct{ shipped, unshipped int64 }

func (d filed) post(v *store.View, f pgdb.TradeFile, b binding) error {
	evidence := ledger.SellerAccount(f.AppID, ledger.Evidence, b.seller, string(b.currency))
	for _, side := range []struct {
		kind   string
		amount int64
	}{{ledger.FiledShipped, d.shipped}, {ledger.FiledUnshipped, d.unshipped}} {
		account := ledger.SellerAccount(f.AppID, side.kind, b.seller, string(b.currency))
		var err error
		switch {
		case side.amount > 0:
			err = ledger.Post(v, ledger.ForTrade, f.ID, evidence, account, side.amount)
		case side.amount < 0:
			err = ledger.Post(v, ledger.ForTrade, f.ID, account, evidence, -side.amount)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrorFile opens the error file of one attempt; its error is fs.ErrNotExist when there is none.
func (im *Importer) ErrorFile(ctx context.Context, f pgdb.TradeFile) (*io.SectionReader, error) {
	return content.Open(ctx, im.DB, f.ErrorsID)
}

// compareBindings orders by seller, then currency: the order in which accounts are locked and posted.
func compareBindings(a, b binding) int {
	return slices.Compare([]string{a.seller, string(a.currency)}, []string{b.seller, string(b.currency)})
}

// booked answers the checker's questions from the database, and keeps what it was told for the change of the books.
type booked struct {
	ctx   context.Context
	db    *store.DB
	app   pgdb.App
	known map[[16]byte]itemBooks
	rows  map[[16]byte]Prior
}

// itemBooks is what is booked for one seller, order and sku, in minor units.
type itemBooks struct {
	shipped, unshipped, returns int64
}

// net takes returns off shipped sales first, then off unshipped ones.
func (b itemBooks) net() filed {
	shipped := b.shipped - b.returns
	if shipped >= 0 {
		return filed{shipped, b.unshipped}
	}
	return filed{0, b.unshipped + shipped}
}

func newBooked(ctx context.Context, db *store.DB, app pgdb.App) *booked {
	return &booked{ctx: ctx, db: db, app: app, known: map[[16]byte]itemBooks{}, rows: map[[16]byte]Prior{}}
}

// EverBound says whether a binding in the currency is or once was successful.
func EverBound(bindings []pgdb.Binding, currency string) bool {
	return slices.ContainsFunc(bindings, func(b pgdb.Binding) bool { return b.Currency == currency && b.BoundAt > 0 })
}

func (b *booked) bound(sellerID string, currency money.Currency) (bool, error) {
	var bindings []pgdb.Binding
	err := b.db.Read(b.ctx, func(q *pgdb.Queries) (err error) {
		bindings, err = q.ListBindingsOfSeller(b.ctx, pgdb.ListBindingsOfSellerParams{AppID: b.app.AppID, SellerID: sellerID})
		return err
	})
	return EverBound(bindings, string(currency)), err
}

func (b *booked) prior(keys [][16]byte) (map[[16]byte]Prior, error) {
	found := map[[16]byte]Prior{}
	err := b.each(keys, func(q *pgdb.Queries, keys [][16]byte) error {
		for _, k := range keys {
			r, err := q.FindBookedRow(b.ctx, pgdb.FindBookedRowParams{App: b.app.ID, RowKey: k[:]})
			if store.NotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			found[k] = Prior{Currency: money.Currency(r.Currency), Amount: r.Amount, Shipped: r.Shipped != 0, ShipDetail: r.ShipHash,
				FileRequestNo: r.FileRequestNo, Line: int(r.Line)}
			b.rows[k] = found[k]
		}
		return nil
	})
	return found, err
}

func (b *booked) items(items [][16]byte) (map[[16]byte]ItemSum, error) {
	found := map[[16]byte]ItemSum{}
	err := b.each(items, func(q *pgdb.Queries, items [][16]byte) error {
		for _, item := range items {
			rows, err := q.ListBookedRowsOfItem(b.ctx, pgdb.ListBookedRowsOfItemParams{App: b.app.ID, ItemKey: item[:]})
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				continue
			}
			var books itemBooks
			for _, r := range rows {
				if err := books.add(r.Amount, r.Shipped != 0); err != nil {
					return err
				}
			}
			b.known[item] = books
			found[item] = ItemSum{Currency: money.Currency(rows[0].Currency), Sales: books.shipped + books.unshipped, Returns: books.returns}
		}
		return nil
	})
	return found, err
}

// each asks in short snapshots, so that readers stay free for calls. What is booked does not change in between: an app's
// files are judged one at a time.
func (b *booked) each(keys [][16]byte, ask func(q *pgdb.Queries, keys [][16]byte) error) error {
	for chunk := range slices.Chunk(keys, 100) {
		if err := b.db.Read(b.ctx, func(q *pgdb.Queries) error { return ask(q, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *itemBooks) add(amount int64, shipped bool) (err error) {
	switch {
	case amount < 0:
		b.returns, err = money.Sub(b.returns, amount)
	case shipped:
		b.shipped, err = money.Add(b.shipped, amount)
	default:
		b.unshipped, err = money.Add(b.unshipped, amount)
	}
	return err
}

// changes is what the accepted rows change for each seller and currency.
func (b *booked) changes(rows []Row) (map[binding]filed, error) {
	after := map[[16]byte]itemBooks{}
	owner := map[[16]byte]binding{}
	for _, r := range rows {
		books, ok := after[r.Item]
		if !ok {
			books = b.known[r.Item]
		}
		if r.Update {
			if prior := b.rows[r.Key]; r.Shipped && !prior.Shipped {
				books.unshipped -= r.Amount
				books.shipped += r.Amount
			}
		} else if err := books.add(r.Amount, r.Shipped); err != nil {
			return nil, err
		}
		after[r.Item] = books
		owner[r.Item] = binding{r.SellerID, r.Currency}
	}
	sums := map[binding]filed{}
	for item, books := range after {
		was, is, sum := b.known[item].net(), books.net(), sums[owner[item]]
		var err error
		if sum.shipped, err = money.Add(sum.shipped, is.shipped-was.shipped); err != nil {
			return nil, err
		}
		if sum.unshipped, err = money.Add(sum.unshipped, is.unshipped-was.unshipped); err != nil {
			return nil, err
		}
		sums[owner[item]] = sum
	}
	return sums, nil
}
