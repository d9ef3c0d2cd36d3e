package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

const (
	// slowAfter is how long the writer may be at one group before the node counts as not ready.
	slowAfter = 5 * time.Second

	// provenFor is how long a change that was taken says that the next one would be; DB.provenFor in a test.
	provenFor = 10 * time.Second
)

// probe is a change that finds out whether the database takes one. All who ask meanwhile wait for the same.
type probe struct {
	ended chan struct{}
	err   error // once ended
}

// Ready says whether the database answers and takes changes. Where this node has made none for a while, or the last one was
// not taken, it tries one.
func (db *DB) Ready(ctx context.Context) error {
	if err := db.ReadOne(ctx, func(q *pgdb.Queries) error {
		_, err := q.GetSecret(ctx, "kind") // as cheap as a query can be
		if NotFound(err) {
			err = nil
		}
		return err
	}); err != nil {
		return err
	}
	db.mu.Lock()
	busy, failure, took := db.busy, db.failure, db.took
	db.mu.Unlock()
	if !busy.IsZero() && time.Since(busy) > slowAfter {
		return fmt.Errorf("%w: a commit has been waiting since %s", ErrDatabase, busy.Format(time.RFC3339))
	}
	if failure == nil && time.Since(took) < db.provenFor {
		return nil
	}
	p := db.startProbe()
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%w: no answer to a change yet; before it: %v", ErrDatabase, failure)
	}
}

func (db *DB) startProbe() *probe {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.probe != nil {
		return db.probe
	}
	value := []byte{}
	if db.failure != nil {
		// As large as a group's, and nothing that the database could compress: a smaller one may find room on a full disk.
		value = make([]byte, 32<<10)
		rand.Read(value) //nolint:errcheck // it never fails
	}
	p := &probe{ended: make(chan struct{})}
	db.probe = p
	go func() {
		p.err = db.Do(context.Background(), Unit{Name: "probe", Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error {
			return q.PutSecret(ctx, pgdb.PutSecretParams{Name: "probe", Value: value})
		}})
		db.mu.Lock()
		db.probe = nil
		db.mu.Unlock()
		close(p.ended)
	}()
	return p
}
