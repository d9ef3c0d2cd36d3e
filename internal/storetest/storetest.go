// Package storetest gives tests a database on each engine: a file for SQLite, and for PostgreSQL a database in a server
// that the packages under test share, or a server of a test's own that may be killed and replaced.
//
// Only tests import it. It knows the engines and nothing of package store, whose tests stand on it.
package storetest

import (
	"path/filepath"
	"testing"
)

// Each runs fn as the subtests "sqlite" and "postgres", each with an empty database of its own: the path of a file that
// does not exist yet, or a URL.
func Each(t *testing.T, fn func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { fn(t, filepath.Join(t.TempDir(), "infinia.db")) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}
