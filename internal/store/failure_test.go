//go:build linux

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestConnectionIsCut: wherever the connection breaks, and however many units it carries, each has acted exactly once when
// Do says so, and nobody is told of the break.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	db := open(t, through)
	b := newBooks(t, db, database)
	for _, statement := range []string{"BEGIN", "COMMIT"} {
		for name, h := range map[string]storetest.Harm{"before": storetest.CutBefore, "after": storetest.CutAfter} {
			for _, fresh := range []bool{false, true} {
				if fresh && statement == "BEGIN" {
					continue // see TestNothingBegins
				}
				for size, nos := range map[string][]string{"one": {"only"}, "group": several("of")} {
					t.Run(fmt.Sprintf("%s %s fresh=%v %s", statement, name, fresh, size), func(t *testing.T) {
						for i, no := range nos {
							nos[i] = strings.ReplaceAll(t.Name(), "/", " ") + " " + no
						}
						b.T = t
						if fresh {
							p.Cut() // the connection is made anew for this group
						} else {
							b.must(db, "warm "+nos[0])
						}
						met := p.HarmNext(statement, h)
						b.must(db, nos...)
						select {
						case <-met:
						default:
							t.Error("nothing was cut")
						}
						b.check()
						before := b.again.Load()
						b.must(db, nos...)
						if again, want := b.again.Load()-before, int64(len(nos)-countFails(nos)); again != want {
							t.Errorf("%d units found that they had acted, want %d", again, want)
						}
						b.check()
					})
				}
			}
		}
	}
}

// TestNothingBegins: where not even a new connection lasts until the group has begun, its units certainly have not acted.
func TestNothingBegins(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	b := newBooks(t, open(t, through), database)
	for name, h := range map[string]storetest.Harm{"before": storetest.CutBefore, "after": storetest.CutAfter} {
		db := open(t, through) // it has nothing that it could judge ahead
		p.HarmNext("BEGIN", h)
		for i, err := range b.do(db, several(name)...) {
			if !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
				t.Errorf("unit %d: %v", i, err)
			}
		}
		b.check()
		b.must(db, several(name)...)
		b.check()
	}
}

// TestNothingGetsThrough: while the network hangs the callers wait, and what they asked for happens once when it goes on.
func TestNothingGetsThrough(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	p, through := storetest.StartProxy(t, database)
	db := open(t, through)
	b := newBooks(t, db, database)
	for _, statement := range []string{"BEGIN", "COMMIT"} {
		met := p.HarmNext(statement, storetest.Hang)
		told := b.later(db, several(statement)...)
		<-met
		notYet(t, told, time.Second)
		p.Resume()
		<-told
		b.must(db, several(statement)...)
		b.check()
	}
}

// TestOutcomeStaysUnknown: where it cannot be found out what became of a commit, those who asked are told so, also those who
// wait behind it; who asks again finds out.
func TestOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]storetest.Harm{"lost": storetest.CutBefore, "committed": storetest.CutAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := storetest.Postgres.New(t)
			p, through := storetest.StartProxy(t, database)
			db := open(t, through)
			db.lookUpMost = time.Second
			b := newBooks(t, db, database)
			p.Refuse(true) // the connection that it has is the last
			p.HarmNext("COMMIT", h)
			told := b.later(db, "first", "refused")
			for _, err := range <-told {
				if !errors.Is(err, ErrUnknown) {
					t.Errorf("told %v", err)
				}
			}
			if err := b.do(db, "next")[0]; !errors.Is(err, ErrDatabase) || !errors.Is(err, ErrAbsent) || errors.Is(err, ErrUnknown) {
				t.Errorf("the next unit: %v", err)
			}
			if err := db.Ready(t.Context()); !errors.Is(err, ErrAbsent) {
				t.Errorf("without a database it is ready: %v", err)
			}
			b.check("first", "refused")
			p.Refuse(false)
			storetest.Until(t, "the database to be ready", func() bool { return db.Ready(t.Context()) == nil })
			b.must(db, "first", "refused", "next")
			if got, want := b.again.Load(), map[storetest.Harm]int64{storetest.CutBefore: 0, storetest.CutAfter: 2}[h]; got != want {
				t.Errorf("%d units found that they had acted, want %d", got, want)
			}
			b.check()
		})
	}
}

// TestMissingSocketIsNoMissingFile: who looks for a file in the database may not take it for an answer.
func TestMissingSocketIsNoMissingFile(t *testing.T) {
	proxy, through := storetest.StartSocketProxy(t, storetest.Postgres.New(t))
	db := open(t, through)
	proxy.Close()
	read := db.Read(t.Context(), func(q *pgdb.Queries) error { _, err := q.GetApp(t.Context(), "demo"); return err })
	_, _, claimed := db.Claim(t.Context(), "queue")
	for what, err := range map[string]error{"read": read, "claim": claimed, "change": db.Do(t.Context(), Unit{Judge: func(*View) error { return nil }})} {
		if !errors.Is(err, ErrDatabase) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
