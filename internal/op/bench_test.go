package op

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"context"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// BenchmarkShares measures the ledger path alone, without RSA or HTTP: shares of many sellers against one hot platform
// account. accepted is up to the hold; settled is the whole life.
func BenchmarkShares(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for _, waiting := range []int{1, 64, 256} {
			for _, what := range []string{"accepted", "settled"} {
				b.Run(fmt.Sprintf("%s/waiting=%d", what, waiting), func(b *testing.B) { benchShares(b, database(b), waiting, what == "settled") })
			}
		}
	})
}

func benchShares(b *testing.B, database string, waiting int, settled bool) {
	const sellers = 1000
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{Database: database})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	e, err := NewEngine(ctx, db, "http://127.0.0.1", false)
	if err != nil {
		b.Fatal(err)
	}
	settings, err := json.Marshal(store.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	// Sellers and trades come straight into the tables: only what the shares do is measured.
	if err := db.Do(ctx, store.Unit{IDs: 10 + 10*sellers, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if err := q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: testApp, Settings: string(settings)}); err != nil {
			return err
		}
		if err := q.InsertAccount(ctx, pgdb.InsertAccountParams{ID: v.NextID(), AppID: testApp, Kind: "platform", Currency: "CNH", Balance: 1 << 60}); err != nil {
			return err
		}
		for i := range sellers {
			seller := fmt.Sprintf("S-%d", i)
			if err := q.InsertSeller(ctx, pgdb.InsertSellerParams{ID: v.NextID(), AppID: testApp, SellerID: seller, Status: "ACTIVE"}); err != nil {
				return err
			}
			if err := q.InsertBinding(ctx, pgdb.InsertBindingParams{ID: v.NextID(), AppID: testApp, SellerID: seller, Currency: "CNH", State: BindingSuccess, LinkHash: []byte{}}); err != nil {
				return err
			}
			if err := q.InsertAccount(ctx, pgdb.InsertAccountParams{ID: v.NextID(), AppID: testApp, Kind: "filed-shipped", SellerID: seller, Currency: "CNH", Balance: 1 << 50}); err != nil {
				return err
			}
		}
		return nil
	}}); err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	share := All[5]
	settle := func() int {
		var tasks []pgdb.Task
		if err := db.Read(ctx, func(q *pgdb.Queries) (err error) {
			tasks, err = q.ListDueTasks(ctx, pgdb.ListDueTasksParams{Queue: SettleQueue, Now: 1 << 60, Most: 256})
			return err
		}); err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(e.Settle(ctx, tasks)...); err != nil {
			b.Fatal(err)
		}
		return len(tasks)
	}
	b.ResetTimer()
	start := time.Now()
	var callers sync.WaitGroup
	for range waiting {
		callers.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				text := map[string]string{"requestNo": fmt.Sprintf("R-%d", n), "sellerId": fmt.Sprintf("S-%d", n*7919%sellers), "currency": "CNH", "amount": "0.01"}
				content := Content{}
				for k, v := range text {
					content[k] = &v
				}
				if _, err := share.Run(ctx, e, testApp, content); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	if settled {
		for left := b.N; left > 0; {
			n := settle()
			left -= n
			if n == 0 { // nothing is accepted yet
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	callers.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "shares/s")
	b.ReportMetric(0, "ns/op")
}
