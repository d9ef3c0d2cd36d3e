package trade

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// results writes what is due for /result, and names what is there.
func (r *importRig) results() (names []string) {
	r.Helper()
	var tasks []pgdb.Task
	r.read(func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: ResultQueue("demo"), Now: 1 << 60, Most: 100})
		return err
	})
	for _, t := range tasks {
		if err := r.im.WriteResults(r.Context(), t); err != nil {
			r.Fatal(err)
		}
	}
	rows, err := r.im.Results(r.Context(), "demo", "", 1<<31-1)
	if err != nil {
		r.Fatal(err)
	}
	for _, row := range rows {
		names = append(names, row.Name)
		if text := r.result(row.Name); row.Size != int64(len(text)) || row.WrittenAt == 0 {
			r.Errorf("%+v has %d bytes", row, len(text))
		}
	}
	return names
}

func (r *importRig) result(name string) string {
	r.Helper()
	_, file, err := r.im.OpenResult(r.Context(), "demo", name)
	if err != nil {
		r.Fatal(err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		r.Fatal(err)
	}
	return string(text)
}

func (r *importRig) summary(requestNo string) (s Summary) {
	r.Helper()
	if err := json.Unmarshal([]byte(r.result(requestNo+"_summary.json")), &s); err != nil {
		r.Fatal(err)
	}
	return s
}

// TestResults: an app finds the summary and the error file of the newest finished attempt, and nothing of another app.
func TestResults(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		first := r.upload("T-1", sale("O-1", "0.00"))
		if got := r.results(); len(got) != 0 {
			t.Errorf("while it is judged there are %v", got)
		}
		if err := r.im.Import(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if got := r.results(); !slices.Equal(got, []string{"T-1_error.csv", "T-1_summary.json"}) {
			t.Errorf("after a failure there are %v", got)
		}
		s := r.summary("T-1")
		if s.Status != fileFailed || s.Attempt != 1 || s.RejectedRows != 1 || len(s.Broken) != 1 ||
			s.Broken[0].Rule != "transactionAmount.form" || !slices.Equal(s.Broken[0].Lines, []int{2}) {
			t.Errorf("summary: %+v", s)
		}
		_, reading, err := r.im.OpenResult(t.Context(), "demo", "T-1_error.csv")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.im.OpenResult(t.Context(), "other", "T-1_error.csv"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another app: %v", err)
		}

		second := r.upload("T-1", sale("O-1", "10.00"))
		if got := r.results(); len(got) != 2 || r.summary("T-1").Attempt != 1 {
			t.Errorf("while the second attempt is judged there are %v", got)
		}
		if err := r.im.Import(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if got := r.results(); !slices.Equal(got, []string{"T-1_summary.json"}) {
			t.Errorf("after a success there are %v", got)
		}
		r.receive("T-1", sale("O-2", "10.00"))
		if got := r.results(); !slices.Equal(got, []string{"T-1_summary.json"}) {
			t.Errorf("after an upload that was dropped there are %v", got)
		}
		if s := r.summary("T-1"); s.Status != fileSuccess || s.Attempt != 2 || len(s.RefusedUploads) != 1 {
			t.Errorf("summary: %+v", s)
		}

		// A day later what nothing refers to is gone: two summaries. Who began to read the error file reads on, since its attempt
		// still refers to it.
		if n := r.sweep(); n != 2 {
			t.Errorf("%d contents were removed", n)
		}
		if text, err := io.ReadAll(reading); err != nil || !strings.Contains(string(text), "O-1") {
			t.Errorf("read %q, %v", text, err)
		}
		if s := r.summary("T-1"); s.Attempt != 2 {
			t.Errorf("summary: %+v", s)
		}
	})
}

// sweep lets two days pass and tells how many contents went.
func (r *importRig) sweep() (gone int) {
	r.Helper()
	r.im.DB.Clock.Advance(48 * time.Hour)
	var tasks []pgdb.Task
	r.read(func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: content.Queue, Now: 1 << 60, Most: 100})
		return err
	})
	swept := map[int64]bool{}
	for _, t := range tasks {
		if err := content.Sweep(r.Context(), r.im.DB, t); err != nil {
			r.Fatal(err)
		}
		if _, err := content.Open(r.Context(), r.im.DB, r.im.Keys, t.RecordID); errors.Is(err, fs.ErrNotExist) {
			swept[t.RecordID] = true
		}
	}
	return len(swept)
}

// TestReplacedResultIsNeverMixed: who reads a summary while others take its place gets one of them.
func TestReplacedResultIsNeverMixed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		if err := r.im.Import(t.Context(), r.upload("T-1", sale("O-1", "10.00"))); err != nil {
			t.Fatal(err)
		}
		r.results()
		was := r.result("T-1_summary.json")
		_, reading, err := r.im.OpenResult(t.Context(), "demo", "T-1_summary.json")
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 10)
		if _, err := io.ReadFull(reading, head); err != nil {
			t.Fatal(err)
		}
		r.receive("T-1", sale("O-2", "10.00"))
		r.results()
		if tail, err := io.ReadAll(reading); err != nil || string(head)+string(tail) != was {
			t.Errorf("read %q, %v", string(head)+string(tail), err)
		}
		if is := r.result("T-1_summary.json"); is == was {
			t.Error("nothing has taken its place")
		}
	})
}
