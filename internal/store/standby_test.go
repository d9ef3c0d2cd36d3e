//go:build linux

package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// waiter returns the backend that waits for the standby, and since when.
func (b *books) waiter(unlike string) (pid int, since string) {
	b.Helper()
	storetest.Until(b.T, "a commit to wait for the standby", func() bool {
		rows, err := b.side.QueryContext(b.Context(), "SELECT pid, pid || ' ' || query_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&pid, &since); err != nil {
				b.Fatal(err)
			}
		}
		return since != "" && since != unlike
	})
	return pid, since
}

// TestStandbyIsGone: no answer leaves before the standby has what it tells of, whatever the waiting backend goes through.
func TestStandbyIsGone(t *testing.T) {
	t.Parallel()
	primary := storetest.Start(t, nil)
	standby := primary.Standby(t)
	p, through := storetest.StartProxy(t, primary.URL("postgres"))
	db := open(t, through)
	b := newBooks(t, db, primary.URL("postgres"))
	act := func() error { // of an operator: it belongs to no app whose lock would wait
		return db.Do(t.Context(), Unit{Name: "audit", Keys: Keys{Audits: []string{"A"}}, Judge: func(v *View) error {
			if _, ok := v.Audits.Get("A"); !ok {
				v.Audits.Put("A", pgdb.Audit{ID: v.NextID(), Reference: "A", ContentHash: []byte{}})
			}
			return nil
		}})
	}
	ask := map[string]func() <-chan []error{
		"one":   func() <-chan []error { return b.later(db, "one") },
		"group": func() <-chan []error { return b.later(db, several("group")...) },
		"audit": func() <-chan []error {
			told := make(chan []error, 1)
			go func() { told <- []error{act()} }()
			return told
		},
	}
	for _, name := range []string{"one", "group", "audit"} {
		standby.Stop()
		told := ask[name]()
		pid, since := b.waiter("")
		for _, end := range []string{"pg_cancel_backend", "pg_terminate_backend", "", "pg_cancel_backend"} {
			notYet(t, told, 0)
			if end == "" {
				p.Cut() // the driver has the server give up waiting
			} else {
				var ok bool
				b.see(fmt.Sprintf("SELECT %s(%d)", end, pid), &ok)
			}
			pid, since = b.waiter(since) // it has looked up what became of it, and waits that this be so on the standby too
		}
		notYet(t, told, 500*time.Millisecond)
		standby.Restart()
		for i, err := range <-told {
			if err != nil && (name != "group" || i != 3) {
				t.Errorf("%s: unit %d: %v", name, i, err)
			}
		}
		b.check()
	}
	var acts int
	if b.see("SELECT count(*) FROM audit", &acts); acts != 1 {
		t.Errorf("%d acts", acts)
	}
}

// TestStandbyStaysAway: callers are not kept for ever, and are not told that anything stands.
func TestStandbyStaysAway(t *testing.T) {
	t.Parallel()
	primary := storetest.Start(t, nil)
	standby := primary.Standby(t)
	db := open(t, primary.URL("postgres"))
	db.patience = 3 * time.Second
	b := newBooks(t, db, primary.URL("postgres"))
	standby.Stop()
	begun := b.later(db, "begun")
	b.waiter("")
	if err := b.do(db, "waiting")[0]; !errors.Is(err, ErrBusy) {
		t.Errorf("who waits behind it is told %v", err)
	}
	if err := (<-begun)[0]; !errors.Is(err, ErrUnknown) {
		t.Errorf("who waits for the commit is told %v", err)
	}
	storetest.Until(t, "the node to be not ready", func() bool { return db.Ready(t.Context()) != nil })
	standby.Restart()
	storetest.Until(t, "the node to be ready again", func() bool { return db.Ready(t.Context()) == nil })
	b.must(db, "begun", "waiting")
	if b.again.Load() != 1 {
		t.Error("the unit that had begun does not stand")
	}
	b.check()
}
