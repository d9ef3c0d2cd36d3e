package store

import (
	"context"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// DueQueues returns the queues whose first task is due, and when the first task of another one will be: the zero time when
// there is none.
func (db *DB) DueQueues(ctx context.Context) (due []string, next time.Time, err error) {
	now := Millis(db.Clock.Now())
	queues, err := db.queues(ctx)
	for _, q := range queues {
		if q.DueAt <= now {
			due = append(due, q.Queue)
		} else if at := Time(q.DueAt); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return due, next, err
}

// Late is how long the task that fell due first has been due.
func (db *DB) Late(ctx context.Context) (late time.Duration, err error) {
	now := db.Clock.Now()
	queues, err := db.queues(ctx)
	for _, q := range queues {
		late = max(late, now.Sub(Time(q.DueAt)))
	}
	return late, err
}

func (db *DB) queues(ctx context.Context) (queues []pgdb.ListQueuesRow, err error) {
	err = db.ReadOne(ctx, func(q *pgdb.Queries) error {
		queues, err = q.ListQueues(ctx)
		return err
	})
	return queues, err
}
