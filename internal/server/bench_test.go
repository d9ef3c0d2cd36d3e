package server

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// BenchmarkCalls makes Revenue Sharing calls through HTTP and gate with RSA keys of 4096 bits. The requests, in full blocks,
// were sealed before, and answers are not opened. Each node has a process of its own: its CPU is that of the calls and of
// their settlement, and a profile of it, which -profiles keeps, says how much of that is RSA.
func BenchmarkCalls(b *testing.B) {
	client, platform := testKey(b, "client-4096"), testKey(b, "platform-4096")
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		for _, nodes := range []int{1, 2} {
			for _, clients := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("nodes=%d/clients=%d", nodes, clients), func(b *testing.B) {
					cfg := testConfig(b, storetest.SQLite, store.Settings{})
					cfg.ClientKey, cfg.PlatformKey = client, platform
					if name := database(b); store.IsPostgres(name) {
						cfg.Database = name
					} else if nodes > 1 {
						b.Skip("SQLite is one node's")
					}
					benchCalls(b, cfg, nodes, clients)
				})
			}
		}
	})
}

func benchCalls(b *testing.B, cfg SandboxConfig, nodes, clients int) {
	first := startConfig(b, cfg)
	first.fund("1000000.00", "1000000.00")
	first.stop()
	rigs, profiled := make([]*rig, nodes), make([]string, nodes)
	for i := range rigs {
		data := cfg.Data
		if i > 0 { // the app's keys are all that nodes have in common beside the database
			data = b.TempDir()
			if err := os.CopyFS(filepath.Join(data, "keys"), os.DirFS(filepath.Join(cfg.Data, "keys"))); err != nil {
				b.Fatal(err)
			}
		}
		profiled[i] = filepath.Join(profilesIn(b), fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(b.Name(), "/", "-"), i))
		os.Remove(profiled[i]) // of the run before, with fewer calls
		r, kill := startElsewhere(b, data, cfg.Database, profileVariable+"="+profiled[i])
		defer kill()
		rigs[i] = r
	}
	used := func() (nodes, database float64) {
		for _, r := range rigs {
			nodes += r.cpuSeconds()
		}
		return nodes, postgresCPU(b, cfg.Database)
	}
	bodies := sealShares(b, rigs[0], b.N)
	nodesBefore, databaseBefore := used()
	b.ResetTimer()
	took := timed(b, rigs, bodies, clients)
	b.StopTimer()
	rigs[0].allEnded()
	nodesCPU, databaseCPU := used()
	cpu := (nodesCPU - nodesBefore) * 1000 / float64(b.N)
	rsaCPU := cpu * rsaShare(b, rigs, profiled)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(took[b.N/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(cpu, "cpu-ms/call")
	b.ReportMetric(rsaCPU, "rsa-ms/call")
	b.ReportMetric(cpu-rsaCPU, "other-ms/call")
	if cfg.Database != "" {
		b.ReportMetric((databaseCPU-databaseBefore)*1000/float64(b.N), "postgres-ms/call")
	}
	b.ReportMetric(0, "ns/op")
	equal(b, "balance", rigs[0].balance(), fmt.Sprintf("%d.00 0.00", 1000000-b.N))
}

// postgresCPU is what all processes of a PostgreSQL server have used so far, in seconds.
func postgresCPU(b *testing.B, database string) (seconds float64) {
	b.Helper()
	if database == "" {
		return 0
	}
	conn := must(pgx.Connect(b.Context(), database))(b)
	defer conn.Close(b.Context())
	var backend int
	if err := conn.QueryRow(b.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		b.Fatal(err)
	}
	stat := func(pid string) (parent string, ticks float64) {
		text, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil { // it has ended meanwhile
			return "", 0
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		for _, f := range fields[11:15] { // its own, and of its children that have ended
			ticks += must(strconv.ParseFloat(f, 64))(b)
		}
		return fields[1], ticks
	}
	postmaster, _ := stat(strconv.Itoa(backend))
	for _, dir := range must(filepath.Glob("/proc/[0-9]*"))(b) {
		pid := filepath.Base(dir)
		if parent, ticks := stat(pid); parent == postmaster || pid == postmaster {
			seconds += ticks / 100
		}
	}
	return seconds
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

var profiles = flag.String("profiles", "", "folder in which BenchmarkCalls leaves the nodes' profiles")

func profilesIn(b *testing.B) string {
	if *profiles == "" {
		return b.TempDir()
	}
	return *profiles
}

// rsaShare is how much of the nodes' CPU went into RSA itself, from 0 to 1.
func rsaShare(b *testing.B, rigs []*rig, profiled []string) float64 {
	for i, r := range rigs {
		if err := r.process.Signal(syscall.SIGUSR1); err != nil {
			b.Fatal(err)
		}
		storetest.Until(b, profiled[i], func() bool { _, err := os.Stat(profiled[i]); return err == nil })
	}
	args := append([]string{"tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0", "-focus", `^crypto/rsa\.`}, profiled...)
	out, err := exec.Command(needs.Program(b, "go"), args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	percent := regexp.MustCompile(`Showing nodes accounting for .*, ([0-9.]+)% of `).FindSubmatch(out)
	if percent == nil { // the calls were too few for a sample
		return 0
	}
	return must(strconv.ParseFloat(string(percent[1]), 64))(b) / 100
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

// timed posts shares from several clients, each at one of the nodes, and says how long they took, the quickest first.
func timed(b *testing.B, rigs []*rig, bodies [][]byte, clients int) []time.Duration {
	poster := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer poster.CloseIdleConnections()
	took := make([]time.Duration, len(bodies))
	var next atomic.Int64
	var posting sync.WaitGroup
	for c := range clients {
		posting.Go(func() {
			url := rigs[c%len(rigs)].File.API + infinia.OpRevenueSharing.Path()
			for i := next.Add(1) - 1; i < int64(len(bodies)); i = next.Add(1) - 1 {
				start := time.Now()
				post(b, poster, url, bodies[i])
				took[i] = time.Since(start)
			}
		})
	}
	posting.Wait()
	slices.Sort(took)
	return took
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
	storetest.Until(b, "sandbox.json", func() bool { _, err := os.Stat(filepath.Join(data, "sandbox.json")); return err == nil })
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
