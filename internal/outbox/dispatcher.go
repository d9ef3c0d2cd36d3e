// Package outbox does what must happen after a commit: it settles, expires, imports and delivers.
//
// A unit leaves a task in a queue; after the commit the dispatcher hands it to whoever works that queue. A queue is
// worked by one goroutine at a time, in order, so that one slow queue delays no other. The work ends in a unit that
// removes the task, so that a crash in between only makes it happen again.
package outbox

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Work is what one kind of queue needs.
type Work struct {
	Most int // tasks handed over at once
	Run  func(ctx context.Context, tasks []pgdb.Task) error
}

// Dispatcher finds what is due and has it done.
type Dispatcher struct {
	db   *store.DB
	work map[string]Work // by the queue's name up to the first slash
	log  *slog.Logger

	mu      sync.Mutex
	busy    map[string]bool // guarded by mu; queues that are worked or wait after a failure
	changed chan struct{}   // holds one signal when a queue is no longer busy
	workers sync.WaitGroup
}

// NewDispatcher makes a dispatcher; work names each kind of queue, such as "settle" or "webhook" for "webhook/demo".
func NewDispatcher(db *store.DB, log *slog.Logger, work map[string]Work) *Dispatcher {
	return &Dispatcher{db: db, work: work, log: log, busy: map[string]bool{}, changed: make(chan struct{}, 1)}
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
		next, err := d.start(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Error("outbox: look for due tasks", "err", err)
			next = d.db.Clock.Now().Add(time.Second)
		}
		d.db.Clock.Wait(ctx, next, wake)
	}
}

// start sets a worker on every queue that has due tasks, and says when the next task falls due.
func (d *Dispatcher) start(ctx context.Context) (next time.Time, err error) {
	now := store.Millis(d.db.Clock.Now())
	var queues []string
	if err := d.db.Read(ctx, func(q *pgdb.Queries) error {
		var err error
		if queues, err = q.ListDueQueues(ctx, now); err != nil {
			return err
		}
		due, err := q.NextDue(ctx, now)
		if store.NotFound(err) {
			return nil
		}
		next = store.Time(due)
		return err
	}); err != nil {
		return next, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, queue := range queues {
		kind, _, _ := strings.Cut(queue, "/")
		work, ok := d.work[kind]
		if !ok || d.busy[queue] {
			continue
		}
		d.busy[queue] = true
		d.workers.Go(func() { d.workOn(ctx, queue, work) })
	}
	return next, nil
}

// workOn does a queue's due tasks. After a failure it leaves the queue alone for a while, longer each time.
func (d *Dispatcher) workOn(ctx context.Context, queue string, work Work) {
	defer func() {
		d.mu.Lock()
		delete(d.busy, queue)
		d.mu.Unlock()
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}()
	pause := time.Second
	for ctx.Err() == nil {
		var tasks []pgdb.Task
		now := store.Millis(d.db.Clock.Now())
		err := d.db.Read(ctx, func(q *pgdb.Queries) (err error) {
			tasks, err = q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: queue, Now: now, Most: int32(work.Most)})
			return err
		})
		if err == nil && len(tasks) == 0 {
			return
		}
		if err == nil {
			err = work.Run(ctx, tasks)
		}
		if err == nil {
			pause = time.Second
			continue
		}
		if ctx.Err() != nil {
			return
		}
		d.log.Error("outbox: work failed, it will be tried again", "queue", queue, "err", err, "pause", pause)
		timer := time.NewTimer(pause) // the machine's time: the fault is real, the sandbox's clock does not mend it
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, time.Minute)
	}
}
