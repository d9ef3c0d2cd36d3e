package gate

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBusyBetweenCallsThatFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := traffic{since: time.Now()}
		is := func(want bool, when string) {
			t.Helper()
			if calls.busy() != want {
				t.Errorf("busy %s: %v", when, !want)
			}
		}
		is(false, "before the first call")
		time.Sleep(time.Second)
		is(false, "a second later")
		calls.begin()
		calls.begin()
		time.Sleep(time.Second)
		is(true, "during two calls")
		calls.end()
		time.Sleep(time.Second)
		is(true, "during the second one")
		calls.end()
		is(true, "right after them")
		time.Sleep(lull - 1)
		is(true, "while more may follow")
		time.Sleep(time.Nanosecond)
		is(false, "when none has followed")
	})
}
