package trade

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// rowsPerUnit is how many rows are written at once. On SQLite that keeps the one writer free for calls between the pieces of
// a file; PostgreSQL has writers beside it.
func (im *Importer) rowsPerUnit() (rows, writers int) {
	if im.DB.Shared() {
		return 4000, 2
	}
	return sqliteRowsPerUnit, 1
}

const (
	sqliteRowsPerUnit = 500
	rowsBesideCalls   = 1000 // at most, while calls are under way: of PostgreSQL's writers they feel every piece
)

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
				if err = guard(func() error { return im.DB.WriteTradeRows(ctx, runID, rows) }); err != nil {
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
			if n := len(piece); n == most || n%rowsBesideCalls == 0 && im.busy() {
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
