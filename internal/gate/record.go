package gate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// recorder keeps calls for the console, outside the units that the calls were. It takes what waits and writes it in one
// commit; under a flood it drops records rather than delay a call.
type recorder struct {
	db    *store.DB
	log   *slog.Logger
	calls chan pgdb.Call
	ended sync.WaitGroup
}

const recordMost = 30 // calls in one write; a unit has ids for that many

func newRecorder(db *store.DB, log *slog.Logger) *recorder {
	r := &recorder{db: db, log: log, calls: make(chan pgdb.Call, 4096)}
	r.ended.Go(r.run)
	return r
}

func (r *recorder) close() {
	close(r.calls)
	r.ended.Wait()
}

func (r *recorder) run() {
	for first := range r.calls {
		batch := []pgdb.Call{first}
	more:
		for len(batch) < recordMost {
			select {
			case c, open := <-r.calls:
				if !open {
					break more
				}
				batch = append(batch, c)
			default:
				break more
			}
		}
		err := r.db.Do(context.Background(), store.Unit{Name: "record calls", Judge: func(v *store.View) error {
			for _, c := range batch {
				c.ID = v.NextID()
				v.AddCall(c)
			}
			return nil
		}})
		if err != nil {
			r.log.Error("record calls", "err", err)
		}
	}
}

// record notes a call. Plain bodies are kept only in the sandbox or by the app's setting.
func (g *Gate) record(c *call, code string, answer []byte) {
	row := pgdb.Call{TraceID: c.trace, AppID: c.app.AppID, Operation: string(c.o.Name), RequestNo: c.requestNo(), Code: code, Detail: c.detail,
		Address: c.address.String(), TookUS: time.Since(c.began).Microseconds(), At: store.Millis(g.cfg.Engine.DB.Clock.Now())}
	if g.cfg.Sandbox || c.set.RecordBodies {
		row.Request, row.Response = string(c.plain), string(answer)
	}
	select {
	case g.recorder.calls <- row:
	default:
		g.metrics.dropped.Inc()
	}
}
