package trade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"

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
	Busy    func() bool  // says whether calls are under way or expected, which go first; may be nil
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
	var encodingName string
	if judged(f, err) {
		if contentID, encodingName, err = im.keep(ctx, path, size, digest); err != nil {
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
			SHA256: digest, Size: size, ReceivedAt: v.Now(), ContentID: contentID, Encoding: encodingName}
		v.Files.Put(next.ID, next)
		v.AddTask(FileQueue(appID), next.ID, v.Now())
		return nil
	}})
}

// keep copies an upload into the database, where every node reads it, and tells its encoding, for which all of it has to be
// seen.
func (im *Importer) keep(ctx context.Context, path string, size int64, digest string) (id int64, encodingName string, err error) {
	src, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer src.Close()
	guess := newGuesser()
	id, err = content.Write(ctx, im.DB, im.Keys, func(w io.Writer) error {
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum, guess), src)
		if err == nil && (n != size || hex.EncodeToString(sum.Sum(nil)) != digest) {
			err = errors.New("these are not the bytes that were uploaded: the disk is at fault; have it uploaded again under another requestNo")
		}
		return err
	})
	return id, guess.encoding().name, err
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
	if errors.Is(err, fs.ErrNotExist) {
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
	res, err := Check(reading, Settings{Zone: set.Location(), Encoding: f.Encoding, Rest: im.rest}, Known{Bound: books.bound, Booked: books.rows})
	if err != nil {
		return err
	}
	defer res.Close()
	if im.Metrics != nil {
		im.Metrics.judged.Add(float64(res.Total))
	}
	f.State, f.Encoding = outcome(res, set.AcceptPartial), res.Encoding()
	f.TotalRows, f.AcceptedRows, f.RejectedRows, f.FailReason = int64(res.Total), int64(res.Accepted), int64(res.Rejected), res.FailReason()
	if f.Broken, err = textOf(res.Broken); err != nil {
		return err
	}
	if len(res.Parts) == 1 {
		f.SellerID, f.Currency = res.Parts[0].SellerID, string(res.Parts[0].Currency)
	}
	if res.Rejected > 0 {
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
