// Package needs lets a test that drives a foreign program be skipped, by name, where that program is not installed, and
// fail instead where INFINIA_TEST_ALL is set, as it is in continuous integration. Only tests import it.
package needs

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program that the test cannot do without.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("INFINIA_TEST_ALL") != "" {
		t.Fatalf("INFINIA_TEST_ALL is set: %v", err)
	}
	t.Skip(err)
	return ""
}

// Permission skips a test that was not permitted what it cannot do without, such as to mount a disk. Who is not root is never
// expected to be.
func Permission(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, fs.ErrPermission) {
		return
	}
	if os.Getenv("INFINIA_TEST_ALL") != "" && os.Getuid() == 0 {
		t.Fatalf("INFINIA_TEST_ALL is set: %v", err)
	}
	t.Skip(err)
}
