package storetest

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// shared is this process's hold on the server that all packages under test use.
var shared struct {
	sync.Mutex
	*server // kept until the process ends, and with it the lock on its users
}

// newPostgres returns the URL of an empty database that is dropped when the test ends.
//
// `go test` runs one process for each package, several at once. The first one starts a server, the others find it, and
// a watchdog stops it once the last one has ended.
func newPostgres(t testing.TB) string {
	t.Helper()
	s := sharedServer(t)
	name := "test_" + strings.ToLower(rand.Text())
	// Without fsync it takes half the time to copy the files of a new database that it takes to log them.
	if err := s.exec("CREATE DATABASE " + name + " TEMPLATE template0 STRATEGY file_copy"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return s.url(name)
}

// durablePostgres is a server as one that has run for a while: it writes its log over old segments, where a new one has to
// make each of them first.
func durablePostgres(t testing.TB) string {
	t.Helper()
	c := Start(t, map[string]string{"fsync": "on"})
	for range 5 {
		c.Exec("SELECT pg_logical_emit_message(false, '', repeat('x', 16 << 20))")
	}
	c.Exec("CHECKPOINT")
	return c.URL("postgres")
}

func sharedServer(t testing.TB) *server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		return shared.server
	}
	inst := installed(t)
	s, err := inst.sharedServer()
	if err != nil {
		t.Fatal(err)
	}
	shared.server = s
	return s
}

func (inst *installation) sharedServer() (*server, error) {
	starting, err := lock(filepath.Join(inst.dir, "starting"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer starting.Close()

	// A watchdog that is just stopping the server holds this lock alone, so here it is waited for; from here on the
	// server is either down or stays up.
	s, err := inst.newServer(inst.dir)
	if err != nil {
		return nil, err
	}
	s.remove = s.data // the folder is kept
	if s.findRunning() {
		return s, nil
	}
	if err := s.kill(); err != nil {
		return nil, err
	}
	if err := s.create(nil); err != nil {
		return nil, err
	}
	return s, s.start()
}
