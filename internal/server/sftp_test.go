package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// sftp prepares OpenSSH's client with a batch of commands. It knows the server by its host key.
func (r *rig) sftp(batch string, options ...string) *exec.Cmd {
	r.t.Helper()
	host, port, err := net.SplitHostPort(r.File.SFTP)
	if err != nil {
		r.t.Fatal(err)
	}
	known := r.local("known_hosts", fmt.Sprintf("[%s]:%s %s", host, port, must(os.ReadFile(r.File.SFTPHostKey))(r.t)))
	args := append([]string{
		"-F", "none", "-b", r.local("batch", batch), "-P", port, "-i", r.File.SFTPPrivateKey, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known, "-o", "LogLevel=ERROR",
	}, options...)
	return exec.CommandContext(r.t.Context(), needs.Program(r.t, "sftp"), append(args, r.File.AppID+"@"+host)...)
}

func (r *rig) runSFTP(batch string) {
	r.t.Helper()
	if out, err := r.sftp(batch).CombinedOutput(); err != nil {
		r.t.Fatalf("sftp: %v\n%s", err, out)
	}
}

// local is the path of a file on the client's side.
func (r *rig) local(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) put(name, content string) {
	r.t.Helper()
	r.runSFTP(fmt.Sprintf("put %s /upload/%s.part\nrename /upload/%s.part /upload/%s", r.local(name, content), name, name, name))
}

func (r *rig) get(name string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "got")
	r.runSFTP("get " + name + " " + path)
	return string(must(os.ReadFile(path))(r.t))
}

// size is what the server has of a file of the app.
func (r *rig) size(name string) int {
	info, err := os.Stat(filepath.Join(r.dir, "files", r.File.AppID, name))
	if err != nil {
		return 0
	}
	return int(info.Size())
}

func (r *rig) fileState(requestNo string) (infinia.FileStatus, string) {
	r.t.Helper()
	rep, err := r.Client.TradeDetailsQuery(r.t.Context(), infinia.TradeDetailsQueryRequest{RequestNo: requestNo})
	return rep.Status, code(r.t, err)
}

// stopAtFile keeps the database's writer from the moment when the file is taken over until release is called, so that the
// file can be seen in process: queries read beside the writer.
func (r *rig) stopAtFile(requestNo string) (taken <-chan struct{}, release func()) {
	seen, goOn := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	go func() {
		for found := false; !found && ctx.Err() == nil; {
			err := r.DB.Do(ctx, store.Unit{Name: "test", Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
				_, err := q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: r.File.AppID, RequestNo: requestNo})
				if err == nil {
					found = true
					close(seen)
					<-goOn
				}
				return nil
			}})
			if err != nil && ctx.Err() == nil {
				r.t.Error(err)
				return
			}
		}
	}()
	release = sync.OnceFunc(func() { close(goOn) })
	r.t.Cleanup(release)
	return seen, release
}

func TestSFTPUploadGoesFromProcessingToSuccess(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.bind(seller)
		r.runSFTP("put " + r.local("TDU-1.csv", heading+sale(seller, "ORDER-1", "100.00")) + " /upload/TDU-1.csv.part")
		if status, refusal := r.fileState("TDU-1"); refusal != "BIZ-002 requestNo" {
			t.Errorf("under its temporary name the file is %q %q", status, refusal)
		}
		taken, release := r.stopAtFile("TDU-1")
		r.runSFTP("rename /upload/TDU-1.csv.part /upload/TDU-1.csv")
		storetest.Until(t, "the file to be taken over", func() bool {
			select {
			case <-taken:
				return true
			default:
				return false
			}
		})
		if status, refusal := r.fileState("TDU-1"); status != infinia.FileProcessing {
			t.Errorf("taken over, the file is %q %q", status, refusal)
		}
		release()
		rep := r.judged("TDU-1", 1)
		equal(t, "status", rep.Status, infinia.FileSuccess)
		equal(t, "acceptedRows", rep.AcceptedRows, "1")
		equal(t, "available", r.available(), "100.00 100.00 0.00 0.00 0.00")
		r.verify()
	})
}

func TestErrorFileIsMendedAndSentBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.bind(seller)
		bad := func(orderID string, changes ...string) string {
			return strings.NewReplacer(changes...).Replace(sale(seller, orderID, "100.00"))
		}
		content := heading +
			sale(seller, "ORDER-1", "100.00") +
			bad("ORDER-2", "Lamp", "\"Lamp,\nin two lines\"") + // sound, on lines 3 and 4
			bad("ORDER-3", "CNH", "CNX", "USA", "XXX") +
			sale(seller, "ORDER-4", "100.00") +
			bad("ORDER-5", "2026-02-01 10:00:00", "yesterday", "Shipped,,SF1", "Shipped,,") +
			bad("ORDER-6", seller, "SELLER-2", "https://store", "store")
		want := map[int][]string{
			5: {"transactionCurrency:", "country:"},
			7: {"transactionTime:", "logisticsTrackingNo:"},
			8: {"storeUrl:", "sellerId:"},
		}
		r.put("TDU-1.csv", content)
		rep := r.judged("TDU-1", 1)
		equal(t, "status", rep.Status, infinia.FileFailed)
		equal(t, "rows", rep.TotalRows+" "+rep.AcceptedRows+" "+rep.RejectedRows, "6 0 3")
		equal(t, "available", r.available(), "0.00 0.00 0.00 0.00 0.00")

		fetched := r.fetch(rep.ErrorFileURL, "")
		client, hangUp, err := r.DialSFTP(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp()
		storetest.Until(t, "the error file in /result", func() bool {
			_, err := client.Stat("/result/TDU-1_error.csv")
			return err == nil
		})
		if got := r.get("/result/TDU-1_error.csv"); got != fetched {
			t.Errorf("by SFTP:\n%s\nby the link:\n%s", got, fetched)
		}
		rows, err := csv.NewReader(strings.NewReader(fetched)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "number of lines", len(rows), 7)
		equal(t, "added columns", strings.Join(rows[0][19:], ","), "lineNumber,errorCount,errors")
		lines := strings.Split(content, "\n")
		for _, row := range rows[1:] {
			var line, count int
			if _, err := fmt.Sscan(row[19]+" "+row[20], &line, &count); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(lines[line-1], row[1]) {
				t.Errorf("line %d is not that of %s", line, row[1])
			}
			equal(t, fmt.Sprintf("errorCount of line %d", line), count, len(want[line]))
			var named []string
			for text := range strings.SplitSeq(row[21], " | ") {
				named = append(named, strings.SplitAfter(text, ":")[0])
			}
			if want := strings.Join(want[line], " "); strings.Join(named, " ") != want {
				t.Errorf("line %d: errors of %q, want of %q: %s", line, named, want, row[21])
			}
		}

		mended := strings.NewReplacer("CNX", "CNH", "XXX", "USA", "yesterday", "2026-02-01 10:00:00", "Shipped,,,", "Shipped,,SF1,", "SELLER-2", seller,
			",store.example", ",https://store.example").Replace(fetched)
		r.put("TDU-1.csv", mended)
		rep = r.judged("TDU-1", 2)
		equal(t, "status", rep.Status, infinia.FileSuccess)
		equal(t, "rows", rep.TotalRows+" "+rep.AcceptedRows+" "+rep.RejectedRows, "6 6 0")
		equal(t, "link to errors", rep.ErrorFileURL, "")
		equal(t, "available", r.available(), "600.00 600.00 0.00 0.00 0.00")
		r.verify()
	})
}

// TestResultsOutliveTheFolder: what an app was told is in the database alone, so that any node over it tells the same.
func TestResultsOutliveTheFolder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg := testConfig(t, engine, store.Settings{})
		r := startConfig(t, cfg)
		r.bind(seller)
		r.put("TDU-1.csv", heading+sale(seller, "ORDER-1", "0.00"))
		rep := r.judged("TDU-1", 1)
		r.put("TDU-2.csv", heading+sale(seller, "ORDER-2", "100.00"))
		r.judged("TDU-2", 1)
		r.settled()
		was := r.get("/result/TDU-1_error.csv")
		if entries := must(os.ReadDir(filepath.Join(cfg.Data, "files", r.File.AppID, "intake", "kept")))(t); len(entries) != 0 {
			t.Errorf("%d copies of uploads are left in the folder", len(entries))
		}
		token := strings.TrimPrefix(rep.ErrorFileURL, r.URL)
		r.stop()
		if err := os.RemoveAll(filepath.Join(cfg.Data, "files")); err != nil {
			t.Fatal(err)
		}

		r = startConfig(t, cfg)
		r.DB.Clock.Advance(23 * time.Hour) // a link is valid for 24
		equal(t, "error file by the link", r.fetch(r.URL+token, ""), was)
		r.DB.Clock.Advance(23 * time.Hour) // the sweep has looked at everything
		r.settled()
		listing := string(must(r.sftp("ls -l /result").Output())(t))
		for _, name := range []string{"TDU-1_error.csv", "TDU-1_summary.json", "TDU-2_summary.json"} {
			if !strings.Contains(listing, name) {
				t.Errorf("%s is not in\n%s", name, listing)
			}
		}
		equal(t, "error file by SFTP", r.get("/result/TDU-1_error.csv"), was)
		if got := r.get("/result/TDU-2_summary.json"); !strings.Contains(got, `"status": "SUCCESS"`) {
			t.Errorf("summary: %s", got)
		}
		file := must(r.Admin.Files(t.Context(), admin.FilesFilter{RequestNo: "TDU-1"}))(t).Items[0]
		body := must(r.Admin.FileErrors(t.Context(), file.ID))(t)
		defer body.Close()
		equal(t, "error file by the operator's API", string(must(io.ReadAll(body))(t)), was)

		// Other bytes are the next attempt of what failed there.
		r.put("TDU-1.csv", heading+sale(seller, "ORDER-1", "50.00"))
		equal(t, "status", r.judged("TDU-1", 2).Status, infinia.FileSuccess)
		equal(t, "available", r.available(), "150.00 150.00 0.00 0.00 0.00")
		r.verify()
	})
}

