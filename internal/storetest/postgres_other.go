//go:build !linux

package storetest

import "testing"

// newPostgres skips the test: servers are started and watched by means of Linux.
func newPostgres(t testing.TB) string {
	t.Helper()
	t.Skip("PostgreSQL is tested on Linux only")
	return ""
}

func durablePostgres(t testing.TB) string { return newPostgres(t) }
