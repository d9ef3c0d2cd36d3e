package trade

import (
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	p := &progress{}
	var got []int64
	note := func() { got = append(got, p.thousandths()) }
	note()
	p.step(500, 200)
	note()
	p.add(50)
	note()
	p.add(500) // more than was foretold
	note()
	p.step(1000, 0)
	note()
	p.add(1)
	note()
	want := []int64{0, 0, 125, 500, 500, 1000}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
			break
		}
	}
}

// TestProgressOfReading: a file is read three times, and its progress only grows.
func TestProgressOfReading(t *testing.T) {
	t.Parallel()
	file := importHeader + strings.Repeat(sale("O-1", "10.00"), 3*batchRecords) + sale("O-2", "0.00")
	p := &progress{}
	var got []int64
	reading := &progressReader{strings.NewReader(file), p, int64(len(file)), []int{20, 500, 750}}
	res, err := Check(reading, Settings{}, Known{Bound: func(of []Binding) (map[Binding]bool, error) {
		got = append(got, p.thousandths())
		return map[Binding]bool{of[0]: true}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	got = append(got, p.thousandths())
	if err := WriteErrorFile(io.Discard, reading, res, true); err != nil {
		t.Fatal(err)
	}
	got = append(got, p.thousandths())
	if last := got[len(got)-2:]; !slices.IsSorted(got) || got[0] < 20 || last[0] != 500 || last[1] != 750 {
		t.Errorf("%v", got)
	}
}

// TestProgressIsTold: while a file is judged its progress is written down and measured; nothing of that is left afterwards.
func TestProgressIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		reg := prometheus.NewRegistry()
		r.im.Metrics = NewMetrics(reg)
		measured := func() (values []float64) {
			families, err := reg.Gather() // by name
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					values = append(values, m.GetCounter().GetValue()+m.GetGauge().GetValue())
				}
			}
			return values
		}
		task := r.upload("T-1", sale("O-1", "10.00"))
		f := r.file("T-1")
		told := func() (percent int64) {
			r.read(func(q *pgdb.Queries) (err error) {
				percent, err = Progress(t.Context(), q, f)
				return err
			})
			return percent
		}
		if got := told(); got != 0 {
			t.Errorf("before it begins, %d %% are done", got)
		}
		p := &progress{}
		p.step(500, 100)
		p.add(50)
		stop := r.im.tell(t.Context(), f, p)
		storetest.Until(t, "its progress", func() bool { return told() == 25 })
		if got := measured(); !slices.Equal(got, []float64{0.25, 0, 0}) {
			t.Errorf("measured: %v", got)
		}
		stop()
		if err := r.im.Import(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if got := told(); got != 0 {
			t.Errorf("after its end %d %% are told", got)
		}
		if got := measured(); !slices.Equal(got, []float64{1, 1}) {
			t.Errorf("measured: %v", got)
		}
	})
}

// TestRest: every goroutine that judges rests after each piece of its work, and the importer's rest ends when calls do.
func TestRest(t *testing.T) {
	t.Parallel()
	var rests atomic.Int64
	var worked atomic.Int64
	file := importHeader + strings.Repeat(sale("O-1", "10.00"), 3*batchRecords+1)
	res, err := Check(strings.NewReader(file), Settings{Rest: func(w time.Duration) { rests.Add(1); worked.Add(int64(w)) }}, Known{})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := rests.Load(); got < 4+1 || worked.Load() <= 0 {
		t.Errorf("it has rested %d times, after %s", got, time.Duration(worked.Load()))
	}
	asked := 0
	im := &Importer{Busy: func() bool { asked++; return asked < 5 }}
	im.rest(time.Hour)
	if asked != 5 {
		t.Errorf("it has asked %d times", asked)
	}
	asked = -1 << 30
	im.rest(time.Millisecond) // and does not last, should they never end
}
