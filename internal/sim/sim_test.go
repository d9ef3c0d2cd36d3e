package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"hash"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

var (
	seedFlag  = flag.Uint64("seed", 1, "what the simulation is made from")
	stepsFlag = flag.Int("steps", 300, "how many steps it has")
	everyFlag = flag.Int("every", 10_000, "steps from one comparison of the whole database to the next")
)

var keysDir, _ = filepath.Abs("../../envelope/testdata/keys") // a run works in a folder of its own

// TestSim runs one simulation on each engine.
func TestSim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		began := time.Now()
		s := run(t, engine, *seedFlag, *stepsFlag, *everyFlag)
		took := time.Since(began)
		t.Logf("seed %d: %d steps in %s, %.0f/s; trace %s, rows %s\n%s", *seedFlag, *stepsFlag, took.Round(time.Millisecond),
			float64(*stepsFlag)/took.Seconds(), s.traceSum(), s.rows, s.table())
	})
}

// TestSameSeedSameRows: a run can be repeated to the byte, whatever the machine does meanwhile.
func TestSameSeedSameRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		first := run(t, engine, 7, 100, 10_000)
		again := run(t, engine, 7, 100, 10_000)
		if again.traceSum() != first.traceSum() || again.rows != first.rows {
			t.Errorf("trace %s and rows %s, before that %s and %s", again.traceSum(), again.rows, first.traceSum(), first.rows)
		}
	})
}

// TestModelKnowsNoEngine: what judges the engine must not be the engine.
func TestModelKnowsNoEngine(t *testing.T) {
	files, err := filepath.Glob("model*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if strings.Contains(i.Path.Value, ".") {
				t.Errorf("%s imports %s", file, i.Path.Value)
			}
		}
	}
}

// sim is one run: a single goroutine decides everything.
type sim struct {
	*world
	rng    *rand.Rand
	m      *model
	clerk  *clerk
	engine storetest.Engine
	seed   uint64
	steps  int
	step   int
	lines  []string // the last steps, as text
	line   strings.Builder
	trace  hash.Hash
	rows   string // hash of the final rows
	counts map[string]int

	sellers    map[*modelApp][]string // who is active
	past       map[*modelApp][]string // who was
	latest     map[*modelApp]string   // of the latest share
	numbers    int                    // requestNos, references and sellers made so far
	calls      []call                 // every changing call that was made
	links      []link                 // to the hosted page
	acts       []operatorAct
	uploads    []upload
	shares     map[int64]*modelShare
	deliveries map[int64]*modelDelivery
	inFlight   *modelDelivery
	heard      map[string]*modelDelivery // the last status event that an app heard of a seller
	down       map[*modelApp]bool        // whose endpoint fails
	armed      bool                      // a commit is going to fail
	stands     bool                      // the last that failed stands all the same
	calm       bool                      // no more faults
	round      int                       // of what is left to do then
}

// recentSteps are told of a run that failed.
const recentSteps = 30

func run(t *testing.T, engine storetest.Engine, seed uint64, steps, every int) *sim {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("uploads", 0o700); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: t.Context(), rng: rand.New(rand.NewPCG(seed, 2)), now: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC), nodes: make([]*node, nodesMany),
		receive: map[string]http.Handler{}, admins: map[*store.DB]func() http.Handler{}}
	if engine == storetest.Postgres {
		w.books = &postgresBooks{t: t, database: engine.New(t)}
	} else {
		b, err := newSQLite()
		if err != nil {
			t.Fatal(err)
		}
		w.books = b
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &sim{world: w, rng: rng, engine: engine, seed: seed, steps: steps, trace: sha256.New(), counts: map[string]int{},
		m:       &model{acts: map[string]*modelAct{}, paid: map[string]bool{}, tasks: map[string][]*modelTask{}},
		clerk:   &clerk{rng: rng, recent: map[*modelApp][]modelRow{}},
		sellers: map[*modelApp][]string{}, past: map[*modelApp][]string{}, latest: map[*modelApp]string{}, shares: map[int64]*modelShare{}, deliveries: map[int64]*modelDelivery{}, heard: map[string]*modelDelivery{}, down: map[*modelApp]bool{}}
	s.advance(0)
	s.must("start", s.startAll())
	s.addApps()
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for s.step = 1; s.step <= steps; s.step++ {
		s.advance(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		at := s.rng.IntN(total)
		for _, k := range kinds {
			if at -= k.weight; at < 0 {
				s.do(k.name, k.do)
				break
			}
		}
		if s.step%every == 0 {
			s.compareAll()
		}
	}
	s.settleDown()
	s.compareAll()
	s.must("close", s.stop())
	s.rows = s.compareClosed()
	return s
}

// do runs one step, holds what it has touched against the model, and writes it down.
func (s *sim) do(name string, step func(*sim)) {
	s.line.Reset()
	fmt.Fprintf(&s.line, "%d %s %s:", s.step, s.now.Format("2006-01-02T15:04:05.000"), name)
	s.counts[name]++
	defer s.recovered()
	step(s)
	s.compareTouched()
	text := s.line.String()
	s.trace.Write([]byte(text + "\n"))
	s.lines = append(s.lines, text)
	if len(s.lines) > 2*recentSteps {
		s.lines = slices.Delete(s.lines, 0, recentSteps)
	}
}

// recovered has a panic told like any other failure.
func (s *sim) recovered() {
	if p := recover(); p != nil {
		s.tell(fmt.Sprintf("panic: %v", p))
		panic(p)
	}
}

func (s *sim) say(format string, args ...any) { fmt.Fprintf(&s.line, " "+format, args...) }

// tell prints how a run failed and how to have it fail again.
func (s *sim) tell(what string) {
	s.t.Helper()
	s.t.Logf("%s\n%s\n\nseed %d, step %d: %s\nagain: make sim ENGINE=%s SEED=%d STEPS=%d", strings.Join(s.lines[max(0, len(s.lines)-recentSteps):], "\n"),
		s.line.String(), s.seed, s.step, what, s.engine, s.seed, s.steps)
}

func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	s.tell(fmt.Sprintf(format, args...))
	s.t.FailNow()
}

func (s *sim) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.fail("%s: %v", what, err)
	}
}

func (s *sim) same(what string, is, want any) {
	s.t.Helper()
	if is != want {
		s.fail("%s: %v, the model says %v", what, is, want)
	}
}

// advance moves the one clock.
func (s *sim) advance(d time.Duration) {
	s.now = s.now.Add(d)
	s.m.now = s.now.UnixMilli()
}

func (s *sim) traceSum() string { return hex.EncodeToString(s.trace.Sum(nil))[:16] }

func (s *sim) table() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, "%9d  %s\n", s.counts[name], name)
	}
	return b.String()
}

// chance is true once in n.
func (s *sim) chance(n int) bool { return s.rng.IntN(n) == 0 }

func pick[E any](s *sim, from []E) E { return from[s.rng.IntN(len(from))] }

// recent picks one of the latest, now and then one of all.
func recent[E any](s *sim, from []E) E {
	if n := len(from); n > 50 && !s.chance(5) {
		from = from[n-50:]
	}
	return pick(s, from)
}

func (s *sim) number(prefix string) string {
	s.numbers++
	return fmt.Sprintf("%s-%d", prefix, s.numbers)
}
