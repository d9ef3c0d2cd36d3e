//go:build linux

package storetest

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"
)

// oldest is the oldest major version of PostgreSQL that is supported.
const oldest = 15

func TestVersion(t *testing.T) {
	var version int
	query(t, Postgres.New(t), "SELECT current_setting('server_version_num')::int / 10000", &version)
	if version < oldest {
		t.Errorf("PostgreSQL %d, want at least %d", version, oldest)
	}
}

func TestEachIsEmptyAndUsable(t *testing.T) {
	installed(t)
	engines := 0
	for range 2 {
		Each(t, func(t *testing.T, engine Engine) {
			database := engine.New(t)
			engines++
			if strings.HasPrefix(database, "postgres://") {
				// Fails where there is one.
				if _, err := connect(t, database).Exec(t.Context(), "CREATE TABLE t (a int)"); err != nil {
					t.Error(err)
				}
				return
			}
			db, err := sql.Open("sqlite", database)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("CREATE TABLE t (a int)"); err != nil {
				t.Error(err)
			}
		})
	}
	if engines != 4 {
		t.Errorf("%d databases, want 4", engines)
	}
}

func TestDatabaseIsDropped(t *testing.T) {
	var database string
	t.Run("", func(t *testing.T) { database = Postgres.New(t) })
	if _, err := pgx.Connect(t.Context(), database); err == nil || !strings.Contains(err.Error(), "3D000") {
		t.Errorf("a database after its test: %v", err)
	}
}

func TestStandbyKeepsWhatWasAcknowledged(t *testing.T) {
	primary := Start(t, map[string]string{"cluster_name": "it's mine"})
	var name string
	if query(t, primary.URL("postgres"), "SHOW cluster_name", &name); name != "it's mine" {
		t.Errorf("the setting is %q", name)
	}
	primary.Exec("CREATE TABLE t (a int)")
	primary.Standby(t).Stop()
	standby := primary.Standby(t) // a second one; the copy does not wait for the first

	stopped := make(chan int)
	go func() { // until the primary dies in the middle
		conn, err := pgx.Connect(context.Background(), primary.URL("postgres"))
		acknowledged := 0
		for err == nil {
			if _, err = conn.Exec(context.Background(), "INSERT INTO t VALUES (1)"); err == nil {
				acknowledged++
			}
		}
		stopped <- acknowledged
	}()
	var rows int
	Until(t, "rows", func() bool {
		query(t, standby.URL("postgres"), "SELECT count(*) FROM t", &rows)
		return rows > 100
	})
	primary.Kill()
	acknowledged := <-stopped
	standby.Promote()
	query(t, standby.URL("postgres"), "SELECT count(*) FROM t", &rows)
	if rows < acknowledged || acknowledged < 100 {
		t.Errorf("%d rows, %d were acknowledged", rows, acknowledged)
	}
	standby.Exec("INSERT INTO t VALUES (2)")
	standby.Restart()
	query(t, standby.URL("postgres"), "SELECT count(*) FROM t WHERE a = 2", &rows)
	if rows != 1 {
		t.Errorf("%d rows after a restart, want 1", rows)
	}
	standby.Kill()
	standby.Restart()
	query(t, standby.URL("postgres"), "SELECT count(*) FROM t WHERE a = 2", &rows)
	if rows != 1 {
		t.Errorf("%d rows after a crash, want 1", rows)
	}
}

func TestProcessesShareOneServer(t *testing.T) {
	installed(t)
	t.Setenv("TMPDIR", publicDir(t))
	first, second, third := startProcess(t, "shared"), startProcess(t, "shared"), startProcess(t, "shared")
	server := first.server()
	if server != second.server() || server != third.server() {
		t.Fatal("the processes have different servers")
	}
	first.end()
	second.kill()
	if !running(server) {
		t.Fatal("the server is gone while a process uses it")
	}
	third.kill()
	fourth := startProcess(t, "shared") // comes when the last one goes: this server or the next, but one that stays
	next := fourth.server()
	fourth.end()
	gone(t, server)
	gone(t, next)
}

func TestClusterEndsWithItsProcess(t *testing.T) {
	installed(t)
	dir := publicDir(t)
	t.Setenv("TMPDIR", dir)
	p := startProcess(t, "own")
	server := p.server()
	p.kill()
	gone(t, server)
	Until(t, "its folder to be removed", func() bool {
		left, err := filepath.Glob(filepath.Join(dir, "*", "*", "cluster-*"))
		return err == nil && len(left) == 0
	})
}

const childMode = "STORETEST_CHILD"

// TestChild is what the processes of the tests above run: it tells the server's process id and waits to be ended.
func TestChild(t *testing.T) {
	var database string
	switch os.Getenv(childMode) {
	case "":
		return
	case "shared":
		database = Postgres.New(t)
	case "own":
		database = Start(t, nil).URL("postgres")
	}
	var pid string
	query(t, database, `SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)`, &pid)
	fmt.Println("server", pid)
	io.Copy(io.Discard, os.Stdin)
}

type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

func startProcess(t *testing.T, mode string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, stdin, bufio.NewScanner(stdout)}
	t.Cleanup(p.kill)
	return p
}

// server returns the process id of the server that the process uses.
func (p *process) server() int {
	p.t.Helper()
	var output []string
	for p.lines.Scan() {
		if pid, ok := strings.CutPrefix(p.lines.Text(), "server "); ok {
			id, _ := strconv.Atoi(pid)
			return id
		}
		output = append(output, p.lines.Text())
	}
	p.t.Fatal(strings.Join(output, "\n"))
	return 0
}

func (p *process) end() {
	p.stdin.Close()
	p.cmd.Wait()
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// gone waits for the end of a server.
func gone(t *testing.T, server int) {
	t.Helper()
	Until(t, "the server to be gone", func() bool { return !running(server) })
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func query(t *testing.T, database, sql string, result any) {
	t.Helper()
	if err := connect(t, database).QueryRow(t.Context(), sql).Scan(result); err != nil {
		t.Fatal(err)
	}
}

// TestProxyKnowsWhatStood: of a batch whose answer nobody has heard.
func TestProxyKnowsWhatStood(t *testing.T) {
	proxy, through := StartProxy(t, Postgres.New(t))
	for _, c := range []struct {
		at, middle string
		stood      bool
	}{
		{"BEGIN", "SELECT 1", true},
		{"COMMIT", "SELECT 1", true},
		{"BEGIN", "SELECT 1/0", false},
	} {
		conn, err := pgx.Connect(t.Context(), through)
		if err != nil {
			t.Fatal(err)
		}
		b := &pgx.Batch{}
		for _, statement := range []string{"BEGIN", c.middle, "COMMIT"} {
			b.Queue(statement)
		}
		met := proxy.HarmNext(c.at, CutAfter)
		if err := conn.SendBatch(t.Context(), b).Close(); err == nil {
			t.Errorf("%v: it has heard of its commit", c)
		}
		<-met
		if proxy.Stood() != c.stood {
			t.Errorf("%v: stood %v", c, proxy.Stood())
		}
		conn.Close(t.Context())
	}
}
