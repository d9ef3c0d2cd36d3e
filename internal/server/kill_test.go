package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/sample"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

var seed = flag.Uint64("seed", 0, "of the moments at which the server is killed; 0: others each time")

// seedOf is the seed that was asked for, or another one each time.
var seedOf = sync.OnceValue(func() uint64 {
	if *seed != 0 {
		return *seed
	}
	return uint64(time.Now().UnixNano())
})

// What makes this program the server that is to be killed: its data folder, its database unless that is there, and where the
// profile of its CPU goes, if it is wanted, when it is sent SIGUSR1.
const (
	serveVariable    = "INFINIA_TEST_SERVE"
	databaseVariable = "INFINIA_TEST_DATABASE"
	profileVariable  = "INFINIA_TEST_PROFILE"
)

func TestMain(m *testing.M) {
	if data := os.Getenv(serveVariable); data != "" {
		serveUntilKilled(data)
	}
	m.Run()
}

// serveUntilKilled serves until its parent kills it, or is gone itself.
func serveUntilKilled(data string) {
	if _, err := StartSandbox(context.Background(), SandboxConfig{
		Config: Config{Data: data, Database: os.Getenv(databaseVariable), HTTP: "127.0.0.1:0", SFTP: "127.0.0.1:0", CallsPerSecond: 1e6}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if path := os.Getenv(profileVariable); path != "" {
		go func() {
			if err := profileUntilAsked(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // it ends with the parent
	os.Exit(1)
}

func profileUntilAsked(path string) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	<-asked
	pprof.StopCPUProfile()
	return errors.Join(f.Close(), os.Rename(path+".part", path))
}

// startElsewhere starts a server over data in a process of its own. The rig has no more of it than the wire.
func startElsewhere(t testing.TB, data, database string, env ...string) (r *rig, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), serveVariable+"="+data, databaseVariable+"="+database, "GORACE=halt_on_error=1"), env...)
	cmd.Stderr = t.Output()
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if cmd.Wait(); cmd.ProcessState.Exited() {
			t.Errorf("the server ended by itself: %s", cmd.ProcessState)
		}
	})
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the server did not start: %q, %v", line, err)
	}
	r = &rig{Sandbox: new(Sandbox), t: t, dir: data, database: database, process: cmd.Process}
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(data, "sandbox.json")))(t), &r.File); err != nil {
		t.Fatal(err)
	}
	r.ClientKey = must(envelope.ParsePrivateKey(must(os.ReadFile(r.File.ClientPrivateKey))(t)))(t)
	r.PlatformKey = must(envelope.ParsePublicKey(must(os.ReadFile(r.File.PlatformPublicKey))(t)))(t)
	r.Admin = admin.NewClient(r.File.Admin, r.File.AdminToken, nil)
	r.Client = must(infinia.NewClient(r.File.AppID, r.ClientKey, []*rsa.PublicKey{r.PlatformKey}, infinia.WithBaseURL(r.File.API), infinia.WithRetries(0)))(t)
	return r, kill
}

// load is what several callers at once have asked for.
type load struct {
	mu           sync.Mutex
	acknowledged []string
	open         []string // whose answer did not come
}

