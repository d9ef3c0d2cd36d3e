package gate

import (
	"sync/atomic"
	"time"
)

// lull is how long after a call more are expected: longer than the way to a client and back. One that sends one call after
// the other has none under way in between, and a piece of other work begun then stands in the way of the next
// (BenchmarkCallsBesideFile).
const lull = 50 * time.Millisecond

// traffic knows whether calls are under way.
type traffic struct {
	since    time.Time // any moment before the first call
	underWay atomic.Int64
	ended    atomic.Int64 // when the last call did, in nanoseconds after since; 0 before
}

func (t *traffic) begin() { t.underWay.Add(1) }

func (t *traffic) end() {
	t.ended.Store(int64(time.Since(t.since)))
	t.underWay.Add(-1)
}

func (t *traffic) busy() bool {
	if t.underWay.Load() > 0 {
		return true
	}
	ended := t.ended.Load()
	return ended > 0 && time.Since(t.since)-time.Duration(ended) < lull
}
