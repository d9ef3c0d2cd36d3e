// Package outbox does what must happen after a commit: it settles, expires, imports and delivers.
//
// A unit leaves a task in a queue; after the commit the dispatcher hands it to whoever works that queue. A queue is
// worked by one goroutine of one node at a time, in order, so that one slow queue delays no other. The work ends in a unit
// that removes the task, so that a crash in between only makes it happen again.
package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Work is what one kind of queue needs. Run answers for each task; a task that is done is gone from the database.
type Work struct {
	Most    int           // tasks handed over at once
	Gather  time.Duration // how long due tasks are waited for, so that more are handed over at once
	Ordered bool          // a task that fails holds up those behind it, instead of going behind them
	Run     func(ctx context.Context, tasks []pgdb.Task) []error
}

// Each makes a Run of a function for one task.
func Each(fn func(ctx context.Context, t pgdb.Task) error) func(context.Context, []pgdb.Task) []error {
	return func(ctx context.Context, tasks []pgdb.Task) []error {
		errs := make([]error, len(tasks))
		for i, t := range tasks {
			errs[i] = fn(ctx, t)
		}
		return errs
	}
}

// Dispatcher finds what is due and has it done.
type Dispatcher struct {
	db   *store.DB
	work map[string]Work // by the queue's name up to the first slash
	log  *slog.Logger

	mu      sync.Mutex
	busy    map[string]bool // guarded by mu; queues that are worked or wait after a failure
	failed  map[int64]int   // guarded by mu; failures in a row, by task
	changed chan struct{}   // holds one signal when a queue is no longer busy
	workers sync.WaitGroup
}

// NewDispatcher makes a dispatcher; work names each kind of queue, such as "settle" or "webhook" for "webhook/demo".
func NewDispatcher(db *store.DB, log *slog.Logger, work map[string]Work) *Dispatcher {
	return &Dispatcher{db: db, work: work, log: log, busy: map[string]bool{}, failed: map[int64]int{}, changed: make(chan struct{}, 1)}
}

// Run works until ctx ends, then waits for what is under way.
func (d *Dispatcher) Run(ctx context.Context) {
	defer d.workers.Wait()
	wake := make(chan struct{})
	go func() {
		for {
			select {
			case <-d.db.TasksAdded():
			case <-d.changed:
			case <-ctx.Done():
				return
			}
			select {
			case wake <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	for ctx.Err() == nil {
		next, worked, err := d.start(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Error("outbox: look for due tasks", "err", err)
			next = d.db.Clock.Now().Add(time.Second)
		}
		if d.db.Shared() { // other nodes leave tasks too, and may be gone before they have done them
			if poll := d.db.Clock.Now().Add(pollEach); next.IsZero() || next.After(poll) {
				next = poll
			}
		}
		if d.rest(ctx, lookEach); worked { // to look soon again would only find them once more
			d.rest(ctx, 3*lookEach)
		}
		d.db.Clock.Wait(ctx, next, wake)
	}
}

const (
	pollEach = time.Second          // how long another node's task may go unnoticed
	lookEach = 5 * time.Millisecond // between two looks at what is due, however many commits leave tasks
)

// start sets a worker on every queue that has due tasks, and says when the next task falls due, and whether all those that
// have some were being worked already.
func (d *Dispatcher) start(ctx context.Context) (next time.Time, worked bool, err error) {
	queues, next, err := d.db.DueQueues(ctx)
	if err != nil {
		return next, false, err
	}
	worked = len(queues) > 0
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, queue := range queues {
		kind, _, _ := strings.Cut(queue, "/")
		work, ok := d.work[kind]
		if !ok || d.busy[queue] {
			continue
		}
		d.busy[queue], worked = true, false
		d.workers.Go(func() { d.workOn(ctx, queue, work) })
	}
	return next, worked, nil
}

// workOn does a queue's due tasks until none is left. One node at a time works a queue; who finds it claimed may leave it:
// whoever has it looks once more when it has let go.
func (d *Dispatcher) workOn(ctx context.Context, queue string, work Work) {
	claim, claimed, err := d.db.Claim(ctx, "queue "+queue)
	if err != nil && ctx.Err() == nil {
		d.log.Error("outbox: claim a queue", "queue", queue, "err", err)
		d.rest(ctx, time.Second)
	}
	defer func() {
		if claimed {
			claim.Release()
		}
		d.mu.Lock()
		delete(d.busy, queue)
		d.mu.Unlock()
		if !claimed {
			return
		}
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}()
	if !claimed {
		return
	}
	faults := 0 // of the queue itself, in a row
	for ctx.Err() == nil {
		d.rest(ctx, work.Gather)
		var tasks []pgdb.Task
		now := store.Millis(d.db.Clock.Now())
		err := d.db.ReadOne(ctx, func(q *pgdb.Queries) (err error) {
			tasks, err = q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: queue, Now: now, Most: int32(work.Most)})
			return err
		})
		if err == nil && len(tasks) == 0 {
			return
		}
		var errs []error
		if err == nil {
			errs = run(ctx, work, tasks)
		}
		held := time.Duration(0)
		for i, failed := range errs {
			failures := d.count(tasks[i].ID, failed != nil && ctx.Err() == nil)
			if failures == 0 {
				continue
			}
			pause := backOff(failures)
			d.log.Error("outbox: a task failed, it will be tried again", "queue", queue, "task", tasks[i].ID, "record", tasks[i].RecordID, "err", failed, "pause", pause)
			if work.Ordered {
				held = max(held, pause)
			} else if moved := d.postpone(ctx, tasks[i], pause); moved != nil {
				err = moved
			}
		}
		if err != nil && ctx.Err() == nil {
			faults++
			held = max(held, backOff(faults))
			d.log.Error("outbox: a queue cannot be worked", "queue", queue, "err", err, "pause", held)
		} else {
			faults = 0
		}
		d.rest(ctx, held)
		if !claim.Held(ctx) {
			return // another node may have it by now
		}
	}
}

// count keeps how often a task has failed in a row.
func (d *Dispatcher) count(task int64, failed bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !failed {
		delete(d.failed, task)
		return 0
	}
	d.failed[task]++
	return d.failed[task]
}

// run has tasks done; a panic is the failure of all of them, never the end of the server.
func run(ctx context.Context, work Work, tasks []pgdb.Task) (errs []error) {
	defer func() {
		if p := recover(); p != nil {
			errs = make([]error, len(tasks))
			for i := range errs {
				errs[i] = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}
	}()
	return work.Run(ctx, tasks)
}

func backOff(failures int) time.Duration { return min(time.Second<<min(failures-1, 6), time.Minute) }

// postpone moves a task behind the others of its queue.
func (d *Dispatcher) postpone(ctx context.Context, t pgdb.Task, by time.Duration) error {
	return d.db.Do(ctx, store.Unit{Name: "postpone", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.MoveTask(ctx, pgdb.MoveTaskParams{ID: t.ID, DueAt: v.Now() + by.Milliseconds()})
	}})
}

// rest waits by the machine's time: what it waits for is real, the sandbox's clock does not bring it.
func (d *Dispatcher) rest(ctx context.Context, pause time.Duration) {
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
