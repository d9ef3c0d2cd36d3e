//go:build !linux

package storetest

import "testing"

// Postgres skips the test: servers are started and watched by means of Linux.
func Postgres(t testing.TB) string {
	t.Helper()
	t.Skip("PostgreSQL is tested on Linux only")
	return ""
}
