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
)

// client prepares a program with a home of its own, so that nothing that its user has set counts.
func (r *rig) client(name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), needs.Program(r.t, name), args...)
	home := r.t.TempDir()
	cmd.Env = []string{"HOME=" + home, "LFTP_HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// must runs a client that has to succeed, mustNot one that has to fail by itself, with a text that says why.
func (r *rig) must(cmd *exec.Cmd, out *bytes.Buffer) string {
	r.t.Helper()
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return out.String()
}

func (r *rig) mustNot(cmd *exec.Cmd, out *bytes.Buffer) (why string) {
	r.t.Helper()
	started := time.Now()
	if err := cmd.Run(); err == nil {
		r.t.Errorf("%v succeeded\n%s", cmd.Args, out)
	}
	if took := time.Since(started); took > deadline {
		r.t.Errorf("%v took %v to fail", cmd.Args, took)
	}
	return out.String()
}

// folder has small files of an old date, by names, and what is in them.
func folder(t *testing.T, names ...string) (dir string, content map[string]string) {
	t.Helper()
	dir, content = t.TempDir(), map[string]string{}
	for _, no := range names {
		content[no] = "rows of " + no
		path := filepath.Join(dir, no+".csv")
		try(t, os.WriteFile(path, []byte(content[no]), 0o644))
		old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		try(t, os.Chtimes(path, old, old))
	}
	return dir, content
}

func same(t *testing.T, path, content string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%s has %d bytes, want %d: %v", path, len(got), len(content), err)
	}
}

func TestScp(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	_, port, err := net.SplitHostPort(r.addr)
	try(t, err)
	scp := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		return r.client("scp", append(append(r.sshOptions("demo"), "-P", port), args...)...)
	}
	dir, content := folder(t, "TDU-1", "TDU-2")
	r.collect(2, func() {
		r.must(scp("-s", "-p", filepath.Join(dir, "TDU-1.csv"), filepath.Join(dir, "TDU-2.csv"), "demo@127.0.0.1:/upload/"))
		r.quiet()
	}, content)
	r.result("demo", "TDU-1_summary.json", "{}")
	r.must(scp("-s", "demo@127.0.0.1:/result/TDU-1_summary.json", dir))
	same(t, filepath.Join(dir, "TDU-1_summary.json"), "{}")

	local := filepath.Join(dir, "TDU-1.csv")
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"-O", local, "demo@127.0.0.1:/upload/"}, "This server speaks SFTP only: no shell, no commands, no scp -O. Use sftp, or scp -s."},
		{[]string{"-O", "demo@127.0.0.1:/result/TDU-1_summary.json", dir}, "This server speaks SFTP only"},
		{[]string{"-s", local, "demo@127.0.0.1:/upload/notes.txt"}, "Permission denied"},
		{[]string{"-s", local, "demo@127.0.0.1:"}, "Permission denied"},
		{[]string{"-s", "-r", dir, "demo@127.0.0.1:/upload/"}, "failed to upload directory"},
	} {
		if why := r.mustNot(scp(c.args...)); !strings.Contains(why, c.why) {
			t.Errorf("scp %v says\n%s", c.args, why)
		}
	}
	for _, command := range []string{"", "id"} { // a shell, a command
		args := append(r.sshOptions("demo"), "-p", port, "-T", "demo@127.0.0.1")
		if command != "" {
			args = append(args, command)
		}
		if why := r.mustNot(r.client("ssh", args...)); !strings.Contains(why, "This server speaks SFTP only") {
			t.Errorf("ssh %s says\n%s", command, why)
		}
	}
	r.quiet()
	r.nothing()
}

