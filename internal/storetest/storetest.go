// Package storetest gives tests a database on each engine: a file for SQLite, and for PostgreSQL a database in a server
// that the packages under test share, or a server of a test's own that may be killed and replaced.
//
// Only tests import it. It knows the engines and nothing of package store, whose tests stand on it.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Engine is a kind of database.
type Engine string

const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Each runs fn as the subtests "sqlite" and "postgres".
func Each(t *testing.T, fn func(t *testing.T, engine Engine)) {
	for _, e := range []Engine{SQLite, Postgres} {
		t.Run(string(e), func(t *testing.T) { fn(t, e) })
	}
}

// Bench runs fn as the sub-benchmarks "sqlite" and "postgres". database names an empty database at each call, whose commits
// are on disk as they are in production: PostgreSQL's in a server of its own with the settings that it comes with.
func Bench(b *testing.B, fn func(b *testing.B, database func(testing.TB) string)) {
	b.Run(string(SQLite), func(b *testing.B) { fn(b, SQLite.New) })
	b.Run(string(Postgres), func(b *testing.B) { fn(b, durablePostgres) })
}

// New names an empty database, for as long as the test runs: the path of a file that does not exist yet, or a URL.
func (e Engine) New(t testing.TB) string {
	t.Helper()
	if e == Postgres {
		return newPostgres(t)
	}
	return filepath.Join(t.TempDir(), "infinia.db")
}

// Until waits for what happens elsewhere; ok says whether it has.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if err := wait(2*time.Minute, what, func() (bool, error) { return ok(), nil }); err != nil {
		t.Fatal(err)
	}
}

func wait(most time.Duration, what string, done func() (bool, error)) error {
	deadline, again := time.After(most), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-deadline:
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
}

// Exec runs a statement on a database of New, past everything that would refuse it.
func (e Engine) Exec(t testing.TB, database, statement string) {
	t.Helper()
	if e == SQLite {
		db, err := sql.Open("sqlite", database+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
