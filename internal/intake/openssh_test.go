package intake

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/storetest"
)

// openssh prepares OpenSSH's sftp with a batch of commands.
func (r *rig) openssh(app, batch string, options ...string) (*exec.Cmd, *bytes.Buffer) {
	r.t.Helper()
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	file := filepath.Join(r.t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch), 0o600); err != nil {
		r.t.Fatal(err)
	}
	args := append(r.sshOptions(app), "-b", file, "-P", port)
	args = append(args, options...)
	cmd := exec.Command(needs.Program(r.t, "sftp"), append(args, app+"@127.0.0.1")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// sshOptions are for every program of OpenSSH. The server is known by its host key.
func (r *rig) sshOptions(app string) []string {
	r.t.Helper()
	host, port, err := net.SplitHostPort(r.addr)
	try(r.t, err)
	known := filepath.Join(r.t.TempDir(), "known_hosts")
	var lines bytes.Buffer
	for _, key := range []ssh.Signer{r.cfg.HostKey, r.cfg.OldHostKey} {
		if key != nil {
			fmt.Fprintf(&lines, "[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key.PublicKey()))
		}
	}
	try(r.t, os.WriteFile(known, lines.Bytes(), 0o600))
	return []string{
		"-F", "none", "-i", r.files[app], "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
	}
}

func (r *rig) run(app, batch string) string {
	r.t.Helper()
	cmd, out := r.openssh(app, batch)
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("sftp: %v\n%s", err, out)
	}
	return out.String()
}

// rows is a file of about n bytes in which every place is different.
func rows(t *testing.T, n int) (path, content string) {
	t.Helper()
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "SELLER-1,ORDER-%d,SKU-%d,100.00\n", i, i*7)
	}
	path = filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b.String()
}

func TestOpenSSHEverydayCommands(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	local, content := rows(t, 300_000)
	back, result := filepath.Join(t.TempDir(), "back"), filepath.Join(t.TempDir(), "result")
	r.result("demo", "TDU-0_summary.json", "{}")
	out := r.run("demo", strings.Join([]string{
		"ls /",
		"put -p " + local + " /upload/TDU-1.csv.part",
		"chmod 644 /upload/TDU-1.csv.part",
		"rename /upload/TDU-1.csv.part /upload/TDU-1.csv",
		"ls -l /upload",
		"get /upload/TDU-1.csv " + back,
		"get /result/TDU-0_summary.json " + result,
		"put " + local + " /upload/gone.csv",
		"rm /upload/gone.csv",
	}, "\n"))
	r.next("TDU-1", content)
	if !strings.Contains(out, "/upload") || !strings.Contains(out, "/result") || !strings.Contains(out, "TDU-1.csv\n") {
		t.Errorf("listing:\n%s", out)
	}
	if got, err := os.ReadFile(back); err != nil || string(got) != content {
		t.Errorf("get: %d bytes, %v", len(got), err)
	}
	if got, err := os.ReadFile(result); err != nil || string(got) != "{}" {
		t.Errorf("get the result: %q, %v", got, err)
	}
	r.quiet()
	r.nothing()
}

func TestOpenSSHIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	local, _ := rows(t, 100)
	for _, batch := range []string{
		"put " + local + " /result/x.csv",
		"put " + local + " /x.csv",
		"put " + local + " /upload/notes.txt",
		"put " + local + " /upload/../../demo2.csv",
		"mkdir /upload/sub",
		"symlink /etc/passwd /upload/a.csv",
		"get /upload/../intake/kept " + filepath.Join(t.TempDir(), "x"),
		"get /etc/passwd " + filepath.Join(t.TempDir(), "x"),
	} {
		cmd, out := r.openssh("demo", batch)
		if err := cmd.Run(); err == nil {
			t.Errorf("%s was accepted:\n%s", batch, out)
		}
	}
	r.quiet()
	r.nothing()
}

// interrupted starts a slow upload of a large file, ends the client in the middle by sig, and returns the whole.
func interrupted(t *testing.T, r *rig, sig syscall.Signal) (local, content string) {
	t.Helper()
	local, content = rows(t, 3_000_000)
	cmd, out := r.openssh("demo", "put "+local+" /upload/TDU-1.csv", "-l", "1000")
	r.cut(cmd, out, "TDU-1.csv", len(content), sig)
	return local, content
}

// cut starts a client and ends it when it has sent a part of the file.
func (r *rig) cut(cmd *exec.Cmd, out *bytes.Buffer, name string, whole int, sig syscall.Signal) {
	r.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	try(r.t, cmd.Start())
	size := func() int {
		info, err := os.Stat(filepath.Join(r.cfg.Dir, "demo", "upload", name))
		if err != nil {
			return 0
		}
		return int(info.Size())
	}
	storetest.Until(r.t, "a part of the file", func() bool { return size() >= 64<<10 })
	process := cmd.Process.Pid
	if sig == syscall.SIGKILL {
		process = -process // the ssh that it has started, too
	}
	try(r.t, syscall.Kill(process, sig))
	if err := cmd.Wait(); err == nil && sig == syscall.SIGKILL {
		r.t.Fatal("the client ended by itself")
	}
	r.ended("demo", name)
	if n := size(); n >= whole {
		r.t.Fatalf("all %d bytes were there before the signal\n%s", n, out)
	}
}

func (r *rig) state(name string) state {
	r.t.Helper()
	t, err := r.srv.tree("demo")
	if err != nil {
		r.t.Fatal(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peek(name).State
}

func TestOpenSSHCtrlCThenReput(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	local, content := interrupted(t, r, syscall.SIGINT)
	if got := r.state("TDU-1.csv"); got != closed {
		t.Errorf("after Ctrl-C the file is %q; this client closes it cleanly", got)
	}
	r.clock.move(4 * time.Second) // not quite the quiet period
	r.nothing()
	r.run("demo", "reput "+local+" /upload/TDU-1.csv")
	r.clock.move(4 * time.Second)
	r.nothing()
	r.quiet()
	r.next("TDU-1", content)
}

func TestOpenSSHCtrlCWithMarkerRequired(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{RequireMarker: true})
	local, content := interrupted(t, r, syscall.SIGINT)
	r.quiet()
	r.nothing()
	done := filepath.Join(t.TempDir(), "done")
	if err := os.WriteFile(done, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.run("demo", "reput "+local+" /upload/TDU-1.csv\nput "+done+" /upload/TDU-1.csv.done")
	r.next("TDU-1", content)
}

func TestOpenSSHKilledThenReput(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	local, content := interrupted(t, r, syscall.SIGKILL)
	r.quiet()
	r.nothing()
	r.run("demo", "reput "+local+" /upload/TDU-1.csv")
	r.quiet()
	r.next("TDU-1", content)
}
