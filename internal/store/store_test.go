package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

func open(t *testing.T, database string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func putSeller(id string) func(v *View) error {
	return func(v *View) error {
		v.Sellers.Put(SellerKey{"demo", id}, pgdb.Seller{ID: v.NextID(), AppID: "demo", SellerID: id, Status: "ACTIVE"})
		return nil
	}
}

func keysOf(ids ...string) Keys {
	var k Keys
	for _, id := range ids {
		k.Sellers = append(k.Sellers, SellerKey{"demo", id})
	}
	return k
}

func sellers(t *testing.T, db *DB) (ids []string) {
	t.Helper()
	if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
		rows, err := q.PageSellers(t.Context(), pgdb.PageSellersParams{Before: 1 << 62, Most: 1000})
		for _, r := range rows {
			ids = append([]string{r.SellerID}, ids...)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestUnitsFailAlone: in one group, a refusing, a panicking and a poisoned unit leave nothing, and the others are committed.
func TestUnitsFailAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		refused := errors.New("refused")
		for _, poison := range []bool{false, true} {
			name := func(s string) string { return fmt.Sprintf("%s-%v", s, poison) }
			units := []Unit{
				{Keys: keysOf(name("a")), Judge: putSeller(name("a"))},
				{Keys: keysOf(name("b")), Judge: func(v *View) error { return errors.Join(putSeller(name("b"))(v), refused) }},
				{Keys: keysOf(name("c")), Judge: func(v *View) error { putSeller(name("c"))(v); panic("no") }},
				{Keys: keysOf(name("d")), Judge: func(v *View) error { v.Sellers.Get(SellerKey{"demo", "not asked for"}); return nil }},
				{Keys: keysOf(name("e")), Judge: putSeller(name("e"))},
			}
			if poison { // the database refuses it: the whole group's transaction fails
				units[0].Judge = func(v *View) error {
					v.Post(pgdb.Posting{ID: 1, FromID: 1, FromNo: 1, ToID: 1, ToNo: 1})
					v.Post(pgdb.Posting{ID: 1, FromID: 1, FromNo: 1, ToID: 1, ToNo: 1})
					return putSeller(name("a"))(v)
				}
			}
			errs := db.DoAll(t.Context(), units)
			if (errs[0] != nil) != poison || !errors.Is(errs[1], refused) || errs[2] == nil || errs[3] == nil || errs[4] != nil {
				t.Errorf("poison %v: %v", poison, errs)
			}
			if poison && !errors.Is(errs[0], ErrDatabase) {
				t.Errorf("poisoned: %v", errs[0])
			}
		}
		if diff := cmp.Diff([]string{"a-false", "e-false", "e-true"}, sellers(t, db)); diff != "" {
			t.Errorf("sellers:\n%s", diff)
		}
	})
}

// TestNothingSentIsNotUnknown: a unit that leaves what cannot be saved fails with certainty, and the others of its group are
// committed, though they leave nothing by which their outcome could be looked up.
func TestNothingSentIsNotUnknown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		errs := db.DoAll(t.Context(), []Unit{
			{Keys: keysOf("a"), Judge: putSeller("a")},
			{Keys: Keys{Apps: []string{"demo"}}, Judge: func(v *View) error { v.Apps.Put("demo", pgdb.App{}); return nil }},
			{Keys: keysOf("b"), Judge: putSeller("b")},
		})
		if errs[0] != nil || errs[1] == nil || errors.Is(errs[1], ErrUnknown) || errs[2] != nil {
			t.Errorf("%v", errs)
		}
		if diff := cmp.Diff([]string{"a", "b"}, sellers(t, db)); diff != "" {
			t.Errorf("sellers:\n%s", diff)
		}
	})
}

// TestLaterUnitsSeeEarlierOnes: in a group, each unit sees what the ones before it left, and not what they dropped.
func TestLaterUnitsSeeEarlierOnes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		k := SellerKey{"demo", "S"}
		var saw []string
		var kept int64 // a task that a unit drops and, with everything else, takes back
		look := func(then func(v *View, s pgdb.Seller) error) Unit {
			return Unit{Keys: keysOf("S"), Judge: func(v *View) error {
				s, _ := v.Sellers.Get(k)
				saw = append(saw, s.Status)
				return then(v, s)
			}}
		}
		set := func(status string) func(*View, pgdb.Seller) error {
			return func(v *View, s pgdb.Seller) error {
				if s.ID == 0 {
					s = pgdb.Seller{ID: v.NextID(), AppID: "demo", SellerID: "S"}
				}
				s.Status = status
				v.Sellers.Put(k, s)
				return nil
			}
		}
		reset := func(v *View, s pgdb.Seller) error {
			if err := set("DROPPED")(v, s); err != nil {
				return err
			}
			v.AddTask("q", 1, 1)
			v.DropTask(kept)
			v.Post(pgdb.Posting{ID: v.NextID()})
			v.AddAttempt(pgdb.DeliveryAttempt{DeliveryID: 1})
			v.AddCall(pgdb.Call{ID: v.NextID()})
			v.Reset()
			return nil
		}
		if err := db.Do(t.Context(), Unit{Judge: func(v *View) error { v.AddTask("q", kept, 1); return nil }}); err != nil {
			t.Fatal(err)
		}
		if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
			tasks, err := q.ListDueTasks(t.Context(), pgdb.ListDueTasksParams{Queue: "q", Now: 1, Most: 9})
			kept = tasks[0].ID
			return err
		}); err != nil {
			t.Fatal(err)
		}
		db.DoAll(t.Context(), []Unit{look(set("ONE")), look(reset), look(set("TWO")), look(set("THREE"))})
		db.DoAll(t.Context(), []Unit{look(set("FOUR"))})
		if diff := cmp.Diff([]string{"", "ONE", "ONE", "TWO", "THREE"}, saw); diff != "" {
			t.Errorf("seen:\n%s", diff)
		}
		if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
			counts, err := q.VerifyCounts(t.Context())
			if err != nil {
				return err
			}
			tasks, err := q.ListDueTasks(t.Context(), pgdb.ListDueTasksParams{Queue: "q", Now: 1, Most: 9})
			if err != nil {
				return err
			}
			attempts, err := q.ListAttempts(t.Context(), 1)
			if err != nil {
				return err
			}
			calls, err := q.PageCalls(t.Context(), pgdb.PageCallsParams{Before: 1 << 62, Most: 9})
			if counts.Postings != 0 || len(tasks) != 1 || tasks[0].ID != kept || len(attempts) != 0 || len(calls) != 0 {
				t.Errorf("a unit that was reset left %d postings, tasks %v, %d attempts and %d calls", counts.Postings, tasks, len(attempts), len(calls))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAloneIsOneTransaction: plain queries of a unit that fails are gone as well.
func TestAloneIsOneTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		boom := errors.New("boom")
		insert := func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "a", Settings: "{}"})
		}
		if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return errors.Join(insert(ctx, v, q), boom)
		}}); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		err := db.Read(t.Context(), func(q *pgdb.Queries) error { _, err := q.GetApp(t.Context(), "a"); return err })
		if !NotFound(err) {
			t.Errorf("the app of a failed unit: %v", err)
		}
		if err := db.Do(t.Context(), Unit{Alone: insert}); err != nil {
			t.Error(err)
		}
	})
}

