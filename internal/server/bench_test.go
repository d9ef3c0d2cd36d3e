package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/store"
)

// BenchmarkCalls makes Revenue Sharing calls through HTTP and gate with RSA keys of 4096 bits. The requests, in full blocks,
// were sealed before, and answers are not opened. The server has a process of its own: its CPU is that of the calls and of
// their settlement. RSA is what the three operations of a call cost by themselves, before and after, on as many cores.
func BenchmarkCalls(b *testing.B) {
	client, platform := testKey(b, "client-4096"), testKey(b, "platform-4096")
	data := must(envelope.Encrypt([]byte(`{"requestNo":"RSR-1"}`), &platform.PublicKey, envelope.FullBlock))(b)
	signature := must(envelope.Sign(data, client))(b)
	rsaOfCall := func(cores int) time.Duration {
		return cpuOf(cores, 40, func() { must(envelope.Decrypt(data, platform))(b) }) +
			cpuOf(cores, 200, func() { must(envelope.Verify(data, signature, &client.PublicKey))(b) }) +
			cpuOf(cores, 200, func() { must(envelope.Encrypt([]byte(data[:100]), &client.PublicKey, envelope.FullBlock))(b) })
	}
	for _, clients := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			cfg := testConfig(b, b.TempDir(), store.Settings{})
			cfg.ClientKey, cfg.PlatformKey = client, platform
			r := startConfig(b, cfg)
			r.fund("1000000.00", "1000000.00")
			r.stop()
			r, kill := startElsewhere(b, cfg.Data, "")
			defer kill()
			bodies := sealShares(b, r, b.N)
			cores := min(clients, runtime.GOMAXPROCS(0))
			rsa, before := rsaOfCall(cores), r.cpuSeconds()
			poster := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
			b.ResetTimer()
			var next atomic.Int64
			var posting sync.WaitGroup
			for range clients {
				posting.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						post(b, poster, r.File.API+infinia.OpRevenueSharing.Path(), bodies[i-1])
					}
				})
			}
			posting.Wait()
			b.StopTimer()
			r.allEnded()
			cpu := (r.cpuSeconds() - before) * 1000 / float64(b.N)
			rsaCPU := float64((rsa + rsaOfCall(cores)).Microseconds()) / 2000
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			b.ReportMetric(cpu, "cpu-ms/call")
			b.ReportMetric(rsaCPU, "rsa-ms/call")
			b.ReportMetric(cpu-rsaCPU, "other-ms/call")
			equal(b, "balance", r.balance(), fmt.Sprintf("%d.00 0.00", 1000000-b.N))
		})
	}
}

// cpuSeconds is what the server's process has used so far.
func (r *rig) cpuSeconds() float64 {
	r.t.Helper()
	metrics := r.fetch(r.File.Console+"metrics", r.File.AdminToken)
	line := regexp.MustCompile(`(?m)^process_cpu_seconds_total (.*)$`).FindStringSubmatch(metrics)
	if line == nil {
		r.t.Fatalf("no process_cpu_seconds_total in\n%s", metrics)
	}
	return must(strconv.ParseFloat(line[1], 64))(r.t)
}

// cpuOf is the CPU that fn needs while it runs on so many cores.
func cpuOf(cores, times int, fn func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	var running sync.WaitGroup
	for range cores {
		running.Go(func() {
			for range times {
				fn()
			}
		})
	}
	running.Wait()
	return (used() - before) / time.Duration(cores*times)
}

func sealShares(b *testing.B, r *rig, n int) [][]byte {
	bodies := make([][]byte, n)
	var next atomic.Int64
	var sealing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		sealing.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				bodies[i-1] = seal(b, "demo", fmt.Sprintf(`{"requestNo":"RSR-%d","sellerId":%q,"currency":%q,"amount":"1.00"}`, i, seller, currency),
					r.PlatformKey, r.ClientKey)
			}
		})
	}
	sealing.Wait()
	return bodies
}

func post(b *testing.B, client *http.Client, url string, body []byte) {
	resp, err := client.Post(url, "application/json", bytes.NewReader(body)) //nolint:noctx // a benchmark
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(answer, []byte(`"code":"SUC-200"`)) {
		b.Errorf("%v %.200s", err, answer)
	}
}

// BenchmarkDevStart is the time from starting the program to sandbox.json, and the memory it has then. Its keys, of 4096
// bits, were made at an earlier start.
func BenchmarkDevStart(b *testing.B) {
	program := filepath.Join(b.TempDir(), "infinia")
	if out, err := exec.Command(needs.Program(b, "go"), "build", "-o", program, "../../cmd/infinia").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	data := filepath.Join(b.TempDir(), ".infinia")
	startDev(b, program, data)()
	var resident, most float64
	for b.Loop() {
		stop := startDev(b, program, data)
		b.StopTimer()
		is, peak := stop()
		resident, most = max(resident, is), max(most, peak)
		b.StartTimer()
	}
	b.ReportMetric(resident, "MB-resident")
	b.ReportMetric(most, "MB-peak")
}

// startDev returns when the sandbox is ready; stop tells the memory in MB.
func startDev(b *testing.B, program, data string) (stop func() (resident, peak float64)) {
	b.Helper()
	cmd := exec.Command(program, "dev", "--data", data, "--http", "127.0.0.1:0", "--sftp", "127.0.0.1:0")
	cmd.Stderr = b.Output()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	eventually(b, "sandbox.json", func() bool { _, err := os.Stat(filepath.Join(data, "sandbox.json")); return err == nil })
	return func() (resident, peak float64) {
		status := string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)))(b))
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		return megabytes(b, status, "VmRSS:"), megabytes(b, status, "VmHWM:")
	}
}

func megabytes(b *testing.B, status, name string) float64 {
	_, rest, _ := strings.Cut(status, name)
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kilobytes, err := strconv.ParseFloat(number, 64)
	if err != nil {
		b.Fatalf("%s in %s: %v", name, status, err)
	}
	return kilobytes / 1000 * 1.024
}
