package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/storetest"
)

// TestPlans: the queries that run once for every row of a trade file, at every wake of the outbox, and among all rows that
// were ever filed, find their rows by an index made for them.
func TestPlans(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "books.db"))
	text := func(file, name string) string {
		b, err := os.ReadFile("queries/" + file)
		if err != nil {
			t.Fatal(err)
		}
		_, query, ok := strings.Cut(string(b), "-- name: "+name+" ")
		if !ok {
			t.Fatalf("%s has no query %s", file, name)
		}
		_, query, _ = strings.Cut(query, "\n")
		query, _, _ = strings.Cut(query, ";")
		query = regexp.MustCompile(`sqlc\.embed\((\w+)\)`).ReplaceAllString(query, "$1.*")
		return regexp.MustCompile(`sqlc\.arg\((\w+)\)`).ReplaceAllString(query, "1")
	}
	for _, c := range []struct{ file, name, want string }{
		{"trade.sql", "PageBookedRows", "r USING PRIMARY KEY (app=? AND item_key>? AND item_key<?)"},
		{"trade.sql", "PageItemsOfApp", "trade_row USING PRIMARY KEY (app=? AND item_key>?)"},
		{"trade.sql", "DeleteRowsOfRun", "trade_row USING PRIMARY KEY (app=? AND item_key>? AND item_key<?)"},
		{"trade.sql", "NextBookedNo", "trade_file USING COVERING INDEX trade_file_booked (app_id=?)"},
		{"trade.sql", "ListRowsOfItem", "r USING PRIMARY KEY (app=? AND item_key=?)"},
		{"trade.sql", "SumRowsOfItem", "r USING PRIMARY KEY (app=? AND item_key=?)"},
		{"trade.sql", "ListRowsOfIdentity", "r USING PRIMARY KEY (app=? AND item_key=? AND at=? AND returned=?)"},
		{"trade.sql", "ListFilesOfSeller", "f USING COVERING INDEX trade_file_booked (app_id=? AND booked_no=?)"},
		{"trade.sql", "ListFilesOfSeller", "f USING COVERING INDEX trade_file_booked (app_id=? AND booked_no>?)"},
		{"trade.sql", "ListFilesOfSeller", "p USING PRIMARY KEY (file_id=?)"},
		{"ledger.sql", "ListHeldSharesOf", "t USING INDEX task_queue (queue=?)"},
		{"admin.sql", "SearchPostingsOfAccount", "p USING INTEGER PRIMARY KEY (rowid=?)"},
		{"trade.sql", "PageResultFiles", "r USING PRIMARY KEY (app_id=? AND name>?)"},
		{"content.sql", "ContentInUse", "f USING COVERING INDEX trade_file_content (content_id=?)"},
		{"content.sql", "ContentInUse", "f USING COVERING INDEX trade_file_errors (errors_id=?)"},
		{"content.sql", "ContentInUse", "r USING COVERING INDEX result_file_content (content_id=?)"},
		{"content.sql", "DeleteContentChunks", "c USING COVERING INDEX sqlite_autoindex_content_chunk_1 (content_id=?)"},
		{"content.sql", "ListChunkKeys", "c USING COVERING INDEX content_chunk_key (key_id>?)"},
		{"content.sql", "ListChunksUnderKey", "content_chunk USING COVERING INDEX content_chunk_key (key_id=?)"},
		{"content.sql", "CountChunksByKey", "content_chunk USING COVERING INDEX content_chunk_key"},
		{"trade.sql", "ListFilesToErase", "trade_file USING INDEX trade_file_kept (app_id=? AND erased_at=? AND finished_at<?)"},
		{"trade.sql", "DeleteResultOfContent", "result_file USING INDEX result_file_content (content_id=?)"},
		{"outbox.sql", "ListQueues", "t USING COVERING INDEX task_queue (queue=?)"},
		{"outbox.sql", "ListDueTasks", "task USING INDEX task_queue (queue=? AND due_at<?)"},
		{"binding.sql", "ListBoundOfSellers", "b16 USING INDEX binding_seller (app_id=? AND seller_id=?)"},
		{"binding.sql", "FindBindingByLink", "binding USING INDEX binding_link (link_hash=?)"},
	} {
		rows, err := db.engine.(*sqlite).readPool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text(c.file, c.name))
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(plan, "\n"); !strings.Contains(all, c.want) || strings.Contains(all, "SCAN r") {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, all)
		}
	}
}

