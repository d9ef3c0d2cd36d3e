package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestLargeUnit: a unit whose rows are sent in several pieces is committed whole, and not at all when its last row is refused.
func TestLargeUnit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		const many = 20_000 // more than are sent at once, twice
		sellers := func() (n int) {
			if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
				rows, err := q.PageSellers(t.Context(), pgdb.PageSellersParams{Before: 1<<63 - 1, Most: 1<<31 - 1})
				n = len(rows)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		add := func(from int, last string) error {
			u := Unit{Name: "sellers", IDs: many + 1, Keys: Keys{Apps: []string{"demo"}}, Judge: func(v *View) error {
				for i := range many {
					k := SellerKey{"demo", fmt.Sprintf("S-%06d", from+i)}
					v.Sellers.Put(k, pgdb.Seller{ID: v.NextID(), AppID: k.AppID, SellerID: k.SellerID})
				}
				k := SellerKey{"demo", last}
				v.Sellers.Put(k, pgdb.Seller{ID: v.NextID(), AppID: k.AppID, SellerID: k.SellerID})
				return nil
			}}
			return db.Do(t.Context(), u)
		}
		if err := add(0, "the last"); err != nil {
			t.Fatal(err)
		}
		if n := sellers(); n != many+1 {
			t.Errorf("%d sellers are there", n)
		}
		// An act beside the books: nothing of the app is carried on, and the next unit takes the seller for a new one.
		if err := db.Do(t.Context(), Unit{Keys: Keys{Apps: []string{"demo"}}, Alone: func(context.Context, *View, *pgdb.Queries) error { return nil }}); err != nil {
			t.Fatal(err)
		}
		if err := add(many, "the last"); err == nil {
			t.Error("a key was taken twice")
		}
		if n := sellers(); n != many+1 {
			t.Errorf("%d sellers are there after a unit that failed", n)
		}
		if err := add(many, "another"); err != nil {
			t.Errorf("and the next one: %v", err)
		}
	})
}

// TestWriteTradeRows: a piece of a run is written and counted, or neither.
func TestWriteTradeRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		const run = 7
		alone := func(fn func(ctx context.Context, q *pgdb.Queries) error) error {
			return db.Do(t.Context(), Unit{Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error { return fn(ctx, q) }})
		}
		if err := alone(func(ctx context.Context, q *pgdb.Queries) error {
			return q.InsertTradeRun(ctx, pgdb.InsertTradeRunParams{ID: run, App: 1})
		}); err != nil {
			t.Fatal(err)
		}
		rows := func(from, to byte) (rows []pgdb.TradeRow) {
			for i := from; i < to; i++ {
				rows = append(rows, pgdb.TradeRow{App: 1, ItemKey: append(make([]byte, 15), i), RunID: run, Amount: 1})
			}
			return rows
		}
		if err := db.WriteTradeRows(t.Context(), run, rows(0, 100)); err != nil {
			t.Fatal(err)
		}
		if err := db.WriteTradeRows(t.Context(), run, rows(99, 150)); err == nil {
			t.Error("a row was written twice")
		}
		var there []pgdb.PageItemsOfAppRow
		if err := db.Read(t.Context(), func(q *pgdb.Queries) (err error) {
			there, err = q.PageItemsOfApp(t.Context(), pgdb.PageItemsOfAppParams{App: 1, First: make([]byte, 16), Most: 1000})
			return err
		}); err != nil || len(there) != 100 {
			t.Errorf("%d rows are there, %v", len(there), err)
		}
		take := func(count int64) error {
			return alone(func(ctx context.Context, q *pgdb.Queries) error {
				_, err := q.TakeTradeRun(ctx, pgdb.TakeTradeRunParams{ID: run, RowCount: count})
				return err
			})
		}
		if err := take(99); !NotFound(err) {
			t.Errorf("a run was taken that has another number of rows: %v", err)
		}
		if err := take(100); err != nil {
			t.Error(err)
		}
	})
}
