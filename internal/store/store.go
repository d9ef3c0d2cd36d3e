// Package store is the database: it opens SQLite or PostgreSQL, migrates it, folds units of change into commits and keeps
// the clock.
//
// It stands at the bottom of every path: operations, settlement and operators' acts hand it units, it decides how many
// of them share a transaction. It knows rows, not rules: what a share or a hold means is told by the packages above.
package store

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

//go:embed migrations
var migrations embed.FS

// Config says which database to open and where time and randomness come from.
type Config struct {
	Database string    // an SQLite file, whose folder must exist, or a postgres:// URL
	Clock    *Clock    // nil: the machine's clock
	Random   io.Reader // nil: crypto/rand

	AcceptLostLog bool // open an SQLite file without the log that belongs to it, and so without the last commits
}

// DB is an open database. Each node has one, with one writer that folds what waits; over SQLite there is one node.
type DB struct {
	Clock *Clock

	engine engine
	random io.Reader // owned by the writer goroutine

	mu      sync.Mutex
	waiting []*queued // guarded by mu
	busy    time.Time // guarded by mu; since when the writer is at one group, zero when it rests
	failure error     // guarded by mu; why the database did not take the last change, nil since it took one
	took    time.Time // guarded by mu; when the database last took a change
	probe   *probe    // guarded by mu; the change that Ready is trying, nil when it tries none
	stats   Stats     // guarded by mu; without Waiting
	closed  bool      // guarded by mu
	arrived chan struct{}
	stopped chan struct{}
	gone    chan struct{} // closed by Close; reads end with ErrClosed

	patience, lookUpMost, provenFor time.Duration

	parsed sync.Map      // keys by owner and fingerprint, see KeysOf
	kept   sync.Map      // *Caller by app, see KeptCaller
	tasks  chan struct{} // holds one signal when a commit has left new tasks
}

// engine is a kind of database.
type engine interface {
	// begin opens a group's transaction with everything loaded that its units name. Until it ends, no other node changes
	// the apps that they name; with ahead that may be found out at the commit alone, whose error is errStale then. Each
	// unit has its time and ids afterwards.
	begin(ctx context.Context, group []*queued, ahead bool) (transaction, *View, error)

	// read runs fn on a snapshot; a single query needs no more than itself for that.
	read(ctx context.Context, single bool, fn func(q *pgdb.Queries) error) error

	// claim takes a name that one node alone has at a time.
	claim(ctx context.Context, name string) (c Claim, ok bool, err error)

	// take removes units from a bucket that all nodes have in common, or leaves it when it has fewer.
	take(ctx context.Context, bucket string, perSecond, most, units float64) (bool, error)

	// copyTradeRows writes rows beside the writer and counts them; copied is false where there is nothing beside it.
	copyTradeRows(ctx context.Context, runID int64, rows []pgdb.TradeRow) (copied bool, err error)

	shared() bool // other nodes may be at work
	close() error
}

// transaction is a group's. Either commit or rollback ends it.
type transaction interface {
	queries() *pgdb.Queries // beside the view

	// commit writes what the units have left; apart names the apps of which something may have changed beside the view. Its
	// error is ErrUnknown when it may stand all the same.
	commit(ctx context.Context, v *View, apart []string) error
	rollback(ctx context.Context) error
}

// IsPostgres says whether a database's name is a URL of PostgreSQL.
func IsPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
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

		patience: patience, lookUpMost: lookUpMost, provenFor: provenFor,
	}
	var err error
	name := cfg.Database
	if IsPostgres(name) {
		name = withoutPassword(name)
		db.engine, err = openPostgres(ctx, cfg.Database, db.Clock)
	} else {
		db.engine, err = openSQLite(ctx, cfg.Database, cfg.AcceptLostLog, db.Clock, db.upcoming)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	go db.run()
	return db, nil
}

func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the PostgreSQL database"
	}
	q := u.Query()
	if q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
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
	return db.engine.close()
}

// Read runs fn on a snapshot of the last committed state. It may not write.
func (db *DB) Read(ctx context.Context, fn func(q *pgdb.Queries) error) error {
	return db.read(ctx, false, fn)
}

// ReadOne is Read for a single query, which on PostgreSQL costs one round trip and no transaction.
func (db *DB) ReadOne(ctx context.Context, query func(q *pgdb.Queries) error) error {
	return db.read(ctx, true, query)
}

func (db *DB) read(ctx context.Context, single bool, fn func(q *pgdb.Queries) error) error {
	select {
	case <-db.gone:
		return ErrClosed
	default:
		return db.engine.read(ctx, single, fn)
	}
}

// Claim is a name that a node has alone.
type Claim struct {
	Held    func(ctx context.Context) bool // asks the database
	Release func()
}

// Claim takes a name that one node alone has at a time, until it is released. A node that dies loses what it had; so does one
// whose connection to the database breaks, which it notices when it asks: what is done under a claim has to bear being done
// twice.
func (db *DB) Claim(ctx context.Context, name string) (c Claim, ok bool, err error) {
	return db.engine.claim(ctx, name)
}

// Take removes units from a bucket that all nodes have in common, which fills by perSecond up to most, or leaves it when it
// has fewer. It is for a database that is Shared.
func (db *DB) Take(ctx context.Context, bucket string, perSecond, most, units float64) (bool, error) {
	return db.engine.take(ctx, bucket, perSecond, most, units)
}

// Shared says whether other nodes may work on the database, and add tasks that TasksAdded does not tell of.
func (db *DB) Shared() bool { return db.engine.shared() }

// Stats is what the writer has done since the node started.
type Stats struct {
	Waiting int           // units in the queue
	Units   int64         // that were given an outcome
	Groups  int64         // in which they were committed
	Failed  int64         // groups that the database did not take
	Unknown int64         // commits whose outcome nobody could tell
	Busy    time.Duration // spent on groups
}

// Stats tells what the writer has done so far.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	s := db.stats
	s.Waiting = len(db.waiting)
	return s
}

// TasksAdded signals after a commit of this node that left new tasks.
func (db *DB) TasksAdded() <-chan struct{} { return db.tasks }

// WriteTradeRows writes rows of a trade file's run, in one commit of their own which the run counts. They count once a file
// names the run. On PostgreSQL several goroutines may write at once, and none is in the way of units.
func (db *DB) WriteTradeRows(ctx context.Context, runID int64, rows []pgdb.TradeRow) error {
	if copied, err := db.engine.copyTradeRows(ctx, runID, rows); copied || err != nil {
		return err
	}
	return db.Do(ctx, Unit{Name: "trade rows", Judge: func(v *View) error {
		v.AddTradeRows(rows)
		return nil
	}, Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error {
		return q.CountTradeRows(ctx, pgdb.CountTradeRowsParams{ID: runID, More: int64(len(rows))})
	}})
}

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
