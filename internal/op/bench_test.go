package op

import (
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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

const benchSellers = 10_000

func benchShares(b *testing.B, database string, waiting int, settled bool) {
	ctx := context.Background()
	db, e := benchEngine(b, database)
	defer db.Close()
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
				text := map[string]string{"requestNo": fmt.Sprintf("R-%d", n), "sellerId": fmt.Sprintf("S-%d", n*7919%benchSellers), "currency": "CNH", "amount": "0.01"}
				content := Content{}
				for k, v := range text {
					content[k] = &v
				}
				if _, err := share.Run(ctx, e, pgdb.App{AppID: testApp}, content); err != nil {
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

// benchEngine is an engine over books with an app and its sellers, who come straight into the tables: only what the shares
// do is measured.
func benchEngine(b *testing.B, database string) (*store.DB, *Engine) {
	b.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, store.Config{Database: database})
	if err != nil {
		b.Fatal(err)
	}
	e, err := NewEngine(ctx, db, "http://127.0.0.1", false)
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Read(ctx, func(q *pgdb.Queries) error { _, err := q.GetApp(ctx, testApp); return err }); err == nil {
		return db, e // they are there already
	}
	settings, err := json.Marshal(store.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Do(ctx, store.Unit{IDs: 10 + 10*benchSellers, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		if err := q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: testApp, Settings: string(settings)}); err != nil {
			return err
		}
		account := func(kind, seller string, balance int64) {
			v.Accounts.Put(store.AccountKey{AppID: testApp, Kind: kind, SellerID: seller, Currency: "CNH"},
				pgdb.Account{ID: v.NextID(), AppID: testApp, Kind: kind, SellerID: seller, Currency: "CNH", Balance: balance})
		}
		account("platform", "", 1<<60)
		for i := range benchSellers {
			seller := fmt.Sprintf("S-%d", i)
			v.Sellers.Put(store.SellerKey{AppID: testApp, SellerID: seller}, pgdb.Seller{ID: v.NextID(), AppID: testApp, SellerID: seller, Status: "ACTIVE"})
			b := pgdb.Binding{ID: v.NextID(), AppID: testApp, SellerID: seller, Currency: "CNH", State: BindingSuccess, LinkHash: []byte{}}
			v.Bindings.Put(b.ID, b)
			account("filed-shipped", seller, 1<<50)
			account("used", seller, 0)
			account("seller", seller, 0)
			account("evidence", seller, -1<<50)
		}
		return nil
	}}); err != nil {
		b.Fatal(err)
	}
	return db, e
}

// BenchmarkPlainShares is what the others are held against: the same rows on PostgreSQL in the usual shape, one transaction a
// share, with the platform's account locked in it.
func BenchmarkPlainShares(b *testing.B) {
	for _, connections := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			ctx := context.Background()
			var database string
			storetest.Bench(b, func(b *testing.B, named func(testing.TB) string) {
				if database = named(b); !store.IsPostgres(database) {
					b.Skip("SQLite has one writer")
				}
				db, _ := benchEngine(b, database)
				defer db.Close()
				cfg, err := pgxpool.ParseConfig(database)
				if err != nil {
					b.Fatal(err)
				}
				cfg.MaxConns = int32(connections)
				pool, err := pgxpool.NewWithConfig(ctx, cfg)
				if err != nil {
					b.Fatal(err)
				}
				defer pool.Close()
				var next atomic.Int64
				b.ResetTimer()
				var callers sync.WaitGroup
				for range connections {
					callers.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							if err := plainShare(ctx, pool, n); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				callers.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shares/s")
				b.ReportMetric(0, "ns/op")
			})
		})
	}
}

