//go:build linux

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestMigrationsAgree: both engines have the same migrations, and they make the same tables, columns and indexes. Only what
// ids are drawn from differs, and what one node keeps in memory where several have it in the database.
func TestMigrationsAgree(t *testing.T) {
	names := map[storetest.Engine][]string{}
	shapes := map[storetest.Engine][]string{}
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		files, err := fs.Glob(migrations, "migrations/"+string(engine)+"/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatal("no migrations", err)
		}
		for _, f := range files {
			names[engine] = append(names[engine], filepath.Base(f))
		}
		db := open(t, engine.New(t))
		var rows interface {
			Next() bool
			Scan(...any) error
			Err() error
		}
		if s, ok := db.engine.(*sqlite); ok {
			rows, err = s.readPool.QueryContext(t.Context(), `SELECT m.name || ' ' || c.name || ' ' || lower(c.type) FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'
				UNION ALL SELECT m.name || ' ' || CASE WHEN i."unique" THEN 'unique' ELSE 'index' END || (SELECT group_concat(x.name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno) x)
					FROM sqlite_schema m, pragma_index_list(m.name) i WHERE m.type = 'table'
				UNION ALL SELECT m.name || ' unique' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
					WHERE m.type = 'table' AND c.pk = 1 AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) i WHERE i.origin = 'pk') ORDER BY 1`)
		} else {
			rows, err = db.engine.(*postgres).pool.Query(t.Context(), `SELECT table_name || ' ' || column_name || ' ' || CASE data_type WHEN 'bigint' THEN 'integer' WHEN 'bytea' THEN 'blob' ELSE data_type END
					FROM information_schema.columns WHERE table_schema = 'public'
				UNION ALL SELECT c.relname || ' ' || CASE WHEN i.indisunique THEN 'unique' ELSE 'index' END ||
					(SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum)
					FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1`)
		}
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			if table, _, _ := strings.Cut(line, " "); !slices.Contains([]string{"goose_db_version", "sqlite_sequence", "id_block", "bucket"}, table) {
				shapes[engine] = append(shapes[engine], line)
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		slices.Sort(shapes[engine])
	})
	if len(shapes) < 2 {
		t.Skip("without PostgreSQL there is nothing to compare")
	}
	if diff := cmp.Diff(names[storetest.Postgres], names[storetest.SQLite]); diff != "" {
		t.Errorf("migrations of PostgreSQL (-) and SQLite (+):\n%s", diff)
	}
	if diff := cmp.Diff(shapes[storetest.Postgres], shapes[storetest.SQLite]); diff != "" {
		t.Errorf("PostgreSQL (-) and SQLite (+):\n%s", diff)
	}
}

// TestOlderDatabaseIsMigrated: a file whose upload an earlier version kept in a folder stays, and refers to no content.
func TestOlderDatabaseIsMigrated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, old, folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	_, err = old.ExecContext(t.Context(), "INSERT INTO trade_file VALUES (7, 'demo', 'T-1', 1, 'SUCCESS', 'ab', 5, '/data/kept/ab.csv', 'S1', 'CNH', 1, 1, 0, '', '', 2, 3)")
	if err := errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Config{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var is pgdb.TradeFile
	if err := db.Read(t.Context(), func(q *pgdb.Queries) (err error) { is, err = q.GetTradeFile(t.Context(), 7); return err }); err != nil {
		t.Fatal(err)
	}
	want := pgdb.TradeFile{ID: 7, AppID: "demo", RequestNo: "T-1", Attempt: 1, State: "SUCCESS", SHA256: "ab", Size: 5, SellerID: "S1", Currency: "CNH",
		TotalRows: 1, AcceptedRows: 1, ReceivedAt: 2, FinishedAt: 3, RunID: 7, BookedNo: 1}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Error(diff)
	}
}