func TestLftp(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	_, port, err := net.SplitHostPort(r.addr)
	try(t, err)
	lftp := func(commands ...string) (*exec.Cmd, *bytes.Buffer) {
		script := append([]string{
			"set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 10",
			fmt.Sprintf("set sftp:connect-program \"ssh -a -x %s\"", strings.Join(r.sshOptions("demo"), " ")),
			"open -u demo, sftp://127.0.0.1:" + port,
		}, commands...)
		file := filepath.Join(t.TempDir(), "script")
		try(t, os.WriteFile(file, []byte(strings.Join(script, "\n")), 0o600))
		return r.client("lftp", "-f", file)
	}
	dir, content := folder(t, "TDU-1", "TDU-2", "TDU-3")

	// Its own temporary name makes an upload complete at once; without it the quiet time has to pass.
	r.must(lftp("set xfer:use-temp-file yes", "put "+dir+"/TDU-1.csv -o /upload/TDU-1.csv"))
	r.next("TDU-1", content["TDU-1"])
	r.must(lftp("put -O /upload " + dir + "/TDU-2.csv"))
	r.nothing()
	r.quiet()
	r.next("TDU-2", content["TDU-2"])

	// A mirror sends what is not there yet, and nothing when it runs again.
	out := r.must(lftp("set xfer:use-temp-file yes", "mirror -R -v "+dir+" /upload"))
	r.next("TDU-3", content["TDU-3"])
	if strings.Count(out, "Transferring") != 1 {
		t.Errorf("mirror of one new file:\n%s", out)
	}
	if out := r.must(lftp("mirror -R -v " + dir + " /upload")); strings.Contains(out, "Transferring") {
		t.Errorf("the second mirror:\n%s", out)
	}

	local, whole := rows(t, 3_000_000)
	cmd, log := lftp("set net:limit-rate 500000", "put "+local+" -o /upload/TDU-4.csv.part")
	r.cut(cmd, log, "TDU-4.csv.part", len(whole), syscall.SIGKILL)
	if why := r.mustNot(lftp("mv /upload/TDU-4.csv.part /upload/TDU-4.csv")); !strings.Contains(why, "the upload was not completed") {
		t.Errorf("renaming what is cut: %s", why)
	}
	r.must(lftp("reput "+local+" -o /upload/TDU-4.csv.part", "mv /upload/TDU-4.csv.part /upload/TDU-4.csv"))
	r.next("TDU-4", whole)

	r.result("demo", "TDU-1_error.csv", whole)
	back := t.TempDir()
	r.must(lftp("pget -n 4 /result/TDU-1_error.csv -o "+back+"/pget", "mirror /result "+back+"/results"))
	same(t, back+"/pget", whole)
	same(t, back+"/results/TDU-1_error.csv", whole)

	for command, why := range map[string]string{
		"put " + local + " -o /upload/notes.txt":    "a file in /upload is named <requestNo>.csv",
		"put " + local + " -o /result/TDU-9.csv":    "only files in /upload can be changed",
		"mkdir /upload/more":                        "folders and links cannot be made",
		"rm /result/TDU-1_error.csv":                "only files in /upload can be changed",
		"get /upload/none.csv -o " + back + "/none": "No such file",
	} {
		if got := r.mustNot(lftp(command)); !strings.Contains(strings.ToLower(got), strings.ToLower(why)) {
			t.Errorf("%s says\n%s", command, got)
		}
	}
	r.quiet()
	r.nothing()
}

