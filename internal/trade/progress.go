package trade

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Metrics tells how far this node is with files.
type Metrics struct {
	judged  prometheus.Counter
	written prometheus.Counter
	done    *prometheus.GaugeVec
}

// NewMetrics registers what it counts.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		judged:  prometheus.NewCounter(prometheus.CounterOpts{Name: "infinia_trade_rows_judged_total", Help: "Rows of trade files that were judged."}),
		written: prometheus.NewCounter(prometheus.CounterOpts{Name: "infinia_trade_rows_written_total", Help: "Rows of trade files that were written, to count once their file is accepted."}),
		done: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "infinia_trade_file_done_ratio", Help: "How much of the work on an app's present trade file is done, on the node that does it."},
			[]string{"app"}),
	}
	reg.MustRegister(m.judged, m.written, m.done)
	return m
}

// progress is how far the work on one file has come, in steps that follow each other.
type progress struct {
	from, to    atomic.Int64 // what the present step is of the whole, in thousandths
	done, total atomic.Int64 // of the present step, in its own measure
}

// step begins the next step, which ends at so many thousandths of the whole.
func (p *progress) step(to int, total int64) {
	p.from.Store(p.to.Load())
	p.done.Store(0)
	p.total.Store(max(total, 1))
	p.to.Store(int64(to))
}

func (p *progress) add(n int64) { p.done.Add(n) }

func (p *progress) thousandths() int64 {
	from, to, done, total := p.from.Load(), p.to.Load(), p.done.Load(), p.total.Load()
	return from + (to-from)*min(done, total)/max(total, 1)
}

// progressReader counts what is read of a file. Each time it is read anew is a step: to tell its encoding, to judge its rows,
// to write the error file.
type progressReader struct {
	io.ReadSeeker
	of   *progress
	size int64
	ends []int // of the steps
}

func (r *progressReader) Seek(offset int64, whence int) (int64, error) {
	if len(r.ends) > 0 {
		r.of.step(r.ends[0], r.size)
		r.ends = r.ends[1:]
	}
	return r.ReadSeeker.Seek(offset, whence)
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.ReadSeeker.Read(p)
	r.of.add(int64(n))
	return n, err
}

// tellEach is how often the progress of a file is written down, where its app and its operator find it.
const tellEach = time.Second

// tell writes the progress of a file down until stop is called, after which it writes nothing more.
func (im *Importer) tell(ctx context.Context, f pgdb.TradeFile, p *progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(tellEach)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			done := p.thousandths()
			if im.Metrics != nil {
				im.Metrics.done.WithLabelValues(f.AppID).Set(float64(done) / 1000)
			}
			// What cannot be written now is not worth a word: the file itself tells of a database that is gone.
			_ = im.DB.Do(ctx, store.Unit{Name: "trade progress", Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
				return q.PutTradeProgress(ctx, pgdb.PutTradeProgressParams{FileID: f.ID, Done: done})
			}})
		}
	})
	return func() {
		cancel()
		telling.Wait()
		if im.Metrics != nil {
			im.Metrics.done.DeleteLabelValues(f.AppID)
		}
	}
}

// Progress is how much of the work on a file that is PROCESSING is done, in percent: an estimate.
func Progress(ctx context.Context, q *pgdb.Queries, f pgdb.TradeFile) (percent int64, err error) {
	done, err := q.GetTradeProgress(ctx, f.ID)
	if store.NotFound(err) { // it has not begun, or not a second ago
		return 0, nil
	}
	return done / 10, err
}

// restMost is how many times as long as it has worked a goroutine rests while calls are under way: a file goes on, however
// many calls there are. Longer rests make files slower, and calls no quicker (BenchmarkCallsBesideFile).
const restMost = 1

func (im *Importer) busy() bool { return im.Busy != nil && im.Busy() }

// rest lets calls go first after a piece of work.
func (im *Importer) rest(worked time.Duration) {
	const look = 500 * time.Microsecond
	for end := time.Now().Add(restMost * worked); im.busy(); {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, look))
	}
}
