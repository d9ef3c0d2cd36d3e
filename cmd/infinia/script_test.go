package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/server"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"infinia": main})
}

// TestScripts runs the program as a shell would. Each script has a folder of its own, with a place for a sandbox in box, and
// a database of its own in $DB, which the conditions [sqlite] and [postgres] tell apart.
func TestScripts(t *testing.T) { storetest.Each(t, scripts) }

func scripts(t *testing.T, engine storetest.Engine) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			keys, err := filepath.Abs("../../envelope/testdata/keys")
			if err != nil {
				return err
			}
			env.Setenv("KEYS", keys)
			env.Setenv("INFINIA_DATA", filepath.Join(env.WorkDir, "box"))
			env.Setenv("DB", "box/infinia.db")
			if engine == storetest.Postgres {
				env.Setenv("DB", engine.New(env.T().(testing.TB)))
				env.Setenv("INFINIA_DB", env.Getenv("DB"))
			}
			env.Values["test"] = env.T()
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each command waits a second at its end
			return giveKey(keys, filepath.Join(env.WorkDir, "box", "keys"))
		},
		Condition: func(cond string) (bool, error) {
			if !slices.Contains([]storetest.Engine{storetest.SQLite, storetest.Postgres}, storetest.Engine(cond)) {
				return false, fmt.Errorf("there is no engine %s", cond)
			}
			return cond == string(engine), nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":   ready,
			"until":   until,
			"capture": capture,
			"confirm": confirm,
			"sql":     execSQL,
			"damage":  damage,
			"upload":  upload,
			"needs":   needPrograms,
			"ports":   ports,
		},
	})
}

// giveKey puts an app's key where the sandbox would otherwise make one, which takes long.
func giveKey(from, to string) error {
	key, err := os.ReadFile(filepath.Join(from, "test-client-2048.pem"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "client_private.pem"), key, 0o600)
}

// needPrograms ends a script where a program that it cannot do without is missing.
func needPrograms(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		needs.Program(ts.Value("test").(testing.TB), name)
	}
}

// ports sets variables to ports that nothing listens on.
func ports(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close() // after the last one, so that they differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		ts.Check(err)
		ts.Setenv(name, port)
	}
}

// ready waits until the sandbox in box runs.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	poll(ts, func() bool {
		_, err := os.Stat(ts.MkAbs("box/sandbox.json"))
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// until repeats a command until its output matches a pattern.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile(args[0])
	poll(ts, func() bool {
		ts.Check(ts.Exec(args[1], args[2:]...))
		return want.MatchString(ts.ReadFile("stdout"))
	})
}

func poll(ts *testscript.TestScript, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute) // beside everything else, under the race detector
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("waited in vain")
		}
	}
}

// capture sets a variable to what a pattern's group matches in a file.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	match := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile(args[2]))
	if match == nil {
		ts.Fatalf("%s does not match %s", args[2], args[1])
	}
	ts.Setenv(args[0], match[1])
}

var redirectURL = regexp.MustCompile(`"redirectUrl": "([^"]+)"`)

// confirm acts as the seller whose link the last call printed.
func confirm(ts *testscript.TestScript, neg bool, args []string) {
	link := redirectURL.FindStringSubmatch(ts.ReadFile("stdout"))
	if link == nil {
		ts.Fatalf("the last call printed no link")
	}
	ts.Check(new(server.Sandbox).AnswerBinding(context.Background(), link[1], "confirm"))
}

// execSQL changes a database behind the program's back.
func execSQL(ts *testscript.TestScript, neg bool, args []string) {
	engine, database := storetest.Postgres, args[0]
	if !store.IsPostgres(database) {
		engine, database = storetest.SQLite, ts.MkAbs(database)
	}
	engine.Exec(ts.Value("test").(testing.TB), database, args[1])
}

// damage overwrites a page of a database.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	page, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(make([]byte, 4096), (page-1)*4096)
	ts.Check(errors.Join(err, f.Close()))
}

// upload puts a file by SFTP and renames it to its final name.
func upload(ts *testscript.TestScript, neg bool, args []string) {
	f, err := readSandbox(ts.MkAbs("box"))
	ts.Check(err)
	text, err := os.ReadFile(f.SFTPPrivateKey)
	ts.Check(err)
	key, err := ssh.ParsePrivateKey(text)
	ts.Check(err)
	conn, err := ssh.Dial("tcp", f.SFTP, &ssh.ClientConfig{User: f.AppID, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey()}) //nolint:gosec // the server of the script
	ts.Check(err)
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	ts.Check(err)
	defer client.Close()
	remote := "/upload/" + args[0]
	to, err := client.Create(remote + ".part")
	ts.Check(err)
	_, err = to.ReadFrom(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(to.Close())
	ts.Check(client.PosixRename(remote+".part", remote))
}