func TestRclone(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	_, port, err := net.SplitHostPort(r.addr)
	try(t, err)
	known := filepath.Join(t.TempDir(), "known_hosts")
	try(t, os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%s %s", port, ssh.MarshalAuthorizedKey(r.cfg.HostKey.PublicKey())), 0o600))
	rclone := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		return r.client("rclone", append([]string{
			"--config", "", "--stats", "0", "--retries", "1", "-v", "--sftp-host", "127.0.0.1", "--sftp-port", port, "--sftp-user", "demo",
			"--sftp-key-file", r.files["demo"], "--sftp-known-hosts-file", known,
		}, args...)...)
	}
	dir, content := folder(t, "TDU-1", "TDU-2", "TDU-3")

	// With its defaults: it asks for a shell, for checksums and for the times of the files.
	r.collect(3, func() {
		r.must(rclone("copy", dir, ":sftp:/upload"))
		r.quiet()
	}, content)
	if out := r.must(rclone("copy", dir, ":sftp:/upload")); !strings.Contains(out, "nothing to transfer") {
		t.Errorf("the second copy:\n%s", out)
	}
	for _, args := range [][]string{
		{"check", dir, ":sftp:/upload"},
		{"check", "--download", dir, ":sftp:/upload"},
		{"copy", "--sftp-shell-type", "none", "--sftp-disable-hashcheck", dir, ":sftp:/upload"}, // what the documentation says
	} {
		out := r.must(rclone(args...))
		if args[0] == "check" && !strings.Contains(out, "0 differences found") || args[0] == "copy" && !strings.Contains(out, "nothing to transfer") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if out := r.must(rclone("size", ":sftp:/upload")); !strings.Contains(out, "Total objects: 3 ") {
		t.Errorf("size:\n%s", out)
	}
	if out := r.must(rclone("lsl", ":sftp:/upload/TDU-1.csv")); !strings.Contains(out, "2020-01-02 03:04:05") {
		t.Errorf("lsl:\n%s", out)
	}
	r.quiet()
	r.nothing()

	// Killed, it leaves a part, and the next run sends the whole.
	local, whole := rows(t, 3_000_000)
	cmd, log := rclone("copyto", "--bwlimit", "500k", local, ":sftp:/upload/TDU-4.csv")
	r.cut(cmd, log, "TDU-4.csv", len(whole), syscall.SIGKILL)
	r.quiet()
	r.nothing()
	r.must(rclone("copyto", local, ":sftp:/upload/TDU-4.csv"))
	r.quiet()
	r.next("TDU-4", whole)

	// Under a temporary name, then moved.
	r.must(rclone("copyto", local, ":sftp:/upload/TDU-5.csv.part"))
	r.must(rclone("moveto", ":sftp:/upload/TDU-5.csv.part", ":sftp:/upload/TDU-5.csv"))
	r.next("TDU-5", whole)

	r.result("demo", "TDU-1_error.csv", whole)
	back := t.TempDir()
	r.must(rclone("copy", ":sftp:/result", back))
	same(t, filepath.Join(back, "TDU-1_error.csv"), whole)
	r.mustNot(rclone("copyto", local, ":sftp:/upload/notes.txt"))
	r.mustNot(rclone("copy", dir, ":sftp:/result"))
	r.quiet()
	r.nothing()
}

func TestCurl(t *testing.T) {
	t.Parallel()
	r := start(t, Settings{})
	print := strings.TrimPrefix(ssh.FingerprintSHA256(r.cfg.HostKey.PublicKey()), "SHA256:")
	curl := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		return r.client("curl", append([]string{"-sS", "-u", "demo:", "--key", r.files["demo"], "--hostpubsha256", print}, args...)...)
	}
	url := "sftp://" + r.addr
	local, whole := rows(t, 3_000_000)

	r.must(curl("-T", local, url+"/upload/TDU-1.csv.part", "-Q", "-rename /upload/TDU-1.csv.part /upload/TDU-1.csv"))
	r.next("TDU-1", whole)
	r.must(curl("-T", local, url+"/upload/TDU-2.csv"))
	r.nothing()
	r.quiet()
	r.next("TDU-2", whole)

	cmd, log := curl("--limit-rate", "500k", "-T", local, url+"/upload/TDU-3.csv.part")
	r.cut(cmd, log, "TDU-3.csv.part", len(whole), syscall.SIGKILL)
	r.must(curl("-C", "-", "-T", local, url+"/upload/TDU-3.csv.part", "-Q", "-rename /upload/TDU-3.csv.part /upload/TDU-3.csv"))
	r.next("TDU-3", whole)

	r.must(curl("-T", local, url+"/upload/TDU-1.csv.part", "-Q", "-rename /upload/TDU-1.csv.part /upload/TDU-1.csv")) // mended, under the same name
	r.next("TDU-1", whole)

	r.result("demo", "TDU-1_error.csv", whole)
	if out := r.must(curl(url + "/result/")); !strings.Contains(out, "TDU-1_error.csv") {
		t.Errorf("listing:\n%s", out)
	}
	back := filepath.Join(t.TempDir(), "back")
	try(t, os.WriteFile(back, []byte(whole[:100_000]), 0o600))
	r.must(curl("-C", "-", "-o", back, url+"/result/TDU-1_error.csv"))
	same(t, back, whole)

	if why := r.mustNot(curl("-T", local, url+"/upload/notes.txt")); !strings.Contains(why, "Permission denied") {
		t.Errorf("a wrong name: %s", why)
	}
	if why := r.mustNot(curl("--hostpubsha256", strings.Repeat("A", 43), url+"/result/")); !strings.Contains(why, "fingerprint") {
		t.Errorf("another host key: %s", why)
	}
	r.quiet()
	r.nothing()
}
