package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"

	"modernc.org/sqlite"

	"github.com/openinfinia/infinia/internal/store"
)

// sqliteBooks is a file. SQLite has one writer, so that all nodes share what the first one has opened.
type sqliteBooks struct {
	path   string // relative to the working directory, so that no row names a machine
	opened int
	db     *store.DB // nil while none is open
}

func newSQLite() (*sqliteBooks, error) {
	b := &sqliteBooks{path: filepath.Join("books", "books.db")}
	return b, os.Mkdir("books", 0o700)
}

func (b *sqliteBooks) open(ctx context.Context, _ int, cfg store.Config) (db *store.DB, err error) {
	if b.db == nil {
		cfg.Database = b.path
		b.opened++
		b.db, err = store.Open(ctx, cfg)
	}
	return b.db, err
}

func (b *sqliteBooks) stop() error {
	db := b.db
	b.db = nil
	return db.Close()
}

// kill ends one node: what it has opened, the others have too.
func (b *sqliteBooks) kill(int) error { return nil }

// killedMost is how large a database may be to be copied for a crash.
const killedMost = 24 << 20

func (b *sqliteBooks) mayBeKilled() bool {
	var size int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(b.path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size <= killedMost
}

// killAll ends all nodes as power does: the files are taken as they lie there, without a close, and are the database of
// those that start anew.
func (b *sqliteBooks) killAll() error { return b.copyAway(func(log []byte) []byte { return log }) }

// copyAway has the files continue elsewhere, the log as tear leaves it.
func (b *sqliteBooks) copyAway(tear func(log []byte) []byte) error {
	was := b.path
	b.path = filepath.Join(fmt.Sprintf("books-%d", b.opened), "books.db")
	if err := os.MkdirAll(filepath.Dir(b.path), 0o700); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(was + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if suffix != "" {
			text = tear(text)
		}
		if err := os.WriteFile(b.path+suffix, text, 0o600); err != nil {
			return err
		}
	}
	return errors.Join(b.stop(), os.RemoveAll(filepath.Dir(was)))
}

// killInCommit: of the log, which SQLite appends to, either all has reached the disk or only a part.
func (b *sqliteBooks) killInCommit(_ int, lost bool, part float64, run func()) (down []int, isLost bool, err error) {
	before, err := os.ReadFile(b.path + "-wal")
	if err != nil {
		return nil, false, err
	}
	run()
	err = b.copyAway(func(log []byte) []byte {
		if isLost = lost && len(log) > len(before); isLost {
			log = log[:len(before)+int(part*float64(len(log)-len(before)))]
		}
		return log
	})
	return []int{0, 1, 2}, isLost, err
}

// toFail counts down to the commit that fails: SQLite takes it back and says so, which to the store is a commit whose
// outcome is unknown. At zero no commit fails.
var toFail atomic.Int64

func init() {
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			if toFail.Load() > 0 && toFail.Add(-1) == 0 {
				return 1
			}
			return 0
		})
		return nil
	})
}

func (b *sqliteBooks) failCommit(rng *rand.Rand)     { toFail.Store(1 + rng.Int64N(4)) }
func (b *sqliteBooks) spare()                        { toFail.Store(0) }
func (b *sqliteBooks) failed() (failed, stands bool) { return toFail.Load() == 0, false }

func (b *sqliteBooks) side() (driver, source string) { return "sqlite", b.path }