// TestPlansOfGroups: everything that a group looks up by key is found by an index, though the server knows of the tables only
// that they were empty, and whether it made the plan then or later.
func TestPlansOfGroups(t *testing.T) {
	db := open(t, storetest.Postgres.New(t))
	conn, err := pgx.ConnectConfig(t.Context(), db.engine.(*postgres).config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	exec := func(format string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}

	var keys Keys
	for i := range int64(100) {
		s := strconv.FormatInt(i, 10)
		keys.add(Keys{Requests: []RequestKey{{s, s, s}}, Sellers: []SellerKey{{s, s}}, Events: []SellerKey{{s, s}}, Deliveries: []int64{i}, Shares: []int64{i},
			Accounts: []AccountKey{{s, s, s, s}}, Deposits: []DepositKey{{s, s}}, Files: []int64{i}, Audits: []string{s}})
	}
	b := &pgx.Batch{}
	newView().queueLoad(b, keys)
	lookUps := []struct{ table, index string }{
		{"seller", "seller_app_id_seller_id_key"},
		{"binding", "binding_seller"},
		{"delivery", "delivery_seller"},
		{"delivery", "delivery_pkey"},
		{"share", "share_pkey"},
		{"account", "account_app_id_seller_id_currency_kind_key"},
		{"deposit", "deposit_currency_bank_reference_key"},
		{"trade_file", "trade_file_pkey"},
		{"request", "request_app_id_operation_request_no_key"},
		{"audit", "audit_reference_key"},
	}
	if len(b.QueuedQueries) != len(lookUps) {
		t.Fatalf("%d queries are queued, want %d", len(b.QueuedQueries), len(lookUps))
	}

	// plan has the server plan a query as it does for a group: as a prepared statement, whose plan it may keep.
	plan := func(when string, i int) string {
		t.Helper()
		q := b.QueuedQueries[i]
		name := fmt.Sprintf("%s_%d", when, i)
		if _, err := conn.Prepare(t.Context(), name, q.SQL); err != nil {
			t.Fatal(err)
		}
		var places []string
		for n := range q.Arguments {
			places = append(places, fmt.Sprintf("$%d", n+1))
		}
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE "+name+" ("+strings.Join(places, ", ")+")", append([]any{pgx.QueryExecModeSimpleProtocol}, q.Arguments...)...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	for _, l := range lookUps {
		exec("ALTER TABLE %s SET (autovacuum_enabled = off)", l.table) // else the server may have a second look
		exec("ANALYZE %s", l.table)
	}
	for i := range lookUps {
		plan("early", i)
	}
	filled := map[string]bool{}
	for _, l := range lookUps {
		if filled[l.table] {
			continue
		}
		filled[l.table] = true
		var values string
		if err := conn.QueryRow(t.Context(), `SELECT string_agg(CASE data_type WHEN 'bigint' THEN 'n' WHEN 'text' THEN 'n::text' ELSE '''''' END, ', ' ORDER BY ordinal_position)
			FROM information_schema.columns WHERE table_name = $1`, l.table).Scan(&values); err != nil {
			t.Fatal(err)
		}
		exec("INSERT INTO %s SELECT %s FROM generate_series(1, 5000) n", l.table, values)
	}
	for i, l := range lookUps {
		early, late := plan("early", i), plan("late", i)
		for _, p := range []string{early, late} {
			if strings.Contains(p, "Seq Scan") || !strings.Contains(p, "Index Cond: (") {
				t.Errorf("%s is not looked up by an index: %s\n%s", l.table, b.QueuedQueries[i].SQL, p)
			}
		}
		// Of an empty table all indexes look alike.
		if !strings.Contains(late, " "+l.index+" ") {
			t.Errorf("%s: want %s in\n%s", l.table, l.index, late)
		}
	}
}
