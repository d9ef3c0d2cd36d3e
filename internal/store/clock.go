package store

import (
	"context"
	"sync"
	"time"
)

// Clock is the one source of time. The sandbox moves it forward; production never does.
type Clock struct {
	base    func() time.Time
	machine bool // base is the machine's clock

	mu     sync.Mutex
	offset time.Duration // guarded by mu
	skew   time.Duration // guarded by mu; by how much the machine's clock is behind the database's
	moved  chan struct{} // guarded by mu; closed and replaced by Advance
}

// NewClock makes a clock over base, or over the machine's clock when base is nil.
func NewClock(base func() time.Time) *Clock {
	if base == nil {
		return &Clock{base: time.Now, machine: true, moved: make(chan struct{})}
	}
	return &Clock{base: base, moved: make(chan struct{})}
}

// skewMost is how far the machine's clock may be from the database's before it is corrected; a round trip takes some time.
const skewMost = 100 * time.Millisecond

// from is the present when the database says that it is millis. Machines' clocks differ, and of those that share a database
// its own counts, from then on for Now too; a clock over another base than the machine's keeps to it.
func (c *Clock) from(millis int64) int64 {
	if !c.machine {
		return Millis(c.Now())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if off := time.UnixMilli(millis).Sub(c.base().Add(c.skew)); off.Abs() > skewMost {
		c.skew += off
	}
	return millis + c.offset.Milliseconds()
}

// Now is the present, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base().Add(c.skew + c.offset).UTC()
}

// Advance moves the clock forward and wakes whoever waits on it. A negative d is ignored: time never goes back.
func (c *Clock) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	close(c.moved)
	c.moved = make(chan struct{})
}

// Offset is how far the clock has been moved.
func (c *Clock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Moved returns a channel that is closed at the next Advance.
func (c *Clock) Moved() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

// Wait returns when the clock shows at or later, when wake receives, or when ctx ends; a zero at never comes.
func (c *Clock) Wait(ctx context.Context, at time.Time, wake <-chan struct{}) {
	for {
		moved := c.Moved()
		var due <-chan time.Time
		stop := func() bool { return false }
		if !at.IsZero() {
			d := at.Sub(c.Now())
			if d <= 0 {
				return
			}
			timer := time.NewTimer(d)
			due, stop = timer.C, timer.Stop
		}
		again := false
		select {
		case <-due:
		case <-wake:
		case <-ctx.Done():
		case <-moved:
			again = true
		}
		stop()
		if !again {
			return
		}
	}
}

// Millis is how the database keeps a time: milliseconds since 1970 UTC. Zero means never.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the inverse of Millis.
func Time(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}
