package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// A Unit is one change: all of it is committed, or nothing.
//
// Judge is pure: it sees the rows that Keys names and the View's time, ids and random bytes, and nothing else, so that it
// may run again when its group has to be repeated. It leaves its changes in the view. An error from it drops them and
// reaches the caller of Do; a change that also has to remember a refusal calls View.Reset and writes the refusal instead.
type Unit struct {
	Name  string // for the log
	Keys  Keys
	Judge func(v *View) error

	IDs int // how many new rows it may make; 0: idsPerUnit

	// Alone is for rare acts: it runs after Judge in a transaction of its own, with plain queries beside the view.
	Alone func(ctx context.Context, v *View, q *pgdb.Queries) error
}

// What Do can answer besides the unit's own error.
var (
	ErrBusy   = errors.New("too many units are waiting")
	ErrClosed = errors.New("the database is closed")

	// ErrDatabase marks a failure of the database itself, after which certainly nothing of the unit was written.
	ErrDatabase = errors.New("database fault")

	// ErrUnknown marks a commit whose outcome is open: it may stand or not. Whoever repeats the unit finds out.
	ErrUnknown = errors.New("the outcome of a commit is unknown")
)

const (
	groupMost   = 256  // units in one commit
	waitingMost = 8192 // units waiting before Do answers ErrBusy
	idsPerUnit  = 32
)

type queued struct {
	Unit
	given given
	err   error
	done  chan struct{}
}

// given is drawn once per unit, so that a second run of it gives the same rows.
type given struct {
	now       int64
	id, idEnd int64
	random    [32]byte
	drawn     byte
}

// Do hands a unit in and returns when its outcome is certain: nil only after the commit. The commit itself does not hang
// on ctx, which is looked at only before the unit joins the queue.
func (db *DB) Do(ctx context.Context, u Unit) error {
	return db.DoAll(ctx, []Unit{u})[0]
}

// DoAll hands in many units side by side; each has its own outcome.
func (db *DB) DoAll(ctx context.Context, units []Unit) []error {
	errs := make([]error, len(units))
	waits := make([]*queued, len(units))
	if err := ctx.Err(); err != nil {
		return fill(errs, err)
	}
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return fill(errs, ErrClosed)
	}
	if len(db.waiting)+len(units) > waitingMost {
		db.mu.Unlock()
		return fill(errs, ErrBusy)
	}
	for i, u := range units {
		waits[i] = &queued{Unit: u, done: make(chan struct{})}
		db.waiting = append(db.waiting, waits[i])
	}
	db.mu.Unlock()
	db.signal()
	for i, w := range waits {
		<-w.done
		errs[i] = w.err
	}
	return errs
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func (db *DB) signal() {
	select {
	case db.arrived <- struct{}{}:
	default:
	}
}

// run is the writer: it takes what waits, without a timer, and commits it as one group.
func (db *DB) run() {
	defer close(db.stopped)
	for {
		group, open := db.take()
		if len(group) > 0 {
			db.commit(context.Background(), group)
			continue
		}
		if !open {
			return
		}
		<-db.arrived
	}
}

// take removes the next group from the queue: up to groupMost units, or one that wants to be alone.
func (db *DB) take() (group []*queued, open bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := 0
	for n < len(db.waiting) && n < groupMost && db.waiting[n].Alone == nil {
		n++
	}
	if n == 0 && len(db.waiting) > 0 {
		n = 1
	}
	group = db.waiting[:n:n]
	db.waiting = db.waiting[n:]
	return group, !db.closed
}

// commit runs a group in one transaction. When that fails as a whole, each unit runs again on its own, so that a poisoned
// one fails alone.
func (db *DB) commit(ctx context.Context, group []*queued) {
	defer func() {
		for _, u := range group {
			close(u.done)
		}
	}()
	if err := db.draw(ctx, group); err != nil {
		for _, u := range group {
			u.err = err
		}
		return
	}
	err := db.runGroup(ctx, group)
	if err == nil {
		return
	}
	for _, u := range group {
		u.err = err
		// When the transaction could not begin, or its end is unknown, running a unit alone mends nothing.
		if len(group) > 1 && !errors.Is(err, errBegin) && !errors.Is(err, ErrUnknown) {
			u.err = nil
			if err := db.runGroup(ctx, []*queued{u}); err != nil {
				u.err = err
			}
		}
	}
}

var errBegin = errors.New("no transaction")

// runGroup judges each unit on one shared view and commits. Its error means that nothing at all was written.
func (db *DB) runGroup(ctx context.Context, group []*queued) (err error) {
	if _, err := db.writer.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrDatabase, errBegin, err)
	}
	committed := false
	defer func() {
		if !committed {
			if _, rerr := db.writer.ExecContext(ctx, "ROLLBACK"); rerr != nil {
				err = errors.Join(err, db.renewWriter(ctx)) // whatever is open on that connection ends with it
			}
		}
	}()
	q := pgdb.New(sqliteConn{db.writer, db.writes})
	v := db.carried
	db.carried = newView() // unless this group succeeds, the next one loads everything anew
	for _, u := range group {
		if err := v.load(ctx, q, u.Keys); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	for _, u := range group {
		v.begin(u.given)
		if u.err = u.judge(ctx, v, q); u.err != nil {
			v.Reset()
			if u.Alone != nil { // its queries have to go as well
				return u.err
			}
			continue
		}
		v.keep()
	}
	if err := v.save(ctx, q); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if _, err := db.writer.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	committed = true
	if group[0].Alone == nil { // its queries may have changed anything
		db.carried = v.carry()
	}
	if len(v.newTasks) > 0 {
		select {
		case db.tasks <- struct{}{}:
		default:
		}
	}
	return nil
}

// judge runs the unit's halves; a panic in them is this unit's error and nobody else's.
func (u *queued) judge(ctx context.Context, v *View, q *pgdb.Queries) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unit %s panicked: %v\n%s", u.Name, r, debug.Stack())
		}
	}()
	if u.Judge != nil {
		if err := u.Judge(v); err != nil {
			return err
		}
	}
	if u.Alone != nil {
		return u.Alone(ctx, v, q)
	}
	return nil
}

// draw gives each unit its time, ids and random bytes, once.
func (db *DB) draw(ctx context.Context, group []*queued) error {
	now := Millis(db.Clock.Now())
	for _, u := range group {
		need := int64(max(u.IDs, idsPerUnit))
		if db.ids+need > db.idsEnd {
			many := max(idsPerUnit*1024, need)
			end, err := pgdb.New(sqliteConn{db.writer, db.writes}).TakeIDs(ctx, pgdb.TakeIDsParams{Many: many, Name: "row"})
			if err != nil {
				return fmt.Errorf("draw ids: %w", err)
			}
			db.ids, db.idsEnd = end-many, end
		}
		u.given = given{now: now, id: db.ids, idEnd: db.ids + need}
		db.ids += need
		if _, err := io.ReadFull(db.random, u.given.random[:]); err != nil {
			return fmt.Errorf("draw random bytes: %w", err)
		}
	}
	return nil
}
