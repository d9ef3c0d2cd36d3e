package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// rig is a node over a database.
type rig struct {
	testing.TB
	db   *store.DB
	keys Keys
}

func newRig(t testing.TB, database string) *rig {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{TB: t, db: db}
}

func (r *rig) write(text []byte) int64 {
	r.Helper()
	id, err := Write(r.Context(), r.db, r.keys, func(w io.Writer) error { _, err := w.Write(text); return err })
	if err != nil {
		r.Fatal(err)
	}
	return id
}

func (r *rig) open(id int64) *io.SectionReader {
	r.Helper()
	f, err := Open(r.Context(), r.db, r.keys, id)
	if err != nil {
		r.Fatal(err)
	}
	return f
}

func (r *rig) alone(fn func(context.Context, *store.View, *pgdb.Queries) error) error {
	return r.db.Do(r.Context(), store.Unit{Name: "test", Alone: fn})
}

// use has a name in /result refer to a content.
func (r *rig) use(name string, id int64) error {
	return r.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return errors.Join(Refer(ctx, q, id), q.PutResultFile(ctx, pgdb.PutResultFileParams{AppID: "demo", Name: name, ContentID: id}))
	})
}

// sweep does what is due, and tells how much that was.
func (r *rig) sweep() int {
	r.Helper()
	tasks := r.due()
	for _, t := range tasks {
		if err := Sweep(r.Context(), r.db, t); err != nil {
			r.Fatal(err)
		}
	}
	if left := r.due(); len(left) != 0 {
		r.Errorf("%d tasks are left", len(left))
	}
	return len(tasks)
}

func (r *rig) due() (tasks []pgdb.Task) {
	r.Helper()
	if err := r.db.Read(r.Context(), func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: Queue, Now: store.Millis(r.db.Clock.Now()), Most: 1000})
		return err
	}); err != nil {
		r.Fatal(err)
	}
	return tasks
}

// chunks counts what is there of a content.
func (r *rig) chunks(id int64) (n int) {
	r.Helper()
	if err := r.db.Read(r.Context(), func(q *pgdb.Queries) error {
		for no := range int64(200) {
			_, err := q.GetContentChunk(r.Context(), pgdb.GetContentChunkParams{ContentID: id, No: no})
			if err == nil {
				n++
			} else if !store.NotFound(err) {
				return err
			}
		}
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	return n
}

// text is n bytes like those of a trade file.
func text(n int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var b bytes.Buffer
	at := time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC)
	for i := 0; b.Len() < n; i++ {
		price, quantity := random.IntN(100_000)+1, random.IntN(9)+1
		at = at.Add(time.Duration(random.IntN(5000)) * time.Millisecond)
		fmt.Fprintf(&b, "SELLER-%06d,PI-%d,SKU-%d,%s,CNH,%d.%02d,001,Desk lamp %d,%d,%d.%02d,Shipped,,SF%013d,SF Express,%s,USA,https://store.example.com/acme/%d,,\n",
			random.IntN(5000), 1_000_000+i, random.IntN(20_000), at.Format(time.DateTime), price*quantity/100, price*quantity%100, random.IntN(500),
			quantity, price/100, price%100, random.Int64N(1e13), at.Add(26*time.Hour).Format(time.DateTime), random.IntN(5000))
	}
	return b.Bytes()[:n]
}

func TestRoundTrip(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 1, 2*chunkSize + 1} {
			want := text(n)
			f := r.open(r.write(want))
			if f.Size() != int64(n) {
				t.Errorf("%d bytes have become %d", n, f.Size())
			}
			if err := iotest.TestReader(f, want); err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		// As they come from a file over a network: in pieces of any size.
		want := text(3*chunkSize + 5)
		id, err := Write(t.Context(), r.db, r.keys, func(w io.Writer) error {
			_, err := io.Copy(w, iotest.HalfReader(bytes.NewReader(want)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r.open(id)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("written in pieces: %d bytes, %v", len(got), err)
		}
	})
}

// TestReadAnywhere: as SFTP does, from several goroutines at once.
func TestReadAnywhere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		want := text(6*chunkSize + 1234)
		f := r.open(r.write(want))
		var all sync.WaitGroup
		for reader := range 4 {
			random := rand.New(rand.NewPCG(7, uint64(reader)))
			all.Go(func() {
				for range 25 {
					off := random.IntN(len(want))
					n := random.IntN(min(2*chunkSize, len(want)-off) + 1)
					p := make([]byte, n)
					if got, err := f.ReadAt(p, int64(off)); got != n || err != nil || !bytes.Equal(p, want[off:off+n]) {
						t.Errorf("%d bytes at %d: %d, %v", n, off, got, err)
					}
				}
			})
		}
		all.Wait()
		p := make([]byte, 10)
		if n, err := f.ReadAt(p, int64(len(want))-4); n != 4 || err != io.EOF {
			t.Errorf("over the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(p, int64(len(want))); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
	})
}

// TestWhatACrashLeavesIsSwept: nothing of a content that was never referred to is there after a day, and until then all is.
func TestWhatACrashLeavesIsSwept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		crash := errors.New("the process ended")
		if _, err := Write(t.Context(), r.db, r.keys, func(w io.Writer) error {
			_, err := w.Write(make([]byte, 70*chunkSize))
			return errors.Join(err, crash)
		}); !errors.Is(err, crash) {
			t.Fatal(err)
		}
		r.db.Clock.Advance(unused - time.Minute)
		if n := r.sweep(); n != 0 {
			t.Errorf("%d were swept too early", n)
		}
		r.db.Clock.Advance(time.Minute)
		tasks := r.due()
		if len(tasks) != 1 {
			t.Fatalf("%d tasks", len(tasks))
		}
		id := tasks[0].RecordID
		if n := r.chunks(id); n != 70 {
			t.Errorf("%d chunks before the sweep", n)
		}
		// The sweep stops in the middle as well: after its first unit.
		if err := r.alone(func(ctx context.Context, _ *store.View, q *pgdb.Queries) error { return q.DeleteContent(ctx, id) }); err != nil {
			t.Fatal(err)
		}
		r.sweep()
		if n := r.chunks(id); n != 0 {
			t.Errorf("%d chunks are left", n)
		}
	})
}

