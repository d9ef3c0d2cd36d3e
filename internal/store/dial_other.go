//go:build !linux

package store

import "syscall"

// boundUnanswered does nothing where the system has no such limit.
func boundUnanswered(string, string, syscall.RawConn) error { return nil }