// TestCancelledReadsBreakNothing: readers whose callers go away in the middle serve the next ones.
func TestCancelledReadsBreakNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		var all sync.WaitGroup
		for i := range 400 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
				defer cancel()
				_ = db.Read(ctx, func(q *pgdb.Queries) error { _, err := q.VerifyCounts(ctx); return err })
			})
		}
		all.Wait()
		for range 2 * readersMost {
			if err := db.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestPanickingReadsBreakNothing: a reader that panics gives its connection back.
func TestPanickingReadsBreakNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for range 2 * readersMost {
			func() {
				defer func() { recover() }()
				_ = db.Read(ctx, func(q *pgdb.Queries) error {
					if _, err := q.VerifyCounts(ctx); err != nil {
						return err
					}
					panic("no")
				})
			}()
			if err := db.Ready(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestOneProcessWrites: a second one is told so, until the first has closed.
func TestOneProcessWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	first, err := Open(t.Context(), Config{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Database: path}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Config{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db, err := Open(t.Context(), Config{Database: engine.New(t)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Do(t.Context(), Unit{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a unit: %v", err)
		}
		if err := db.Ready(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("a read: %v", err)
		}
	})
}

// TestOverflowIsRefused: without STRICT, SQLite would turn a balance that overflows into a float.
func TestOverflowIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		db := open(t, engine.New(t))
		if err := db.Do(t.Context(), Unit{Judge: func(v *View) error {
			v.Accounts.Put(AccountKey{}, pgdb.Account{ID: 1, Balance: 1<<63 - 1})
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, _ *View, _ *pgdb.Queries) (err error) {
			const add = "UPDATE account SET balance = balance + 1"
			if s, ok := db.engine.(*sqlite); ok {
				_, err = s.writer.ExecContext(ctx, add)
			} else {
				_, err = db.engine.(*postgres).conn.Exec(ctx, add)
			}
			return err
		}})
		if err == nil {
			t.Error("a balance has overflown")
		}
	})
}

func TestIDsAreNeverDrawnTwice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		seen, database := map[int64]bool{}, engine.New(t)
		for range 3 {
			db, err := Open(t.Context(), Config{Database: database})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				var ids []int64
				if err := db.Do(t.Context(), Unit{IDs: 50, Judge: func(v *View) error {
					for range 50 {
						ids = append(ids, v.NextID())
					}
					return nil
				}}); err != nil {
					t.Fatal(err)
				}
				for _, id := range ids {
					if seen[id] {
						t.Fatalf("id %d was drawn before", id)
					}
					seen[id] = true
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestDay(t *testing.T) {
	for _, c := range []struct {
		zone, at string
		want     int64
	}{
		{"", "1970-01-01T00:00:01Z", 0},
		{"", "1970-01-01T15:59:59Z", 0},
		{"", "1970-01-01T16:00:00Z", 1}, // midnight in +08:00
		{"-05:00", "1970-01-01T04:59:59Z", -1},
		{"Europe/Berlin", "2026-03-28T22:59:59Z", 20540},
		{"Europe/Berlin", "2026-03-28T23:00:00Z", 20541},
		{"Europe/Berlin", "2026-03-29T21:59:59Z", 20541}, // a day of 23 hours
		{"Europe/Berlin", "2026-03-29T22:00:00Z", 20542},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Settings{Zone: c.zone}).Day(at.UnixMilli()); got != c.want {
			t.Errorf("%s in %q: day %d, want %d", c.at, c.zone, got, c.want)
		}
	}
	for _, zone := range []string{"Local", "Mars/Olympus", "+8"} {
		if _, err := SettingsOf(pgdb.App{Settings: `{"zone":"` + zone + `"}`}); err == nil {
			t.Errorf("zone %q was taken", zone)
		}
	}
}
