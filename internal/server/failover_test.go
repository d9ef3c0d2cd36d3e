//go:build linux

package server

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestFailover kills the primary database server under two nodes and puts its standby in its place, and then kills one of the
// nodes. The callers see answers that do not come or tell them to try again, and repeat what they asked for under the same
// number. What was acknowledged is there, everything acted once, and the node that is left ends what the other had begun.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := storetest.Start(t, nil)
	standby := primary.Standby(t)
	database := must(url.Parse(primary.URL("postgres")))(t)
	database.Host += "," + must(url.Parse(standby.URL("postgres")))(t).Host

	cfg := testConfig(t, storetest.SQLite, store.Settings{SettleDelayMillis: 200})
	cfg.Database = database.String()
	folders := []string{cfg.Data, t.TempDir()}
	r := startConfig(t, cfg)
	r.fund("1000000.00", "1000000.00")
	r.stop()
	if err := os.CopyFS(filepath.Join(folders[1], "keys"), os.DirFS(filepath.Join(folders[0], "keys"))); err != nil {
		t.Fatal(err)
	}
	first, _ := startElsewhere(t, folders[0], database.String())
	second, killSecond := startElsewhere(t, folders[1], database.String())

	l := startFailoverLoad(t, first, second)
	l.await(40)
	primary.Kill()
	killed := time.Now()
	standby.Promote()
	promoted := time.Since(killed)
	l.await(40)
	killSecond()
	l.await(20)
	close(l.stop)
	l.callers.Wait()

	last, next := l.gap(killed)
	t.Logf("%d acknowledged, %d tries that were open or told to try again, %d given up; the standby was promoted after %s; no share was acknowledged for %s, until %s after the primary was killed",
		len(l.acknowledged), l.repeated, len(l.open), promoted.Round(time.Millisecond), next.Sub(last).Round(time.Millisecond), next.Sub(killed).Round(time.Millisecond))
	first.allEnded()
	found := map[string]int{}
	for _, s := range first.shares() {
		found[s.RequestNo]++
		equal(t, s.RequestNo, s.State, "SETTLED")
	}
	for _, no := range l.acknowledged {
		equal(t, "number of shares under "+no, found[no], 1)
	}
	stand := len(l.acknowledged)
	for _, no := range l.open {
		stand += found[no]
		if found[no] > 1 {
			t.Errorf("%s, of which nothing is known, acted %d times", no, found[no])
		}
	}
	equal(t, "number of shares", len(first.shares()), stand)
	equal(t, "balance", first.balance(), fmt.Sprintf("%d.00 0.00", 1000000-stand))
	equal(t, "available", first.available(), fmt.Sprintf("%d.00 1000000.00 %d.00 0.00 0.00", 1000000-stand, stand))
	first.verify()
}

// failoverLoad is what several callers at once have asked of either node.
type failoverLoad struct {
	load
	times    []time.Time // guarded by mu; of the acknowledgements
	repeated int         // guarded by mu; tries without an outcome
	stop     chan struct{}
	callers  sync.WaitGroup
	t        *testing.T
}

// startFailoverLoad has callers share one unit each, again and again, each at the node that answered it last. One in five
// shares is given up when its outcome is open; the others are repeated until they are answered.
func startFailoverLoad(t *testing.T, nodes ...*rig) *failoverLoad {
	t.Helper()
	l := &failoverLoad{stop: make(chan struct{}), t: t}
	for caller := range 8 {
		l.callers.Go(func() {
			node := caller
			for n := 0; ; n++ {
				no := fmt.Sprintf("RSR-%d-%d", caller, n)
				for answered := false; !answered; {
					_, err := nodes[node%len(nodes)].Client.RevenueSharing(t.Context(), infinia.RevenueSharingRequest{RequestNo: no, SellerID: seller, Currency: currency, Amount: "1.00"})
					answered = err == nil || n%5 == 4
					l.note(no, err, answered)
					if err != nil {
						node++
					}
					if err != nil && !errors.Is(err, infinia.ErrOutcomeUnknown) {
						t.Errorf("%s: %v, which does not say that the outcome is unknown", no, err)
						return
					}
				}
				select {
				case <-l.stop:
					return
				default:
				}
			}
		})
	}
	return l
}

func (l *failoverLoad) note(no string, err error, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acknowledged = append(l.acknowledged, no)
		l.times = append(l.times, time.Now())
		return
	case last:
		l.open = append(l.open, no)
	}
	l.repeated++
}

// await waits for so many more acknowledgements.
func (l *failoverLoad) await(more int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acknowledged)
	}
	had := count()
	storetest.Until(l.t, "shares to be acknowledged", func() bool { return count() >= had+more })
}

// gap is the longest time without an acknowledgement that ended after a moment.
func (l *failoverLoad) gap(after time.Time) (last, next time.Time) {
	slices.SortFunc(l.times, time.Time.Compare)
	for i, at := range l.times[1:] {
		if at.After(after) && at.Sub(l.times[i]) > next.Sub(last) {
			last, next = l.times[i], at
		}
	}
	return last, next
}
