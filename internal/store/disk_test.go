//go:build linux

package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/openinfinia/infinia/internal/storetest"
)

// TestDiskIsFull: a unit for which there is no room fails, with its group, and leaves nothing. When there is room again the
// database works as before.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (*storetest.Disk, *DB, string){
		"sqlite": func(t *testing.T) (*storetest.Disk, *DB, string) {
			d := storetest.NewDisk(t, 4)
			database := filepath.Join(d.Dir, "infinia.db")
			return d, open(t, database), database
		},
		"postgres": func(t *testing.T) (*storetest.Disk, *DB, string) {
			d := storetest.NewDisk(t, 100)
			c := storetest.StartIn(t, d, nil)
			return d, open(t, c.URL("postgres")), c.URL("postgres")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, db, database := start(t)
			b := newBooks(t, db, database)
			for round := range 3 {
				b.must(db, several(fmt.Sprint(round))...)
				d.Fill()
				var last string
				storetest.Until(t, "the disk to be too small", func() bool { // files have some room left within them
					last = fmt.Sprintf("%d %d", round, len(b.stands))
					errs := b.do(db, several(last)...)
					for i, err := range errs {
						if err != nil && !errors.Is(err, ErrAbsent) && i != 3 || errors.Is(err, ErrUnknown) {
							t.Fatalf("unit %d: %v", i, err)
						}
					}
					return errs[0] != nil
				})
				if db.Ready(t.Context()) == nil {
					t.Error("ready on a full disk")
				}
				b.check()
				d.Free()
				storetest.Until(t, "the database to be ready", func() bool { return db.Ready(t.Context()) == nil })
				b.must(db, several(last)...)
				b.check()
			}
		})
	}
}

// TestNoRoomForTheLog: PostgreSQL ends itself when it cannot write its log. Nobody is told that anything stands that does
// not, and it goes on where it was.
func TestNoRoomForTheLog(t *testing.T) {
	t.Parallel()
	d := storetest.NewDisk(t, 100)
	c := storetest.StartIn(t, d, nil)
	db := open(t, c.URL("postgres"))
	db.lookUpMost = 1 // the server does not come back by itself
	b := newBooks(t, db, c.URL("postgres"))
	b.must(db, several("before")...)
	d.Fill()
	b.side.Exec("SELECT pg_switch_wal()") //nolint:errcheck // the next file cannot be made
	var open []string
	storetest.Until(t, "the server to end", func() bool {
		no := fmt.Sprint(len(b.stands))
		err := b.do(db, no)[0]
		if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrDatabase) {
			t.Fatal(err)
		}
		if errors.Is(err, ErrUnknown) {
			open = append(open, no)
		}
		return err != nil
	})
	storetest.Until(t, "the node to be not ready", func() bool { return db.Ready(t.Context()) != nil })
	d.Free()
	c.Kill() // it may be ending, or starting in vain
	c.Restart()
	storetest.Until(t, "the database to be ready", func() bool { return db.Ready(t.Context()) == nil })
	b.check(open...)
	b.must(db, append(open, several("after")...)...)
	b.check()
}
