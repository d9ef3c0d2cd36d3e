//go:build linux

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestServerRestarts: a server that was restarted between calls costs none of them.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	readers := func() {
		t.Helper()
		var all, reading sync.WaitGroup
		reading.Add(readersMost)
		for range readersMost {
			all.Go(func() {
				if err := db.Read(t.Context(), func(q *pgdb.Queries) error {
					reading.Done()
					reading.Wait() // so that each has a connection of its own
					_, err := q.GetApp(t.Context(), "demo")
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for i, restart := range []func(){c.Restart, func() { c.Kill(); c.Restart() }} {
		readers()
		b.must(db, fmt.Sprint("before-", i))
		restart()
		readers()
		b.must(db, several(fmt.Sprint(i))...)
		restart()
		if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: "kind", Value: []byte{}})
		}}); err != nil {
			t.Error(err)
		}
		claim, ok, err := db.Claim(t.Context(), "name")
		if !ok || err != nil || !claim.Held(t.Context()) {
			t.Errorf("a claim: %v %v", ok, err)
		}
		restart()
		if claim.Held(t.Context()) {
			t.Error("the claim has outlived the server")
		}
		claim.Release()
		if claim, ok, err = db.Claim(t.Context(), "name"); !ok || err != nil {
			t.Errorf("the claim after a restart: %v %v", ok, err)
		}
		claim.Release()
		if err := db.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	b.side.Exec("SELECT 1") //nolint:errcheck // its connections are from before
	b.check()
}

// TestServerDiesDuringUnits: the server is killed again and again while callers repeat what they were not told to stand.
func TestServerDiesDuringUnits(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var stood atomic.Int64
	for caller := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				no := fmt.Sprintf("%d-%d-%s", caller, n, []string{"", "refused"}[n%2])
				for err := errors.New("not asked for"); err != nil; {
					if err = b.do(db, no)[0]; err != nil && !errors.Is(err, ErrDatabase) && !errors.Is(err, ErrUnknown) {
						t.Errorf("%s: %v", no, err)
						return
					}
				}
				stood.Add(1)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i, restart := range []func(){c.Restart, func() { c.Kill(); c.Restart() }, func() { c.Kill(); c.Restart() }} {
		had := stood.Load()
		storetest.Until(t, "units to stand", func() bool { return stood.Load() > had+20 })
		restart()
		if i == 2 {
			close(stop)
		}
	}
	callers.Wait()
	b.check()
}

// TestServerStandsStill: while the server's processes are stopped the callers wait; nothing happens twice afterwards.
func TestServerStandsStill(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	c.Pause()
	told := b.later(db, several("while")...)
	notYet(t, told, 4*time.Second)
	c.Resume()
	<-told
	b.must(db, several("while")...)
	b.check()
}

// TestReadOnly: a server that takes no changes is told apart at once, and so is the end of that; also by a node that has
// nothing to change.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c := storetest.Start(t, nil)
	db := open(t, c.URL("postgres"))
	b := newBooks(t, db, c.URL("postgres"))
	idle := open(t, c.URL("postgres"))
	idle.provenFor = 0
	for _, kind := range []string{"group", "alone"} {
		c.Exec("ALTER SYSTEM SET default_transaction_read_only = on")
		c.Exec("SELECT pg_reload_conf()")
		storetest.Until(t, "the setting", func() bool {
			var set string
			b.see("SHOW default_transaction_read_only", &set)
			return set == "on"
		})
		if kind == "group" {
			for i, err := range b.do(db, several("read-only")...) {
				if !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
					t.Errorf("unit %d: %v", i, err)
				}
			}
		} else if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: "kind", Value: []byte{}})
		}}); !errors.Is(err, ErrAbsent) {
			t.Error(err)
		}
		if db.Ready(t.Context()) == nil || idle.Ready(t.Context()) == nil {
			t.Error("ready, though it takes no changes")
		}
		b.check()
		c.Exec("ALTER SYSTEM RESET default_transaction_read_only")
		c.Exec("SELECT pg_reload_conf()")
		storetest.Until(t, "the nodes to be ready again", func() bool { return db.Ready(t.Context()) == nil && idle.Ready(t.Context()) == nil })
		b.must(db, several("read-write "+kind)...)
		b.check()
	}
	if _, err := Open(t.Context(), Config{Database: c.Standby(t).URL("postgres")}); err == nil {
		t.Error("a standby alone was taken for a database")
	}
}
