package store

import (
	"testing"
	"time"
)

// TestDatabaseClockCounts: a machine whose clock is wrong goes by the database's, however the sandbox's clock was moved.
func TestDatabaseClockCounts(t *testing.T) {
	c := NewClock(nil)
	c.Advance(time.Hour)
	database := time.Now().Add(-7 * time.Minute)
	if got := Time(c.from(Millis(database))); !got.Equal(Time(Millis(database)).Add(time.Hour)) {
		t.Errorf("a unit's time is %s", got)
	}
	if off := c.Now().Sub(database.Add(time.Hour)); off.Abs() > time.Minute {
		t.Errorf("the clock is %s off", off)
	}
	fixed := NewClock(func() time.Time { return time.UnixMilli(5) })
	if got := fixed.from(Millis(database)); got != 5 {
		t.Errorf("a clock of its own shows %d", got)
	}
}
