package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"time"

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

	// Caller, if it has an ID, is an app among Keys as the unit's maker has read it. Where anything but its books has
	// changed since, settings and keys included, the unit does nothing and its error is ErrOutdated.
	Caller pgdb.App

	// Alone is for rare acts: it runs after Judge in a transaction of its own, with plain queries beside the view. Of what
	// belongs to apps they may change that of the apps which Keys names. On PostgreSQL other nodes write everything else at
	// the same time.
	Alone func(ctx context.Context, v *View, q *pgdb.Queries) error
}

// What Do can answer besides the unit's own error.
var (
	ErrBusy   = errors.New("too many units are waiting")
	ErrClosed = errors.New("the database is closed")

	// ErrOutdated: the app is no longer what the unit's maker took it for.
	ErrOutdated = errors.New("the app has changed meanwhile")

	// ErrDatabase marks a failure of the database itself, after which certainly nothing of the unit was written.
	ErrDatabase = errors.New("database fault")

	// ErrAbsent marks one that is of the database as a whole and may pass: it is down, full, or takes no changes.
	ErrAbsent = errors.New("the database cannot be worked with")

	// ErrUnknown marks a commit whose outcome is open: it may stand or not. Whoever repeats the unit finds out.
	ErrUnknown = errors.New("the outcome of a commit is unknown")
)

// errRaced marks a failure that running the units again one by one mends.
var errRaced = errors.New("something else came before it")

// errStale marks a group that was judged ahead and refused: nothing of it stands, and it has to be judged on what is there.
var errStale = errors.New("it was judged too early")

const (
	groupMost   = 256  // units in one commit
	waitingMost = 8192 // units waiting before Do answers ErrBusy
	idsPerUnit  = 32
	racesMost   = 10 // runs of a unit that other nodes keep coming before

	patience   = 30 * time.Second // how long a caller waits for a commit; DB.patience in a test
	lookUpMost = 20 * time.Second // how long the writer tries to find out what became of one; DB.lookUpMost in a test
)

type queued struct {
	Unit
	given given
	err   error
	done  chan struct{}
}

// given is what a unit has from outside. Random bytes are drawn once, so that a second run of it draws the same.
type given struct {
	now    int64
	ids    []idRange
	random [32]byte
	drawn  byte
}

// idRange is the ids from next on that are below end.
type idRange struct{ next, end int64 }

func (u *queued) idsNeeded() int64 { return int64(max(u.IDs, idsPerUnit)) }

// apart is the apps of which the unit's own queries may have changed something.
func (u *queued) apart() []string {
	if u.Alone == nil {
		return nil
	}
	return u.Keys.apps()
}

// Do hands a unit in and returns when its outcome is certain: nil only after the commit. The commit itself does not hang
// on ctx, which is looked at only before the unit joins the queue. A caller whose commit does not come is told ErrBusy
// while the unit has not begun, ErrUnknown later.
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
	enough := time.NewTimer(db.patience)
	defer enough.Stop()
	for i, w := range waits {
		select {
		case <-w.done:
			errs[i] = w.err
		case <-enough.C:
			enough.Reset(0) // for the units after it
			errs[i] = db.giveUp(w)
		}
	}
	return errs
}

// giveUp ends the waiting for a unit. One that has not begun never will; one that has is committed or not, and its caller
// may no longer look at what it left.
func (db *DB) giveUp(w *queued) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if i := slices.Index(db.waiting, w); i >= 0 {
		db.waiting = slices.Delete(db.waiting, i, i+1)
		return ErrBusy
	}
	select {
	case <-w.done:
		return w.err
	default:
		return fmt.Errorf("%w: it takes more than %s", ErrUnknown, db.patience)
	}
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
	group = slices.Clone(db.waiting[:n])
	db.waiting = db.waiting[n:]
	if db.busy = (time.Time{}); n > 0 {
		db.busy = time.Now()
	}
	return group, !db.closed
}

// upcoming is the units that the next group may have, without taking them.
func (db *DB) upcoming() []*queued {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.waiting[:min(len(db.waiting), groupMost)])
}

// commit runs a group in one transaction, and each unit by itself when that fails as a whole, so that a poisoned one fails
// alone.
func (db *DB) commit(ctx context.Context, group []*queued) {
	defer func() {
		for _, u := range group {
			close(u.done)
		}
	}()
	for _, u := range group {
		if _, err := io.ReadFull(db.random, u.given.random[:]); err != nil {
			fillUnits(group, fmt.Errorf("draw random bytes: %w", err))
			return
		}
	}
	err := db.runCertain(ctx, group)
	if err != nil {
		fillUnits(group, err)
	}
	if err != nil && !errors.Is(err, ErrAbsent) && !errors.Is(err, ErrUnknown) && (len(group) > 1 || errors.Is(err, errRaced)) {
		err = db.commitEach(ctx, group)
	}
	db.mu.Lock()
	db.stats.Units += int64(len(group))
	db.stats.Groups++
	db.stats.Busy += time.Since(db.busy)
	switch {
	case errors.Is(err, ErrUnknown):
		db.failure = err
		db.stats.Unknown++
	case errors.Is(err, ErrAbsent):
		db.failure = err
		db.stats.Failed++
	}
	db.mu.Unlock()
}