// TestSweepLeavesWhatIsUsed: a content is there as long as something refers to it, and a day longer.
func TestSweepLeavesWhatIsUsed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		used, unusedID, file, errorFile := r.write(text(chunkSize+1)), r.write(text(10)), r.write(text(10)), r.write(text(10))
		if err := r.use("a", used); err != nil {
			t.Fatal(err)
		}
		if err := r.db.Do(t.Context(), store.Unit{Judge: func(v *store.View) error {
			f := pgdb.TradeFile{ID: v.NextID(), AppID: "demo", RequestNo: "T-1", ContentID: file, ErrorsID: errorFile}
			v.Files.Put(f.ID, f)
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		reading := r.open(used)
		r.db.Clock.Advance(unused)
		if n := r.sweep(); n != 4 {
			t.Errorf("%d tasks", n)
		}
		for name, c := range map[string]struct {
			id    int64
			there bool
		}{"used": {used, true}, "unused": {unusedID, false}, "of a file": {file, true}, "errors of a file": {errorFile, true}} {
			if _, err := Open(t.Context(), r.db, r.keys, c.id); (err == nil) != c.there || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := r.use("b", unusedID); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was removed is referred to: %v", err)
		}

		replace := r.write(text(5))
		if err := r.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			Release(v, used)
			return q.PutResultFile(ctx, pgdb.PutResultFileParams{AppID: "demo", Name: "a", ContentID: replace})
		}); err != nil {
			t.Fatal(err)
		}
		half := make([]byte, 100)
		if _, err := reading.ReadAt(half, 0); err != nil {
			t.Errorf("who reads what was replaced: %v", err)
		}
		r.db.Clock.Advance(unused)
		r.sweep()
		if _, err := reading.ReadAt(half, chunkSize-10); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("who still reads it a day later: %v", err)
		}
		if n := r.chunks(used); n != 0 {
			t.Errorf("%d chunks of it are left", n)
		}
		if got, err := io.ReadAll(r.open(replace)); err != nil || !bytes.Equal(got, text(5)) {
			t.Errorf("what replaced it: %q, %v", got, err)
		}
	})
}

// TestSweepAndReferenceAtOnce: on whichever nodes they are, either the reference is refused or the content stays.
func TestSweepAndReferenceAtOnce(t *testing.T) {
	database := storetest.Postgres.New(t)
	one, other := newRig(t, database), newRig(t, database)
	for round := range 20 {
		id := one.write(text(10))
		swept := make(chan error)
		sweep := func() { swept <- Sweep(t.Context(), other.db, pgdb.Task{ID: 1 << 60, RecordID: id}) }
		if round%2 == 0 {
			go sweep()
		}
		err := one.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			if err := Refer(ctx, q, id); err != nil {
				return err
			}
			if round%2 == 1 {
				go sweep()
			}
			return q.PutResultFile(ctx, pgdb.PutResultFileParams{AppID: "demo", Name: fmt.Sprint(round), ContentID: id})
		})
		if err != nil && (round%2 == 1 || !errors.Is(err, fs.ErrNotExist)) {
			t.Errorf("refer: %v", err)
		}
		if err := <-swept; err != nil {
			t.Errorf("sweep: %v", err)
		}
		if _, gone := Open(t.Context(), one.db, one.keys, id); (err == nil) != (gone == nil) {
			t.Errorf("referred to: %v; opened: %v", err, gone)
		}
	}
}

