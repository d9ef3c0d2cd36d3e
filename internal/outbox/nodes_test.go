package outbox

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// newNodes are two nodes over one database, and a connection to it that is nobody's.
func newNodes(t *testing.T) (nodes []*rig, side *pgx.Conn) {
	t.Helper()
	database := storetest.Postgres.New(t)
	side, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { side.Close(context.Background()) })
	return []*rig{newNode(t, database), newNode(t, database)}, side
}

// add leaves tasks with the numbers from first on in a queue.
func (r *rig) add(queue string, first, many int64) {
	r.Helper()
	r.do(store.Unit{Judge: func(v *store.View) error {
		for n := range many {
			v.AddTask(queue, first+n, v.Now())
		}
		return nil
	}})
}

// done ends a task; it is all there is to do.
func (r *rig) done(t pgdb.Task) error {
	return r.db.Do(r.Context(), store.Unit{Judge: func(v *store.View) error { v.DropTask(t.ID); return nil }})
}

func tasks(t *testing.T, side *pgx.Conn) (n int) {
	t.Helper()
	if err := side.QueryRow(t.Context(), "SELECT count(*) FROM task").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// cutOff ends the connection on which a node has its claims.
func cutOff(t *testing.T, side *pgx.Conn) {
	t.Helper()
	var ended int
	if err := side.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM (SELECT DISTINCT pid FROM pg_locks
		WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS holder`).Scan(&ended); err != nil {
		t.Fatal(err)
	}
	if ended != 1 {
		t.Fatalf("%d nodes had claims", ended)
	}
}

// TestNodesShareQueues: each task is done once, a queue is worked by one node at a time and in order, whichever node leaves
// the tasks.
func TestNodesShareQueues(t *testing.T) {
	t.Parallel()
	nodes, side := newNodes(t)
	const queues, batches, batch = 5, 6, 10
	var mu sync.Mutex
	working, did, by := map[string]int{}, map[string][]int64{}, map[int]int{}
	for i, r := range nodes {
		r.work(map[string]Work{"q": {Most: 3, Run: func(_ context.Context, tasks []pgdb.Task) []error {
			queue := tasks[0].Queue
			mu.Lock()
			if working[queue]++; working[queue] > 1 {
				t.Errorf("%s is worked by two", queue)
			}
			// Noted before the tasks end: once the last has ended the test reads.
			by[i] += len(tasks)
			for _, task := range tasks {
				did[queue] = append(did[queue], task.RecordID)
			}
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				working[queue]--
			}()
			errs := make([]error, len(tasks))
			for n, task := range tasks {
				errs[n] = r.done(task)
			}
			return errs
		}}})
	}
	for n := range int64(batches) {
		for q := range queues {
			nodes[(int(n)+q)%2].add(fmt.Sprint("q/", q), n*batch, batch)
		}
	}
	storetest.Until(t, "all tasks to be done", func() bool { return tasks(t, side) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for queue, numbers := range did {
		if len(numbers) != batches*batch || !slices.IsSorted(numbers) {
			t.Errorf("%s: did %v", queue, numbers)
		}
	}
	t.Logf("done by each node: %v", by)
}

// TestCutOffNodeLosesItsQueue: the other node takes over what a node was at that the database no longer hears of. When that
// node ends its work after all, it has been done twice, and both nodes go on.
func TestCutOffNodeLosesItsQueue(t *testing.T) {
	t.Parallel()
	nodes, side := newNodes(t)
	began, again, late := make(chan struct{}), make(chan struct{}), make(chan struct{})
	let := sync.OnceFunc(func() { close(late) })
	t.Cleanup(let)
	var mu sync.Mutex
	runs := map[int64]int{}
	for _, r := range nodes {
		r.work(map[string]Work{"q": {Most: 1, Run: Each(func(_ context.Context, task pgdb.Task) error {
			mu.Lock()
			runs[task.RecordID]++
			run := runs[task.RecordID]
			mu.Unlock()
			if task.RecordID == 1 && run == 1 {
				close(began)
				<-late
			} else if task.RecordID == 1 {
				close(again)
			}
			return r.done(task)
		})}})
	}
	nodes[0].add("q", 1, 3)
	<-began
	cut := time.Now()
	cutOff(t, side)
	<-again
	t.Logf("the other node was at the task %s after the cut", time.Since(cut).Round(time.Millisecond))
	storetest.Until(t, "the other node to go on", func() bool { return tasks(t, side) == 0 })
	let()
	for i, r := range nodes {
		r.add("q", int64(10+10*i), 5)
		storetest.Until(t, "the tasks to be done", func() bool { return tasks(t, side) == 0 })
	}
	mu.Lock()
	defer mu.Unlock()
	if runs[1] != 2 {
		t.Errorf("the task ran %d times", runs[1])
	}
	delete(runs, 1)
	for number, n := range runs {
		if n != 1 {
			t.Errorf("task %d ran %d times", number, n)
		}
	}
}

// TestWebhookOfTwoNodes: a node that was cut off while it waited for the endpoint's answer books its try after another node
// has made its own. Whatever the two were answered, the delivery has one outcome and at most one next try.
func TestWebhookOfTwoNodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                 string
		late, early          bool // whether the endpoint takes what the cut off node sends, and what the other does
		state                string
		attempts, next, sent int
	}{
		{"both taken", true, true, Delivered, 1, 0, 2},
		{"the other's taken", false, true, Delivered, 1, 0, 2},
		{"the late one taken", true, false, Delivered, 2, 1, 2},
		{"none taken", false, false, Pending, 1, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			nodes, side := newNodes(t)
			began, late := make(chan struct{}), make(chan struct{})
			let := sync.OnceFunc(func() { close(late) })
			var mu sync.Mutex
			sent := 0
			nodes[0].app("demo", func(w http.ResponseWriter, req *http.Request) {
				mu.Lock()
				sent++
				n := sent
				mu.Unlock()
				taken := n > 2 || c.early
				if n == 1 {
					close(began)
					<-late
					taken = c.late
				}
				if taken {
					success(w, req)
				} else {
					http.Error(w, "no", http.StatusInternalServerError)
				}
			})
			booked := make(chan error, 9) // by either node
			for _, r := range nodes {
				w := NewWebhooks(r.db, WebhookConfig{AllowPrivate: true, Timeout: time.Minute})
				r.work(map[string]Work{"webhook": {Most: 1, Run: Each(func(ctx context.Context, task pgdb.Task) error {
					err := w.Deliver(ctx, task)
					booked <- err
					return err
				})}})
			}
			t.Cleanup(let)
			nodes[0].notify("demo", "FROZEN")
			<-began
			cutOff(t, side)
			errs := []error{<-booked}
			let()
			for _, err := range append(errs, <-booked) {
				if err != nil {
					t.Error(err)
				}
			}
			d := nodes[0].deliveries("demo")[0]
			if d.State != c.state || int(d.Attempts) != c.attempts || tasks(t, side) != c.next {
				t.Errorf("%s after %d attempts, %d to come; want %s %d %d", d.State, d.Attempts, tasks(t, side), c.state, c.attempts, c.next)
			}
			for _, r := range nodes {
				r.clock.Advance(time.Hour)
			}
			storetest.Until(t, "nothing to be left", func() bool { return tasks(t, side) == 0 })
			d = nodes[0].deliveries("demo")[0]
			mu.Lock()
			defer mu.Unlock()
			if d.State != Delivered || sent != c.sent {
				t.Errorf("%s after it was sent %d times, want %d", d.State, sent, c.sent)
			}
		})
	}
}
