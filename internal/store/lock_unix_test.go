//go:build unix

package store

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

func TestLockFault(t *testing.T) {
	for fault, want := range map[error]string{
		syscall.EWOULDBLOCK: "another process has it open",
		syscall.ENOLCK:      "a disk of this machine",
		syscall.EROFS:       "writes in this folder",
		syscall.EACCES:      "writes in this folder",
	} {
		if err := lockFault(&fs.PathError{Op: "open", Path: "x", Err: fault}); !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", fault, err)
		}
	}
}