func plainShare(ctx context.Context, pool *pgxpool.Pool, n int64) error {
	seller := fmt.Sprintf("S-%d", n*7919%benchSellers)
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var platform, no, balance int64
		id := 1<<40 + 4*n
		if err := tx.QueryRow(ctx, `UPDATE account SET balance = balance - 1, last_no = last_no + 1, last_posting_id = $2 WHERE app_id = $1 AND seller_id = '' AND currency = 'CNH'
			AND kind = 'platform' AND balance - held >= 1 RETURNING id, last_no, balance`, testApp, id+1).Scan(&platform, &no, &balance); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `UPDATE account SET balance = balance + CASE kind WHEN 'evidence' THEN -1 ELSE 1 END, last_no = last_no + 1, last_posting_id = $3
			WHERE app_id = $1 AND seller_id = $2 AND currency = 'CNH' AND kind IN ('seller', 'used', 'evidence') RETURNING id, kind, last_no, balance`, testApp, seller, id+2)
		if err != nil {
			return err
		}
		type side struct{ id, no, balance int64 }
		sides := map[string]side{}
		for rows.Next() {
			var kind string
			var s side
			if err := rows.Scan(&s.id, &kind, &s.no, &s.balance); err != nil {
				return err
			}
			sides[kind] = s
		}
		if rows.Err() != nil {
			return rows.Err()
		}
		if _, err := tx.Exec(ctx, `INSERT INTO request (id, app_id, operation, request_no, field_hashes, code, fields, record_id, at)
			VALUES ($1, $2, 'revenue-sharing/request', $3, $4, '', '', $1, 1)`, id, testApp, fmt.Sprintf("R-%d", n), make([]byte, 40)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO share (id, app_id, request_no, seller_id, currency, amount, note, binding_id, state, fail_code, allowed, committed, cap, day, accepted_at, finished_at)
			VALUES ($1, $2, $3, $4, 'CNH', 1, '', 1, 'SETTLED', '', 1, 1, 10000, 1, 1, 1)`, id, testApp, fmt.Sprintf("R-%d", n), seller); err != nil {
			return err
		}
		const posting = `INSERT INTO posting (id, purpose, record_id, amount, from_id, from_no, from_balance, to_id, to_no, to_balance, at, from_before_id, to_before_id) VALUES ($1, 'share', $2, 1, $3, $4, $5, $6, $7, $8, 1, 1, 1)`
		if _, err := tx.Exec(ctx, posting, id+1, id, platform, no, balance, sides["seller"].id, sides["seller"].no, sides["seller"].balance); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, posting, id+2, id, sides["evidence"].id, sides["evidence"].no, sides["evidence"].balance, sides["used"].id, sides["used"].no, sides["used"].balance)
		return err
	})
}

// BenchmarkBareShares is what the settled shares on SQLite are held against: the same rows in the same groups of 256 by
// prepared statements alone, nothing read, judged or answered.
func BenchmarkBareShares(b *testing.B) {
	database := storetest.SQLite.New(b)
	books, _ := benchEngine(b, database)
	if err := books.Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+database+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-65536)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ids := map[string]int64{} // of the accounts
	rows, err := db.Query("SELECT kind || seller_id, id FROM account")
	must(err)
	for rows.Next() {
		var name string
		var id int64
		must(rows.Scan(&name, &id))
		ids[name] = id
	}
	must(errors.Join(rows.Err(), rows.Close()))
	prepare := func(query string) *sql.Stmt {
		st, err := db.Prepare(query)
		must(err)
		return st
	}
	begin, commit := prepare("BEGIN IMMEDIATE"), prepare("COMMIT")
	request := prepare("INSERT INTO request (id, app_id, operation, request_no, field_hashes, code, fields, record_id, at) VALUES (?, 'demo', 'revenue-sharing/request', ?, ?, '', '', ?, 1)")
	share := prepare("INSERT INTO share (id, app_id, request_no, seller_id, currency, amount, note, binding_id, state, fail_code, allowed, committed, cap, day, accepted_at, finished_at) VALUES (?, 'demo', ?, ?, 'CNH', 1, '', 1, 'HELD', '', 1, 1, 10000, 1, 1, 0)")
	ended := prepare("UPDATE share SET state = 'SETTLED', fail_code = '', finished_at = 1 WHERE id = ?")
	account := prepare("UPDATE account SET balance = ?, held = ?, last_no = ?, last_at = 1, day = 1, day_amount = ?, last_posting_id = 1 WHERE id = ?")
	posting := prepare("INSERT INTO posting (id, purpose, record_id, amount, from_id, from_no, from_balance, to_id, to_no, to_balance, at, from_before_id, to_before_id) VALUES (?, 'share', ?, 1, ?, ?, 1, ?, ?, 1, 1, 1, 1)")
	task, done := prepare("INSERT INTO task (id, queue, record_id, due_at) VALUES (?, 'settle', ?, 1)"), prepare("DELETE FROM task WHERE id = ?")
	run := func(st *sql.Stmt, args ...any) {
		_, err := st.Exec(args...)
		must(err)
	}
	b.ResetTimer()
	for first := 0; first < b.N; first += 256 {
		last := min(first+256, b.N)
		id := func(n, which int) int64 { return 1<<40 + 8*int64(n) + int64(which) }
		run(begin)
		for n := first; n < last; n++ {
			seller, no := fmt.Sprintf("S-%d", n*7919%benchSellers), fmt.Sprintf("R-%d", n)
			run(request, id(n, 0), no, make([]byte, 40), id(n, 1))
			run(share, id(n, 1), no, seller)
			run(account, 0, 1, n/benchSellers, n, ids["used"+seller])
			run(task, id(n, 2), id(n, 1))
		}
		run(account, 1<<59, 256, first, 0, ids["platform"])
		run(commit)
		run(begin)
		for n := first; n < last; n++ {
			seller, no := fmt.Sprintf("S-%d", n*7919%benchSellers), n/benchSellers+1
			run(ended, id(n, 1))
			for _, kind := range []string{"used", "seller", "evidence"} {
				run(account, n, 0, no, n, ids[kind+seller])
			}
			run(posting, id(n, 3), id(n, 1), ids["platform"], n+1, ids["seller"+seller], no)
			run(posting, id(n, 4), id(n, 1), ids["evidence"+seller], no, ids["used"+seller], no)
			run(done, id(n, 2))
		}
		run(account, 1<<59, 0, last, 0, ids["platform"])
		run(commit)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "shares/s")
	b.ReportMetric(0, "ns/op")
}

var fullPostings = flag.Int("postings", 1_000_000, "in the books of BenchmarkFullBooks")

// BenchmarkFullBooks compares the cost of a share in fresh books with that in books which have a great many postings, shares
// and requests already.
func BenchmarkFullBooks(b *testing.B) {
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for _, postings := range []int{0, *fullPostings} {
			b.Run(fmt.Sprintf("postings=%d", postings), func(b *testing.B) {
				name, engine := database(b), storetest.SQLite
				if store.IsPostgres(name) {
					engine = storetest.Postgres
				}
				db, _ := benchEngine(b, name)
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				fill(b, engine, name, postings)
				if engine == storetest.Postgres { // or the fill is still being written beside the shares
					engine.Exec(b, name, "CHECKPOINT")
				}
				syscall.Sync()
				benchShares(b, name, 256, true)
			})
		}
	})
}

// fill writes what settled shares of all sellers have left, two postings a share, seller by seller.
func fill(b *testing.B, engine storetest.Engine, database string, postings int) {
	if postings == 0 {
		return
	}
	shares := postings / 2
	each := (shares + benchSellers - 1) / benchSellers
	series, blob, number := fmt.Sprintf("WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < %d) ", shares-1), "blob", "substr('000000000' || n.n, -9)"
	if engine == storetest.Postgres {
		series, blob, number = fmt.Sprintf("WITH n(n) AS (SELECT generate_series(0, %d)) ", shares-1), "bytea", "right('000000000' || n.n, 9)"
		engine.Exec(b, database, "ANALYZE account") // or it would be read again for every row
	}
	posting := func(first int, from, fromNo, to, toNo string) string {
		return fmt.Sprintf("INSERT INTO posting (id, purpose, record_id, amount, from_id, from_no, from_balance, to_id, to_no, to_balance, at, from_before_id, to_before_id) "+
			"SELECT %[1]d + n.n, 'share', 2000000000000 + n.n, 1, a.id, %[2]s, 1, b.id, %[3]s, 1, 1, %[1]d + n.n - 1, %[1]d + n.n - 1 FROM n CROSS JOIN account a CROSS JOIN account b WHERE %[4]s AND %[5]s",
			first, fromNo, toNo, from, to)
	}
	platform := "a.app_id = 'demo' AND a.seller_id = '' AND a.currency = 'CNH' AND a.kind = 'platform'"
	whose, no := fmt.Sprintf("'S-' || (n.n / %d)", each), fmt.Sprintf("n.n %% %d + 1", each)
	seller := func(account, kind string) string {
		return fmt.Sprintf("%[1]s.app_id = 'demo' AND %[1]s.seller_id = %[2]s AND %[1]s.currency = 'CNH' AND %[1]s.kind = '%[3]s'", account, whose, kind)
	}
	for _, statement := range []string{
		"INSERT INTO request (id, app_id, operation, request_no, field_hashes, code, fields, record_id, at) SELECT 1000000000000 + n.n, 'demo', 'revenue-sharing/request', 'OLD-' || " + number +
			", CAST('0123456789012345678901234567890123456789' AS " + blob + "), '', '', 2000000000000 + n.n, 1 FROM n",
		"INSERT INTO share (id, app_id, request_no, seller_id, currency, amount, note, binding_id, state, fail_code, allowed, committed, cap, day, accepted_at, finished_at) " +
			"SELECT 2000000000000 + n.n, 'demo', 'OLD-' || " + number + ", " + whose + ", 'CNH', 1, '', 1, 'SETTLED', '', 1, 1, 10000, 1, 1, 1 FROM n",
		posting(3000000000000, platform, "n.n + 1", seller("b", "seller"), no),
		posting(4000000000000, seller("a", "evidence"), no, seller("b", "used"), no),
	} {
		engine.Exec(b, database, series+statement)
	}
	engine.Exec(b, database, fmt.Sprintf("UPDATE account SET last_no = CASE kind WHEN 'platform' THEN %d ELSE %d END WHERE kind IN ('platform', 'seller', 'used', 'evidence')", shares, each))
	if engine == storetest.Postgres {
		engine.Exec(b, database, "VACUUM ANALYZE")
	}
}
