package gate

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestLimitHoldsOverNodes: two nodes together let an app through as often as one bucket does, within what each may have drawn
// beforehand, and another app as if nothing had happened.
func TestLimitHoldsOverNodes(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres.New(t)
	var nodes []*limits
	for range 2 {
		db, err := store.Open(t.Context(), store.Config{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		nodes = append(nodes, newLimits(db, 1))
	}
	const perSecond, blocks = 200.0, 3
	const most = 5 * perSecond
	const draw = perSecond / 20 // which each of the eight may have left
	began := time.Now()
	var let atomic.Int64
	var all sync.WaitGroup
	for _, l := range nodes {
		for range 4 {
			all.Go(func() {
				for range 200 { // together many more than the bucket has
					if l.app(t.Context(), "demo", perSecond, blocks) {
						let.Add(blocks)
					}
				}
			})
		}
	}
	all.Wait()
	refilled := perSecond * time.Since(began).Seconds()
	got := float64(let.Load())
	t.Logf("let %v blocks through, of %v and %.0f that came", got, most, refilled)
	if got > most+refilled || got < most-8*draw {
		t.Errorf("let %v blocks through, want %v and up to %.0f", got, most, refilled)
	}
	for i, l := range nodes {
		if !l.app(t.Context(), fmt.Sprint("other-", i), perSecond, blocks) {
			t.Error("another app was refused")
		}
	}
}