// TestSweptWhileWritten: who takes a day to write a content finds out, and leaves nothing.
func TestSweptWhileWritten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		var id int64
		_, err := Write(t.Context(), r.db, r.keys, func(w io.Writer) error {
			if _, err := w.Write(text(2 * chunkSize)); err != nil {
				return err
			}
			r.db.Clock.Advance(unused)
			id = r.due()[0].RecordID
			r.sweep()
			_, err := w.Write(text(2 * chunkSize))
			return err
		})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("written: %v", err)
		}
		if n := r.chunks(id); n != 0 {
			t.Errorf("%d chunks", n)
		}
	})
}

// TestFailureIsTold: that a chunk could not be stored is told while the chunk after the next is written, or at the end.
func TestFailureIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		for _, sizes := range [][]int{{0, 1}, {chunkSize, 1}, {chunkSize, 10 * chunkSize}} { // before and after the database is out of reach
			ctx, cancel := context.WithCancel(t.Context())
			taken := 0
			_, err := Write(ctx, r.db, r.keys, func(w io.Writer) error {
				if _, err := w.Write(text(sizes[0])); err != nil {
					return err
				}
				cancel()
				n, err := w.Write(text(sizes[1]))
				taken = n
				return err
			})
			if !errors.Is(err, context.Canceled) || taken > 2*chunkSize {
				t.Errorf("out of reach after %d bytes: %v after %d more", sizes[0], err, taken)
			}
		}
	})
}

// TestDamageIsNoticed: a chunk that is not what was written is told as such, whatever is wrong with it.
func TestDamageIsNoticed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		good := r.write(text(chunkSize))
		for name, change := range map[string]func(data []byte) []byte{
			"a bit":  func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
			"cut":    func(data []byte) []byte { return data[:len(data)-1] },
			"empty":  func([]byte) []byte { return []byte{} },
			"longer": func(data []byte) []byte { return append(data, data...) },
		} {
			if err := r.alone(func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
				chunk, err := q.GetContentChunk(ctx, pgdb.GetContentChunkParams{ContentID: good})
				if err != nil {
					return err
				}
				id := v.NextID()
				if err := q.InsertContent(ctx, pgdb.InsertContentParams{ID: id, Size: chunkSize}); err != nil {
					return err
				}
				Release(v, id)
				return q.InsertContentChunk(ctx, pgdb.InsertContentChunkParams{ContentID: id, Data: change(chunk.Data)})
			}); err != nil {
				t.Fatal(err)
			}
			var newest pgdb.Task
			r.db.Clock.Advance(unused)
			for _, task := range r.due() {
				if task.ID > newest.ID {
					newest = task
				}
			}
			if got, err := io.ReadAll(r.open(newest.RecordID)); err == nil || len(got) != 0 {
				t.Errorf("%s: read %d bytes, %v", name, len(got), err)
			}
		}
		if _, err := io.ReadAll(r.open(good)); err != nil {
			t.Error(err)
		}
	})
}

// TestMemoryStaysSmall: a content of 40 MB is never in memory, neither when it is written nor when it is read.
func TestMemoryStaysSmall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine.New(t))
		const pieces, most = 40, 8 << 20
		piece := bytes.Repeat(text(1e4), 100) // cheap to compress
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		look := func(when string, i int) {
			if i%10 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				if held := int64(now.HeapAlloc) - int64(before.HeapAlloc); held > most {
					t.Fatalf("%s %d MB, %d bytes are held", when, i, held)
				}
			}
		}
		id, err := Write(t.Context(), r.db, r.keys, func(w io.Writer) error {
			for i := range pieces {
				if _, err := w.Write(piece); err != nil {
					return err
				}
				look("after writing", i)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		f, got := r.open(id), make([]byte, len(piece))
		for i := range pieces {
			if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, piece) {
				t.Fatalf("reading MB %d: %v", i, err)
			}
			look("after reading", i)
		}
	})
}

// BenchmarkContent prints how fast a trade file goes into the database, every chunk on disk, and comes out of it again; and
// how many bytes of it a byte in the database stands for.
func BenchmarkContent(b *testing.B) {
	const size = 64 << 20
	file := text(size)
	storetest.Bench(b, func(b *testing.B, database func(testing.TB) string) {
		r := newRig(b, database(b))
		id := r.write(file)
		stored := 0
		if err := r.db.Read(b.Context(), func(q *pgdb.Queries) error {
			for no := range int64(size / chunkSize) {
				chunk, err := q.GetContentChunk(b.Context(), pgdb.GetContentChunkParams{ContentID: id, No: no})
				if err != nil {
					return err
				}
				stored += len(chunk.Data)
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.Run("write", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				r.write(file)
			}
			b.ReportMetric(float64(size)/float64(stored), "ratio")
		})
		b.Run("read", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if _, err := io.Copy(io.Discard, r.open(id)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("remove", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				gone := r.write(file)
				b.StartTimer()
				if err := Sweep(b.Context(), r.db, pgdb.Task{RecordID: gone}); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
