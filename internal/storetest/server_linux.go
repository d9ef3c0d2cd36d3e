package storetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/needs"
)

// installation is PostgreSQL as it is found on the machine.
type installation struct {
	bin      string              // folder of the programs
	as       *syscall.Credential // who runs them; nil: who runs the tests
	dir      string              // kept between runs: the template of all data folders, and the shared server's
	password string              // of the user postgres, in the template
}

// installed finds the programs, on PATH or else the newest that Debian has, and makes the template on first use.
func installed(t testing.TB) *installation {
	t.Helper()
	postgres := "postgres"
	if _, err := exec.LookPath(postgres); err != nil {
		version := func(path string) float64 {
			v, _ := strconv.ParseFloat(strings.Split(path, "/")[4], 64)
			return v
		}
		debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
		if len(debian) > 0 {
			postgres = slices.MaxFunc(debian, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
		}
	}
	postgres = needs.Program(t, postgres)
	needs.Program(t, "flock")
	inst, err := install(postgres)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func install(postgres string) (*installation, error) {
	inst := &installation{bin: filepath.Dir(postgres)}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 { // whom PostgreSQL refuses to run as
		u, err := user.Lookup("postgres")
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		if err != nil {
			return nil, err
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		inst.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	out, err := exec.Command(postgres, "--version").Output() // postgres (PostgreSQL) 15.6 (Debian 15.6-0)
	if err != nil {
		return nil, err
	}
	temp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return nil, err
	}
	top := filepath.Join(temp, fmt.Sprintf("infinia-test-postgres-%d", os.Getuid()))
	inst.dir = filepath.Join(top, strings.Fields(string(out))[2]) // another version finds nothing of this one
	if err := os.MkdirAll(inst.dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(top)
	if err != nil {
		return nil, err
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); !info.IsDir() || owner != uid && owner != os.Getuid() {
		return nil, fmt.Errorf("%s belongs to somebody else", top)
	}
	return inst, errors.Join(os.Chown(top, uid, gid), os.Chown(inst.dir, uid, gid), inst.makeTemplate())
}

// makeTemplate makes the data folder of which every server gets a copy, seven times as fast as initdb.
func (inst *installation) makeTemplate() error {
	making, err := lock(filepath.Join(inst.dir, "starting"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer making.Close()
	secret, template := filepath.Join(inst.dir, "password"), filepath.Join(inst.dir, "template")
	if _, err := os.Stat(template); errors.Is(err, fs.ErrNotExist) {
		unfinished := template + ".new"
		if err := errors.Join(
			os.RemoveAll(unfinished),
			// Whoever may connect as postgres may run programs as its user; a password keeps others on the machine out.
			os.WriteFile(secret, []byte(rand.Text()), 0o600),
			os.Chmod(secret, 0o644), // the folder is closed to them
		); err != nil {
			return err
		}
		if err := inst.run("initdb", "--pgdata="+unfinished, "--username=postgres", "--pwfile="+secret,
			"--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"); err != nil {
			return err
		}
		if err := os.Rename(unfinished, template); err != nil {
			return err
		}
	}
	password, err := os.ReadFile(secret)
	inst.password = string(password)
	return err
}

// run runs a program and tells what it printed when it fails.
func (inst *installation) run(program string, args ...string) error {
	out, err := inst.command(program, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return err
}

func (inst *installation) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("env", append([]string{program}, args...)...) // env looks for it in the PATH below
	cmd.Dir = inst.dir                                                // the present folder may be closed to the other user
	cmd.Env = []string{"PATH=" + inst.bin + ":" + os.Getenv("PATH"), "PGPASSWORD=" + inst.password}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: inst.as, Setsid: true} // an interrupt is for the tests
	return cmd
}

// server is one PostgreSQL server.
type server struct {
	*installation
	data   string   // its data folder
	users  *os.File // locked, shared with other processes, as long as the server must not be stopped
	remove string   // what the watchdog removes
	port   int
}

// newServer returns a server with its data folder still to be made in dir.
func (inst *installation) newServer(dir string) (*server, error) {
	users, err := lock(filepath.Join(dir, "users"), syscall.LOCK_SH)
	return &server{installation: inst, data: filepath.Join(dir, "data"), users: users, remove: dir}, err
}

// create makes the data folder.
func (s *server) create(settings map[string]string) error {
	if err := os.RemoveAll(s.data); err != nil {
		return err
	}
	if err := s.run("cp", "-a", filepath.Join(s.dir, "template"), s.data); err != nil {
		return err
	}
	if err := s.configure(map[string]string{
		"fsync":                      "off", // processes are killed here, never the machine
		"listen_addresses":           "127.0.0.1",
		"max_connections":            "300",  // a few for each of many tests
		"dynamic_shared_memory_type": "mmap", // in the data folder, so that a killed server leaves nothing elsewhere
		"unix_socket_directories":    ".",    // relative, so that no temporary folder is too long for it
	}); err != nil {
		return err
	}
	return errors.Join(s.choosePort(), s.configure(settings))
}

// choosePort takes a free one below those that the kernel gives to outgoing connections, so that it stays free while
// the server is down.
func (s *server) choosePort() error {
	for {
		var random [2]byte
		rand.Read(random[:])
		s.port = 16384 + int(binary.BigEndian.Uint16(random[:])%16384)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return err
		}
		return errors.Join(l.Close(), s.configure(map[string]string{"port": strconv.Itoa(s.port)}))
	}
}

// configure changes settings; of two lines for one setting the last counts.
func (s *server) configure(settings map[string]string) error {
	f, err := os.OpenFile(filepath.Join(s.data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	for name, value := range settings {
		fmt.Fprintf(f, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	return f.Close()
}

// watched starts a server and waits until no process is left that uses it, however they ended, to stop it. Doing both
// it leaves no moment in which a server runs unwatched. It detaches itself; what is printed before tells of the start.
const watched = `(
	pg_ctl start --pgdata="$1" --log="$1/log" --timeout=60
	exec >/dev/null 2>&1
	flock "$2" sh -c 'pg_ctl stop --pgdata="$1" --mode=immediate; rm -rf "$3"' sh "$@"
) &`

// start returns when the server answers.
func (s *server) start() error {
	out, err := s.command("sh", "-c", watched, "sh", s.data, s.users.Name(), s.remove).CombinedOutput()
	if err != nil {
		return err
	}
	if !s.findRunning() {
		log, _ := os.ReadFile(filepath.Join(s.data, "log"))
		return fmt.Errorf("PostgreSQL does not start\n%s%s", out, log)
	}
	return nil
}

// findRunning says whether the server answers, and learns its port.
func (s *server) findRunning() bool {
	pid, lines := s.postmaster()
	if pid == 0 || len(lines) < 8 || strings.TrimSpace(lines[7]) != "ready" {
		return false
	}
	port, err := strconv.Atoi(lines[3])
	s.port = port
	return err == nil
}

// postmaster returns the id of the server's first process, or 0, and the lines of postmaster.pid.
func (s *server) postmaster() (pid int, lines []string) {
	file, _ := os.ReadFile(filepath.Join(s.data, "postmaster.pid"))
	lines = strings.Split(string(file), "\n")
	pid, _ = strconv.Atoi(lines[0])
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if !bytes.Contains(command, []byte(s.data+"\x00")) {
		return 0, lines // the file was left behind, and the id may be another program's by now
	}
	return pid, lines
}

// kill ends all processes of the server as a power failure would.
func (s *server) kill() error {
	pid, _ := s.postmaster()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // or it would go on making children
		return err
	}
	pids := processes(pid)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL) // fails only for a child that has just ended
	}
	if err := wait(patience, "the end of the server's processes", func() (bool, error) {
		return !slices.ContainsFunc(pids, running), nil
	}); err != nil {
		return err
	}
	// Until a killed process is reaped it seems to hold its locks still.
	left, _ := filepath.Glob(filepath.Join(s.data, ".s.PGSQL.*"))
	for _, path := range append(left, filepath.Join(s.data, "postmaster.pid")) {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// signal sends a signal to all processes of the server, the first one first.
func (s *server) signal(sig syscall.Signal) error {
	pid, _ := s.postmaster()
	if err := syscall.Kill(pid, sig); err != nil {
		return err
	}
	for _, child := range processes(pid)[1:] {
		syscall.Kill(child, sig) // fails only for a child that has just ended
	}
	return nil
}

// processes are a process and its children.
func processes(pid int) []int {
	pids := []int{pid}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if _, parent := status(child); parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

func running(pid int) bool {
	state, _ := status(pid)
	return state != "" && state != "Z" // a zombie has ended and waits to be reaped
}

// status returns the state and the parent of a process, or nothing when there is none.
func status(pid int) (state string, parent int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // 17 (name) S 1 ...
	fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
	return state, parent
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/%s?sslmode=disable", s.password, s.port, database)
}

func (s *server) exec(sql string) error {
	return s.connect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	})
}

func (s *server) connect(fn func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, conn), conn.Close(ctx))
}

// patience is for machines that do much else.
const patience = time.Minute

// lock opens a file and locks it until it is closed or the process ends.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Chmod(0o644), syscall.Flock(int(f.Fd()), how)); err != nil { // the watchdog must read it
		return nil, fmt.Errorf("lock %s: %w", path, errors.Join(err, f.Close()))
	}
	return f, nil
}