// TestPostingsOfOlderBooksAreChained: what an earlier version has posted becomes the chain that this one would have made, and
// of the rows that it wrote those remain that count.
func TestPostingsOfOlderBooksAreChained(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		database := engine.New(t)
		side, dialect := newSide(t, database), goose.DialectSQLite3
		if engine == storetest.Postgres {
			dialect = goose.DialectPostgres
		}
		folder, err := fs.Sub(migrations, "migrations/"+string(engine))
		if err != nil {
			t.Fatal(err)
		}
		provider, err := goose.NewProvider(dialect, side, folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provider.UpTo(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		for _, statement := range []string{
			// Three accounts; 10 and 11 move something to and fro, and 11 to 12.
			"INSERT INTO account SELECT n, 'demo', 'kind' || n, '', 'CNH', 0, 0, n - 9, 5, 0, 0 FROM (SELECT 12 AS n UNION SELECT 10) AS numbers",
			"INSERT INTO account VALUES (11, 'demo', 'kind11', '', 'CNH', 0, 0, 4, 5, 0, 0), (13, 'demo', 'unused', '', 'CNH', 0, 0, 0, 0, 0, 0)",
			"UPDATE account SET last_no = 3 WHERE id = 10",
			"UPDATE account SET last_no = 1 WHERE id = 12",
			"INSERT INTO posting VALUES (101, 'deposit', 1, 5, 10, 1, -5, 11, 1, 5, 1), (90, 'deposit', 1, 5, 11, 2, 0, 10, 2, 0, 2)",
			"INSERT INTO posting VALUES (300, 'deposit', 1, 5, 11, 3, -5, 12, 1, 5, 3), (95, 'deposit', 1, 5, 10, 3, -5, 11, 4, 0, 4)",
			// Three files: accepted one after the other, though not in the order of their ids, and failed.
			"INSERT INTO trade_file VALUES (52, 'demo', 'T-1', 1, 'SUCCESS', '', 1, 'S1', 'CNH', 1, 1, 0, '', '', 1, 10, 0, 0)",
			"INSERT INTO trade_file VALUES (51, 'demo', 'T-2', 1, 'PARTIAL', '', 1, '', '', 3, 2, 1, '', '', 1, 20, 0, 0)",
			"INSERT INTO trade_file VALUES (53, 'demo', 'T-3', 1, 'FAILED', '', 1, '', '', 1, 0, 1, '', '', 1, 30, 0, 0)",
			"INSERT INTO trade_part VALUES (52, 'S1', 'CNH', 1, 1, 0), (51, 'S2', 'CNH', 1, 1, 0), (51, 'S1', 'USD', 2, 1, 1), (53, 'S1', 'CNH', 1, 0, 1)",
			"INSERT INTO trade_row VALUES " + oldRow(engine, 1, 52, "S1", "CNH", 7) + ", " + oldRow(engine, 2, 51, "S2", "CNH", 8) + ", " + oldRow(engine, 3, 51, "S1", "USD", -9) + ", " + oldRow(engine, 4, 53, "S1", "CNH", 6),
		} {
			if _, err := side.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		if err := side.Close(); err != nil { // or the file is not whole
			t.Fatal(err)
		}
		open(t, database)
		rows, err := newSide(t, database).QueryContext(t.Context(), `SELECT 'posting', id, from_before_id, to_before_id FROM posting UNION ALL SELECT 'account', id, last_posting_id, 0 FROM account
			UNION ALL SELECT 'file', id, run_id, booked_no FROM trade_file UNION ALL SELECT 'row of ' || p.seller_id || ' ' || p.currency, r.amount, r.run_id, r.returned
				FROM trade_row r JOIN trade_part p ON p.file_id = r.run_id AND p.no = r.part ORDER BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var is []string
		for rows.Next() {
			var what string
			var id, a, b int64
			if err := rows.Scan(&what, &id, &a, &b); err != nil {
				t.Fatal(err)
			}
			is = append(is, fmt.Sprintf("%s %d: %d %d", what, id, a, b))
		}
		slices.Sort(is)
		want := []string{"account 10: 95 0", "account 11: 95 0", "account 12: 300 0", "account 13: 0 0",
			"file 51: 51 2", "file 52: 52 1", "file 53: 0 0",
			"posting 101: 0 0", "posting 300: 90 0", "posting 90: 101 101", "posting 95: 90 300",
			"row of S1 CNH 7: 52 0", "row of S1 USD -9: 51 1", "row of S2 CNH 8: 51 0"}
		if diff := cmp.Diff(want, is); diff != "" {
			t.Error(diff)
		}
	})
}

func oldRow(engine storetest.Engine, key, file int, seller, currency string, amount int) string {
	hash := fmt.Sprintf("x'%032d'", key)
	if engine == storetest.Postgres {
		hash = fmt.Sprintf(`'\x%032d'`, key)
	}
	return fmt.Sprintf("(1, %s, %d, %s, '%s', '%s', %d, 1, 1, 0, 2, 100, 50)", hash, file, hash, seller, currency, amount)
}

// TestLaterSchema: a node works over the tables of a later version, which has more columns and migrations, so that nodes can
// be brought up to date one after the other.
func TestLaterSchema(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		database := engine.New(t)
		db := open(t, database)
		later := []string{"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)"}
		for _, table := range []string{"app", "request", "seller", "binding", "account", "posting", "share", "deposit", "trade_file", "delivery", "task", "audit", "call"} {
			later = append(later, "ALTER TABLE "+table+" ADD COLUMN later bigint NOT NULL DEFAULT 7")
		}
		for _, statement := range later {
			var err error
			if s, ok := db.engine.(*sqlite); ok {
				statement = strings.ReplaceAll(statement, "bigint", "integer")
				err = db.Do(t.Context(), Unit{Alone: func(ctx context.Context, _ *View, _ *pgdb.Queries) error {
					_, err := s.writer.ExecContext(ctx, statement)
					return err
				}})
			} else {
				_, err = db.engine.(*postgres).pool.Exec(t.Context(), statement)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, database)
		random := rand.New(rand.NewPCG(3, 4))
		for range 20 {
			u := randomUnit(random)
			if err := db.Do(t.Context(), u); err != nil && err.Error() != "no" {
				t.Fatal(err)
			}
		}
		if len(sellers(t, db)) == 0 {
			t.Error("nothing was written")
		}
	})
}