// killDuring has callers share one unit each, again and again, and kills the server after some answers and a while more.
func killDuring(t *testing.T, data, database string, round, answers int, while time.Duration) *load {
	t.Helper()
	r, kill := startElsewhere(t, data, database)
	l := &load{}
	enough := make(chan struct{})
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				no := fmt.Sprintf("RSR-%d-%d-%d", round, caller, n)
				_, err := r.Client.RevenueSharing(t.Context(), infinia.RevenueSharingRequest{RequestNo: no, SellerID: seller, Currency: currency, Amount: "1.00"})
				l.mu.Lock()
				if err == nil {
					if l.acknowledged = append(l.acknowledged, no); len(l.acknowledged) == answers {
						close(enough)
					}
				} else {
					l.open = append(l.open, no)
				}
				l.mu.Unlock()
				if err != nil {
					if !errors.Is(err, infinia.ErrOutcomeUnknown) {
						t.Errorf("%s: %v, which does not say that the outcome is unknown", no, err)
					}
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { callers.Wait(); close(ended) }()
	select {
	case <-enough:
		<-time.After(while)
	case <-ended:
		t.Error("the calls failed before the server was killed")
	}
	kill()
	<-ended
	return l
}

func TestKilledDuringShares(t *testing.T) {
	t.Parallel()
	t.Logf("repeat with -seed %d", seedOf())
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		random := rand.New(rand.NewPCG(seedOf(), 0))
		cfg := testConfig(t, engine, store.Settings{SettleDelayMillis: 200})
		r := startConfig(t, cfg)
		r.fund("1000000.00", "1000000.00")
		r.stop()
		shared := 0
		for round := range 3 {
			l := killDuring(t, cfg.Data, cfg.Database, round, 20+random.IntN(50), time.Duration(random.IntN(5000))*time.Microsecond)
			r := startConfig(t, cfg)
			states, found := map[string]string{}, map[string]int{}
			for _, s := range r.shares() {
				states[s.RequestNo] = s.State
				found[s.State]++
			}
			arrived := 0
			for _, no := range l.open {
				if _, ok := states[no]; ok {
					arrived++
				}
				if status, refusal := r.share(no, "1.00"); refusal != "" {
					t.Errorf("%s, unanswered and asked again: %q %q", no, status, refusal)
				}
			}
			for _, no := range l.acknowledged {
				if states[no] == "" {
					t.Errorf("%s was acknowledged and is lost", no)
				}
			}
			t.Logf("round %d: %d acknowledged, %d unanswered of which %d were kept; states of all after the start: %v",
				round, len(l.acknowledged), len(l.open), arrived, found)
			r.allEnded()
			for _, no := range l.acknowledged {
				if status, refusal := r.share(no, "1.00"); status != infinia.ShareSuccess {
					t.Errorf("%s, acknowledged and asked again: %q %q", no, status, refusal)
				}
			}
			shared += len(l.acknowledged) + len(l.open)
			equal(t, "number of shares", len(r.shares()), shared)
			equal(t, "balance", r.balance(), fmt.Sprintf("%d.00 0.00", 1000000-shared))
			equal(t, "available", r.available(), fmt.Sprintf("%d.00 1000000.00 %d.00 0.00 0.00", 1000000-shared, shared))
			r.verify()
			r.stop()
		}
	})
}

var (
	kills    = flag.Int("kills", 4, "how often TestKilledDuringFile kills the server while it is at a file")
	killRows = flag.Int("kill-rows", 30_000, "rows of each of its files")
)

// TestKilledDuringFile kills the server at random moments while it judges and books a large file, and gives it another one
// whenever it has ended: each is booked once, and nothing of the runs before counts.
func TestKilledDuringFile(t *testing.T) {
	t.Parallel()
	t.Logf("repeat with -seed %d", seedOf())
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		random := rand.New(rand.NewPCG(seedOf(), 1))
		cfg := testConfig(t, engine, store.Settings{})
		r := startConfig(t, cfg)
		r.bind(seller)
		r.stop()
		r, kill := startElsewhere(t, cfg.Data, cfg.Database)
		var files []sample.Summary
		last := func() string { return fmt.Sprintf("TDU-LARGE-%d", len(files)) }
		processing := func() bool { state, _ := r.fileState(last()); return state == infinia.FileProcessing }
		var at []string
		for began := time.Now(); len(at) < *kills; {
			if len(files) == 0 || !processing() {
				var file bytes.Buffer
				files = append(files, must(sample.Write(&file, sample.Options{Rows: *killRows, Seed: seedOf() + uint64(len(files)), Sellers: []string{seller}}))(t))
				r.put(last()+".csv", file.String())
				storetest.Until(t, "the file is taken over", func() bool { _, code := r.fileState(last()); return code == "" })
				began = time.Now()
			}
			<-time.After(time.Duration(random.IntN(*killRows/100)) * time.Millisecond) // it is at work on the file
			if !processing() {
				continue
			}
			kill()
			at = append(at, fmt.Sprintf("%s after %s", last(), time.Since(began).Round(time.Millisecond)))
			r, kill = startElsewhere(t, cfg.Data, cfg.Database)
			began = time.Now()
		}
		t.Logf("killed: %s", strings.Join(at, ", "))
		storetest.Until(t, "the last file is judged", func() bool { return !processing() })
		kill()
		r = startConfig(t, cfg)
		rows := 0
		for i, sum := range files {
			rep := must(r.Client.TradeDetailsQuery(t.Context(), infinia.TradeDetailsQueryRequest{RequestNo: fmt.Sprintf("TDU-LARGE-%d", i+1)}))(t)
			if rep.Status != infinia.FileSuccess || rep.AcceptedRows != fmt.Sprint(sum.Accepted) {
				t.Errorf("file %d: %+v", i+1, rep)
			}
			rows += *killRows - sum.Repeats
		}
		equal(t, "rows that count", must(r.Admin.Verify(t.Context()))(t).Rows, int64(rows))
		r.verify()
		r.stop()
	})
}