// settled waits until nothing is due.
func (r *rig) settled() {
	r.t.Helper()
	storetest.Until(r.t, "the end of what is due", func() bool {
		queues, _, err := r.DB.DueQueues(r.t.Context())
		return err == nil && len(queues) == 0
	})
}

// Ctrl-C in OpenSSH's sftp closes the file as if it were whole.
func TestUploadCutByCtrlCIsResumed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		const quiet = time.Hour
		r := start(t, engine, store.Settings{UploadQuietSeconds: int64(quiet.Seconds())})
		r.bind(seller)
		rows := []string{heading}
		for i := range 2500 {
			rows = append(rows, sale(seller, fmt.Sprintf("ORDER-%d", i), "1.00"))
		}
		content := strings.Join(rows, "")
		local := r.local("TDU-1.csv", content)

		cut := r.sftp("put "+local+" /upload/TDU-1.csv", "-l", "1000") // kbit/s
		cut.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cut.Start(); err != nil {
			t.Fatal(err)
		}
		storetest.Until(t, "a part of the file", func() bool { return r.size("upload/TDU-1.csv") >= 64<<10 })
		if err := cut.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		cut.Wait() //nolint:errcheck // how it ends differs between versions
		if n := r.size("upload/TDU-1.csv"); n >= len(content) {
			t.Fatalf("all %d bytes were there before the signal", n)
		}

		r.DB.Clock.Advance(quiet / 2)
		r.passFile("TDU-before")
		if status, refusal := r.fileState("TDU-1"); refusal != "BIZ-002 requestNo" {
			t.Errorf("cut, the file is %q %q", status, refusal)
		}
		r.runSFTP("reput " + local + " /upload/TDU-1.csv")
		r.DB.Clock.Advance(quiet * 3 / 4) // more than the quiet time since the cut, less than that since the end
		r.passFile("TDU-after")
		if status, refusal := r.fileState("TDU-1"); refusal != "BIZ-002 requestNo" {
			t.Errorf("resumed, the file is %q %q", status, refusal)
		}
		r.DB.Clock.Advance(quiet)
		rep := r.judged("TDU-1", 1)
		equal(t, "status", rep.Status, infinia.FileSuccess)
		equal(t, "acceptedRows", rep.AcceptedRows, "2500")
		r.verify()
	})
}

// passFile sends another file through, so that whatever was due before it has been seen.
func (r *rig) passFile(requestNo string) {
	r.t.Helper()
	if status := r.file(requestNo, sale(seller, requestNo, "1.00")).Status; status != infinia.FileSuccess {
		r.t.Fatalf("%s is %s", requestNo, status)
	}
}

func TestUploadLimitsOfAnApp(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{UploadFileMegabytes: 1, UploadMegabytes: 2, UploadFiles: 3})
		for _, u := range []struct {
			name  string
			bytes int
			why   string
		}{
			{"TDU-1.csv.part", 1<<20 + 1, "a file has at most 1048576 bytes"},
			{"TDU-1.csv.part", 1 << 20, ""}, // in place of the one before, as are the next
			{"TDU-2.csv.part", 1<<20 - 1000, ""},
			{"TDU-3.csv.part", 1001, "at most 3 files and 2097152 bytes"},
			{"TDU-4.csv.part", 0, "at most 3 files"},
		} {
			err := r.Upload(t.Context(), u.name, make([]byte, u.bytes))
			if got := fmt.Sprint(err); u.why == "" && err != nil || !strings.Contains(got, u.why) {
				t.Errorf("%d bytes in %s: %v, want %q", u.bytes, u.name, err, u.why)
			}
		}
	})
}

func TestWrongKeysBarAnAddress(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, storetest.SQLite, store.Settings{})
	cfg.SFTPWrongKeys = 2
	r := startConfig(t, cfg)
	right := r.sftpKey
	_, private, err := ed25519.GenerateKey(rand.Reader)
	r.sftpKey = must(ssh.NewSignerFromKey(private))(t)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := r.DialSFTP(t.Context()); err == nil {
			t.Error("logged in with a wrong key")
		}
	}
	r.sftpKey = right
	if _, _, err := r.DialSFTP(t.Context()); err == nil {
		t.Error("a barred address logged in")
	}
	if metrics := r.fetch(r.URL+"/metrics", r.File.AdminToken); !strings.Contains(metrics, "infinia_sftp_bars_total 1\n") {
		t.Error("the bar is not counted")
	}
	r.DB.Clock.Advance(10 * time.Minute)
	client, hangUp, err := r.DialSFTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	must(client.ReadDir("/result"))(t)
}
