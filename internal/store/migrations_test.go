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
		TotalRows: 1, AcceptedRows: 1, ReceivedAt: 2, FinishedAt: 3}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Error(diff)
	}
}

// TestPostingsOfOlderBooksAreChained: what an earlier version has posted becomes the chain that this one would have made.
func TestPostingsOfOlderBooksAreChained(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		database := engine.New(t)
		db := open(t, database)
		b := newBooks(t, db, database)
		b.do(db, "one", "two", "three")
		b.do(db, "four")
		chains := func() (lines []string) {
			rows, err := b.side.QueryContext(t.Context(), `SELECT 'posting', id, from_before_id, to_before_id FROM posting UNION ALL SELECT kind, id, last_posting_id, 0 FROM account ORDER BY 2`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for rows.Next() {
				var what string
				var id, before, to int64
				if err := rows.Scan(&what, &id, &before, &to); err != nil {
					t.Fatal(err)
				}
				lines = append(lines, fmt.Sprint(what, id, before, to))
			}
			return lines
		}
		want := chains()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		dialect := goose.DialectSQLite3
		if engine == storetest.Postgres {
			dialect = goose.DialectPostgres
		}
		folder, err := fs.Sub(migrations, "migrations/"+string(engine))
		if err != nil {
			t.Fatal(err)
		}
		provider, err := goose.NewProvider(dialect, b.side, folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provider.DownTo(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		if engine == storetest.SQLite {
			if err := b.side.Close(); err != nil { // or the file is not whole
				t.Fatal(err)
			}
		}
		open(t, database)
		b.side = newSide(t, database)
		if diff := cmp.Diff(want, chains()); diff != "" || len(want) != 6 {
			t.Errorf("%d rows: %s", len(want), diff)
		}
	})
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
