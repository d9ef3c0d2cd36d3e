package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// writeVariable makes this program a process that writes to a database until it is killed; it names the file.
const (
	writeVariable = "INFINIA_TEST_WRITE"
	onceVariable  = "INFINIA_TEST_WRITE_ONCE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writeVariable); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	m.Run()
}

// writeUntilKilled opens, writes and closes, again and again, and prints each seller after its commit. With
// onceVariable it stays open after the first round.
func writeUntilKilled(path string) error {
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(1) }() //nolint:errcheck // it ends with the parent
	ctx := context.Background()
	for round := 0; ; round++ {
		db, err := Open(ctx, Config{Database: path})
		if err != nil {
			return err
		}
		for n := range 3 {
			id := fmt.Sprintf("%d-%d-%d", os.Getpid(), round, n)
			if err := db.Do(ctx, Unit{Keys: keysOf(id), Judge: putSeller(id)}); err != nil {
				return err
			}
			fmt.Println(id)
		}
		if os.Getenv(onceVariable) != "" {
			select {}
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
}

// writer is such a process.
type writer struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	wrote []string
}

func startWriter(t *testing.T, path string, env ...string) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(append(os.Environ(), writeVariable+"="+path), env...)
	w.cmd.Stderr = t.Output()
	if _, err := w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); _ = w.cmd.Wait() })
	w.lines = bufio.NewScanner(out)
	return w
}

func (w *writer) until(t *testing.T, n int) {
	t.Helper()
	for len(w.wrote) < n {
		if !w.lines.Scan() {
			t.Fatal("the writer ended by itself")
		}
		w.wrote = append(w.wrote, w.lines.Text())
	}
}

func (w *writer) kill(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for w.lines.Scan() {
		w.wrote = append(w.wrote, w.lines.Text())
	}
	w.cmd.Wait() //nolint:errcheck // it was killed
}

// hold returns a process that has written three sellers and has the file open.
func hold(t *testing.T, path string) *writer {
	t.Helper()
	w := startWriter(t, path, onceVariable+"=1")
	w.until(t, 3)
	return w
}
