// Package needs lets a test that drives a foreign program be skipped, by name, where that program is not installed, and
// fail instead where INFINIA_TEST_ALL is set, as it is in continuous integration. Only tests import it.
package needs

import (
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
