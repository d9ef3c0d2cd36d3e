package gate

import (
	"context"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// recorder keeps calls for the console, outside the units that the calls were. It gathers them and writes many in one
// commit; under a flood it drops records rather than delay a call, and of callers that did not authenticate it keeps only
// a few a second, so that nobody can fill the disk from outside.
type recorder struct {
	db        *store.DB
	log       *slog.Logger
	calls     chan pgdb.Call
	stop      chan struct{} // closed by close
	ended     sync.WaitGroup
	strangers *rate.Limiter
}

const (
	recordMost   = 250                    // calls in one write
	recordGather = 100 * time.Millisecond // what comes in this time is one write
	recordKeep   = 30 * 24 * time.Hour
	pruneEach    = 100 // writes
)

func newRecorder(db *store.DB, log *slog.Logger) *recorder {
	r := &recorder{db: db, log: log, calls: make(chan pgdb.Call, 4096), stop: make(chan struct{}), strangers: rate.NewLimiter(5, 50)}
	r.ended.Go(r.run)
	return r
}

// close writes what waits. A call that is recorded later is dropped.
func (r *recorder) close() {
	close(r.stop)
	r.ended.Wait()
}

func (r *recorder) run() {
	for writes := 1; ; writes++ {
		batch := r.take()
		if len(batch) == 0 {
			return
		}
		err := r.db.Do(context.Background(), store.Unit{Name: "record calls", IDs: len(batch), Judge: func(v *store.View) error {
			for _, c := range batch {
				c.ID = v.NextID()
				v.AddCall(c)
			}
			return nil
		}})
		if err == nil && writes%pruneEach == 0 {
			err = r.db.Do(context.Background(), store.Unit{Name: "prune calls", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
				return q.PruneCalls(ctx, pgdb.PruneCallsParams{Most: recordMost * pruneEach, Before: v.Now() - recordKeep.Milliseconds()})
			}})
		}
		if err != nil {
			r.log.Error("record calls", "err", err)
		}
	}
}

// take waits for calls, and some time for others to come, and returns what is there: nothing once close was called and all
// is written.
func (r *recorder) take() (batch []pgdb.Call) {
	select {
	case c := <-r.calls:
		batch = append(batch, c)
	case <-r.stop:
	}
	gathered := time.After(recordGather)
	for len(batch) < recordMost {
		select {
		case c := <-r.calls:
			batch = append(batch, c)
			continue
		default:
		}
		select {
		case c := <-r.calls:
			batch = append(batch, c)
		case <-gathered:
			return batch
		case <-r.stop:
			return batch
		}
	}
	return batch
}

// links are secrets: only their hashes are stored.
var links = regexp.MustCompile(`(/b/|/errors/)[\w-]+`)

// record notes a call. Plain bodies are kept only in the sandbox or by the app's setting, without the links in them.
func (g *Gate) record(c *call, code string, answer []byte) {
	if c.signer.Key == nil && !g.recorder.strangers.Allow() {
		g.metrics.dropped.Inc()
		return
	}
	row := pgdb.Call{TraceID: c.trace, AppID: c.caller.App.AppID, Operation: string(c.o.Name), RequestNo: c.requestNo(), Code: code, Detail: c.detail,
		Address: c.address.String(), TookUS: time.Since(c.began).Microseconds(), At: store.Millis(g.cfg.Engine.DB.Clock.Now())}
	if g.cfg.Sandbox || c.caller.Settings.RecordBodies {
		row.Request, row.Response = string(c.plain), links.ReplaceAllString(string(answer), "$1...")
	}
	select {
	case g.recorder.calls <- row:
	default:
		g.metrics.dropped.Inc()
	}
}