// commitEach runs each unit by itself, again where other nodes come before it. Its error is the last that is the database's.
func (db *DB) commitEach(ctx context.Context, group []*queued) (fault error) {
	for i, u := range group {
		for range racesMost {
			u.err = nil
			err := db.runCertain(ctx, []*queued{u})
			if err == nil {
				break
			}
			if u.err = err; !errors.Is(err, errRaced) {
				break
			}
		}
		if errors.Is(u.err, ErrAbsent) {
			fillUnits(group[i+1:], fmt.Errorf("%w: %w: with another unit of the group: %v", ErrDatabase, ErrAbsent, u.err)) // they have not begun
			return u.err
		}
		if errors.Is(u.err, ErrUnknown) {
			fault = u.err
		}
	}
	return fault
}

func fillUnits(group []*queued, err error) {
	for _, u := range group {
		u.err = err
	}
}

// runCertain runs a group, and finds out what became of it when its commit does not say: nil then means that it stands, and
// an error other than ErrUnknown that it does not.
func (db *DB) runCertain(ctx context.Context, group []*queued) error {
	wrote, err := db.runGroup(ctx, group)
	if errors.Is(err, errStale) {
		wrote, err = db.runGroup(ctx, group)
	}
	if !errors.Is(err, ErrUnknown) || wrote == (pgdb.CountWrittenParams{}) {
		return err
	}
	errs := make([]error, len(group)) // of the units, should they stand
	for i, u := range group {
		errs[i] = u.err
	}
	deadline := time.Now().Add(db.lookUpMost)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		stands, lerr := db.lookUp(ctx, group, wrote)
		switch {
		case lerr == nil && stands:
			for i, u := range group {
				u.err = errs[i]
			}
			db.signalTasks()
			return nil
		case lerr == nil:
			return fmt.Errorf("%w: %w: it was lost: %v", ErrDatabase, errRaced, err) // no longer unknown
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %w; and %w", ErrAbsent, err, lerr)
		}
		time.Sleep(pause)
	}
}

// lookUp says whether a group's rows are there. It takes the group's locks, so that what is left of the earlier transaction
// has ended; and it commits a change, so that on PostgreSQL what it saw is on the standby too: a commit of nothing does not
// wait for it, and one that lost its connection while it waited may be seen before the standby has it.
func (db *DB) lookUp(ctx context.Context, group []*queued, wrote pgdb.CountWrittenParams) (stands bool, err error) {
	tx, _, err := db.engine.begin(ctx, group, false)
	if err != nil {
		return false, err
	}
	n, err := tx.queries().CountWritten(ctx, wrote)
	if err == nil {
		err = tx.queries().PutSecret(ctx, pgdb.PutSecretParams{Name: "looked up", Value: []byte{}})
	}
	if err != nil {
		return false, errors.Join(err, tx.rollback(ctx))
	}
	return n > 0, tx.commit(ctx, newView(), groupKeys(group).apps())
}

// runGroup judges each unit on one shared view and commits. Its error means that nothing at all was written, unless it is
// ErrUnknown; wrote names rows by which that can be found out.
func (db *DB) runGroup(ctx context.Context, group []*queued) (wrote pgdb.CountWrittenParams, err error) {
	for _, u := range group {
		if err := u.Keys.check(); err != nil {
			return wrote, fmt.Errorf("unit %s: %w", u.Name, err)
		}
	}
	tx, v, err := db.engine.begin(ctx, group, true)
	if err != nil {
		return wrote, fmt.Errorf("load: %w", err)
	}
	ended := false
	defer func() {
		if !ended {
			err = errors.Join(err, tx.rollback(ctx))
		}
	}()
	q := tx.queries()
	for _, u := range group {
		v.begin(u.given)
		if u.err = u.judge(ctx, v, q); u.err != nil {
			v.Reset()
			if u.Alone != nil { // its queries have to go as well
				return wrote, u.err
			}
			continue
		}
		v.keep()
	}
	if err := v.check(); err != nil {
		return wrote, err
	}
	wrote = v.wrote()
	ended = true
	if err := tx.commit(ctx, v, group[0].apart()); err != nil {
		return wrote, fmt.Errorf("save: %w", err)
	}
	if wrote != (pgdb.CountWrittenParams{}) || group[0].Alone != nil { // a commit of nothing says nothing
		db.mu.Lock()
		db.took, db.failure = time.Now(), nil
		db.mu.Unlock()
	}
	if len(v.newTasks) > 0 {
		db.signalTasks()
	}
	return wrote, nil
}

func (db *DB) signalTasks() {
	select {
	case db.tasks <- struct{}{}:
	default:
	}
}

// judge runs the unit's halves; a panic in them is this unit's error and nobody else's.
func (u *queued) judge(ctx context.Context, v *View, q *pgdb.Queries) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unit %s panicked: %v\n%s", u.Name, r, debug.Stack())
		}
	}()
	if u.Caller.ID != 0 {
		if is, ok := v.Apps.Get(u.Caller.AppID); !ok || is.ID != u.Caller.ID || is.Revision != u.Caller.Revision {
			return ErrOutdated
		}
	}
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
