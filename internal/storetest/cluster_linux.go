package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Cluster is a PostgreSQL server of a test's own. It is gone when the test ends, however it ends.
type Cluster struct {
	t testing.TB
	s *server
}

// Start starts a server. The settings come on top of what all servers here have.
func Start(t testing.TB, settings map[string]string) *Cluster {
	t.Helper()
	inst := installed(t)
	return startIn(t, inst, inst.dir, settings)
}

// StartIn is Start with the server's files on a disk of the test's own.
func StartIn(t testing.TB, d *Disk, settings map[string]string) *Cluster {
	t.Helper()
	return startIn(t, installed(t), d.Dir, settings)
}

func startIn(t testing.TB, inst *installation, dir string, settings map[string]string) *Cluster {
	t.Helper()
	c := newCluster(t, inst, dir)
	c.must(c.s.create(settings))
	c.must(c.s.start())
	return c
}

func newCluster(t testing.TB, inst *installation, in string) *Cluster {
	t.Helper()
	dir, err := os.MkdirTemp(in, "cluster-")
	if err != nil {
		t.Fatal(err)
	}
	if inst.as != nil {
		if err := os.Chown(dir, int(inst.as.Uid), int(inst.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := inst.newServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Removed before the watchdog is let go, so that it finds nothing to do.
		if err := errors.Join(s.kill(), os.RemoveAll(dir), s.users.Close()); err != nil {
			t.Error(err)
		}
	})
	return &Cluster{t: t, s: s}
}

// URL returns the address of a database of the server; "postgres" is there from the start.
func (c *Cluster) URL(database string) string { return c.s.url(database) }

// Exec runs statements in the database postgres.
func (c *Cluster) Exec(sql string) {
	c.t.Helper()
	c.must(c.s.exec(sql))
}

// Standby starts a second server that follows c. From here on c acknowledges a commit when the standby has it too.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	standby := newCluster(t, c.s.installation, c.s.dir)
	name := filepath.Base(filepath.Dir(standby.s.data))
	standby.must(c.s.run("pg_basebackup", "--pgdata="+standby.s.data, "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
		fmt.Sprintf("--dbname=host=127.0.0.1 port=%d user=postgres application_name=%s", c.s.port, name)))
	standby.must(standby.s.choosePort())
	// Copied from c when that had a standby before; promoted, this one would wait for a follower it does not have.
	standby.must(standby.s.configure(map[string]string{"synchronous_standby_names": ""}))
	standby.must(standby.s.start())

	c.must(c.s.configure(map[string]string{"synchronous_standby_names": `"` + name + `"`}))
	c.Exec("SELECT pg_reload_conf()")
	c.must(c.s.connect(func(ctx context.Context, conn *pgx.Conn) error {
		return wait(patience, "the standby to be synchronous", func() (sync bool, err error) {
			err = conn.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync'",
				name).Scan(&sync)
			return sync, err
		})
	}))
	return standby
}

// Kill ends all processes of the server at once, as a power failure would.
func (c *Cluster) Kill() {
	c.t.Helper()
	c.must(c.s.kill())
}

// Pause stops all processes of the server where they are, and Resume lets them go on.
func (c *Cluster) Pause() {
	c.t.Helper()
	c.must(c.s.signal(syscall.SIGSTOP))
}

func (c *Cluster) Resume() {
	c.t.Helper()
	c.must(c.s.signal(syscall.SIGCONT))
}

// Stop ends the server in order; open transactions are rolled back.
func (c *Cluster) Stop() {
	c.t.Helper()
	c.must(c.s.run("pg_ctl", "stop", "--pgdata="+c.s.data, "--mode=fast"))
}

// Restart starts the server again, under the same URL; if it is running it is stopped first.
func (c *Cluster) Restart() {
	c.t.Helper()
	if pid, _ := c.s.postmaster(); pid != 0 {
		c.Stop()
	}
	c.must(c.s.start())
}

// Promote makes a standby a server that may be written to.
func (c *Cluster) Promote() {
	c.t.Helper()
	c.must(c.s.run("pg_ctl", "promote", "--pgdata="+c.s.data))
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}
