// Package store is the database: it opens SQLite, migrates it, folds units of change into commits and keeps the clock.
//
// It stands at the bottom of every path: operations, settlement and operators' acts hand it units, it decides how many
// of them share a transaction. It knows rows, not rules: what a share or a hold means is told by the packages above.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Config says which database to open and where time and randomness come from.
type Config struct {
	Path   string    // SQLite file; its folder must exist
	Clock  *Clock    // nil: the machine's clock
	Random io.Reader // nil: crypto/rand
}

// DB is an open database with one writer and many readers.
type DB struct {
	Clock *Clock

	unlock   func() error // lets another process write
	pool     *sql.DB
	writer   *sql.Conn // the only connection of pool; owned by the goroutine in run
	writes   *statements
	readPool *sql.DB
	readers  chan *reader // the readers that are free
	random   io.Reader

	mu      sync.Mutex
	waiting []*queued // guarded by mu
	closed  bool      // guarded by mu
	arrived chan struct{}
	stopped chan struct{}
	gone    chan struct{} // closed by Close; reads end with ErrClosed

	parsed sync.Map      // keys by owner and fingerprint, see KeysOf
	tasks  chan struct{} // holds one signal when a commit has left new tasks

	ids, idsEnd int64 // owned by the writer goroutine
	carried     *View // owned by the writer goroutine; what the next group need not load
}

// Open opens the database, creates or migrates its tables, and starts its writer.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Clock == nil {
		cfg.Clock = NewClock(nil)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	db := &DB{
		Clock:   cfg.Clock,
		random:  cfg.Random,
		arrived: make(chan struct{}, 1),
		stopped: make(chan struct{}),
		gone:    make(chan struct{}),
		tasks:   make(chan struct{}, 1),
		carried: newView(),
	}
	if err := db.openSQLite(ctx, cfg.Path); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg.Path, err)
	}
	go db.run()
	return db, nil
}

// Close waits for the units already handed in, then closes the database.
func (db *DB) Close() error {
	db.mu.Lock()
	already := db.closed
	if !already {
		close(db.gone)
	}
	db.closed = true
	db.mu.Unlock()
	db.signal()
	<-db.stopped
	if already {
		return nil
	}
	db.writes.close()
	for range readersMost {
		if r := <-db.readers; r.conn != nil {
			r.st.close()
			r.conn.Close()
		}
	}
	return errors.Join(db.writer.Close(), db.readPool.Close(), db.pool.Close(), db.unlock())
}

// Read runs fn on a snapshot of the last committed state. It may not write.
func (db *DB) Read(ctx context.Context, fn func(q *pgdb.Queries) error) error {
	select {
	case <-db.gone:
		return ErrClosed
	default:
	}
	select {
	case r := <-db.readers:
		defer func() { db.readers <- r }()
		return db.read(ctx, r, fn)
	case <-db.gone:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready says whether the database answers.
func (db *DB) Ready(ctx context.Context) error {
	return db.Read(ctx, func(q *pgdb.Queries) error {
		_, err := q.GetSecret(ctx, "kind") // as cheap as a query can be
		if NotFound(err) {
			err = nil
		}
		return err
	})
}

// TasksAdded signals after a commit that left new tasks.
func (db *DB) TasksAdded() <-chan struct{} { return db.tasks }

// Secret returns the random bytes kept under name, made on first use; every node over this database has the same.
func (db *DB) Secret(ctx context.Context, name string) ([]byte, error) {
	return db.keep(ctx, name, nil)
}

// Mark returns the text kept under name, which is value from the first use on.
func (db *DB) Mark(ctx context.Context, name, value string) (string, error) {
	kept, err := db.keep(ctx, name, []byte(value))
	return string(kept), err
}

func (db *DB) keep(ctx context.Context, name string, value []byte) (kept []byte, err error) {
	err = db.Do(ctx, Unit{Name: "secret", Alone: func(ctx context.Context, v *View, q *pgdb.Queries) (err error) {
		if value == nil {
			random := v.NextRandom()
			value = random[:]
		}
		if err := q.InsertSecret(ctx, pgdb.InsertSecretParams{Name: name, Value: value}); err != nil {
			return err
		}
		kept, err = q.GetSecret(ctx, name)
		return err
	}})
	return kept, err
}

// NotFound says that a query for one row found none.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
