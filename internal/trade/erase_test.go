package trade

import (
	"context"
	"encoding/json"
	"errors"
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

const day = 24 * time.Hour

// judge has a file judged and its results written.
func (r *importRig) judge(requestNo, rows string) pgdb.TradeFile {
	r.Helper()
	if err := r.im.Import(r.Context(), r.upload(requestNo, rows)); err != nil {
		r.Fatal(err)
	}
	r.results()
	return r.file(requestNo)
}

// look does what the task of the setting does when it is due.
func (r *importRig) look() {
	r.Helper()
	if err := r.im.Watch(r.Context()); err != nil {
		r.Fatal(err)
	}
	tasks := r.due(KeepQueue)
	if len(tasks) != 1 {
		r.Fatalf("%d tasks look for old files", len(tasks))
	}
	if err := r.im.EraseOld(r.Context(), tasks[0]); err != nil {
		r.Fatal(err)
	}
	if len(r.due(KeepQueue)) != 0 {
		r.Error("it looks again at once")
	}
}

func (r *importRig) due(queue string) (tasks []pgdb.Task) {
	r.Helper()
	r.read(func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: queue, Now: store.Millis(r.im.DB.Clock.Now()), Most: 9})
		return err
	})
	return tasks
}

// set changes the app's settings.
func (r *importRig) set(set store.Settings) {
	r.Helper()
	text, err := json.Marshal(set)
	if err != nil {
		r.Fatal(err)
	}
	if err := r.im.DB.Do(r.Context(), store.Unit{Keys: store.Keys{Apps: []string{"demo"}}, Alone: func(ctx context.Context, _ *store.View, q *pgdb.Queries) error {
		return q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: "demo", Settings: string(text)})
	}}); err != nil {
		r.Fatal(err)
	}
}

// erase does what an operator's act does.
func (r *importRig) erase(f pgdb.TradeFile, reason string) error {
	return r.im.DB.Do(r.Context(), store.Unit{Keys: store.Keys{Apps: []string{"demo"}, Files: []int64{f.ID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		is, _ := v.Files.Get(f.ID)
		_, err := Erase(ctx, v, q, is, reason)
		return err
	}})
}

// chunks counts what is there of a content.
func (r *importRig) chunks(id int64) (n int) {
	r.Helper()
	r.read(func(q *pgdb.Queries) error {
		for no := int64(0); ; no++ {
			if _, err := q.GetContentChunk(r.Context(), pgdb.GetContentChunkParams{ContentID: id, No: no}); store.NotFound(err) {
				return nil
			} else if err != nil {
				return err
			}
			n++
		}
	})
	return n
}

// TestKeptAsLongAsTheSettingSays: uploads go with their error files when their time is over, also those that were there when
// the setting was made; the books do not notice.
func TestKeptAsLongAsTheSettingSays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{AcceptPartial: true})
		old := r.judge("T-1", sale("O-1", "10.00")+sale("O-2", "0.00"))
		if old.State != filePartial || old.ErrorsID == 0 {
			t.Fatalf("%+v", old)
		}
		r.look()
		r.im.DB.Clock.Advance(20 * day)
		young := r.judge("T-2", sale("O-3", "20.00"))
		waiting := r.upload("T-3", sale("O-4", "1.00"))
		r.look()
		if is := r.file("T-1"); is != old {
			t.Errorf("without a setting: %+v", is)
		}
		r.set(store.Settings{AcceptPartial: true, KeepUploadDays: 30})
		r.im.DB.Clock.Advance(10*day - time.Hour)
		r.look()
		if is := r.file("T-1"); is != old {
			t.Errorf("too early: %+v", is)
		}
		r.im.DB.Clock.Advance(2 * time.Hour)
		r.look()

		is, want := r.file("T-1"), old
		want.ContentID, want.ErrorsID, want.ErasedAt, want.EraseReason = 0, 0, is.ErasedAt, "kept for 30 days (keepUploadDays)"
		if is != want || is.ErasedAt == 0 {
			t.Errorf("%+v, want %+v", is, want)
		}
		if r.file("T-2") != young || r.file("T-3").ContentID == 0 {
			t.Error("one that is younger, or not judged, is gone")
		}
		if got := r.results(); !slices.Equal(got, []string{"T-1_summary.json", "T-2_summary.json"}) {
			t.Errorf("results: %v", got)
		}
		if _, err := r.im.ErrorFile(t.Context(), is); !errors.Is(err, ErrErased) {
			t.Errorf("its error file: %v", err)
		}
		if r.sweep(); r.chunks(old.ContentID)+r.chunks(old.ErrorsID) != 0 {
			t.Error("its bytes are still there")
		}
		if r.filed() != 30_00 {
			t.Errorf("filed: %d", r.filed())
		}
		r.verify()

		// The rows go on counting, also against files to come; the same bytes again are known.
		if err := r.im.Import(t.Context(), waiting); err != nil {
			t.Fatal(err)
		}
		if f := r.judge("T-5", sale("O-1", "11.00")+sale("O-5", "5.00")); f.State != filePartial || f.AcceptedRows != 1 {
			t.Errorf("another amount for what an erased file has filed: %+v", f)
		}
		r.receive("T-1", sale("O-1", "10.00")+sale("O-2", "0.00"))
		r.receive("T-1", sale("O-9", "10.00"))
		if got := r.results(); slices.Contains(got, "T-1_error.csv") || len(r.summary("T-1").RefusedUploads) != 1 {
			t.Errorf("results after another upload: %v", got)
		}
		r.verify()
	})
}

// TestEraseOne: an operator's act takes a file's bytes at once, and only once; of another attempt nothing.
func TestEraseOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		task := r.upload("T-1", sale("O-1", "0.00"))
		if err := r.erase(r.file("T-1"), "x"); !errors.Is(err, ErrProcessing) {
			t.Errorf("while it is judged: %v", err)
		}
		if err := r.im.Import(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		first := r.file("T-1")
		second := r.judge("T-1", sale("O-1", "-1.00"))
		if second.State != fileFailed || second.Attempt != 2 {
			t.Fatalf("%+v", second)
		}
		if err := r.erase(first, "a request"); err != nil {
			t.Fatal(err)
		}
		if err := r.erase(first, "a request"); !errors.Is(err, ErrErased) {
			t.Errorf("again: %v", err)
		}
		if _, err := content.Open(t.Context(), r.im.DB, r.im.Keys, first.ContentID); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the upload: %v", err)
		}
		if got := r.results(); !slices.Contains(got, "T-1_error.csv") || r.file("T-1") != second {
			t.Errorf("of the second attempt: %v", got)
		}
		if n := r.sweep(); n < 2 || r.chunks(first.ContentID)+r.chunks(first.ErrorsID) != 0 || r.chunks(second.ErrorsID) == 0 {
			t.Errorf("%d swept", n)
		}
		r.verify()
	})
}

// TestErasedWhileResultsAreWritten: who is about to put the error file into /result does not bring it back.
func TestErasedWhileResultsAreWritten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		if err := r.im.Import(t.Context(), r.upload("T-1", sale("O-1", "0.00"))); err != nil {
			t.Fatal(err)
		}
		if err := r.erase(r.file("T-1"), "a request"); err != nil {
			t.Fatal(err)
		}
		if got := r.results(); !slices.Equal(got, []string{"T-1_summary.json"}) {
			t.Errorf("results: %v", got)
		}
	})
}

// TestEraseGoesOnAfterAFault: an app whose settings cannot be read keeps no other app's buyers.
func TestEraseGoesOnAfterAFault(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{KeepUploadDays: 30})
		r.judge("T-1", sale("O-1", "10.00"))
		r.look()
		if err := r.im.DB.Do(t.Context(), store.Unit{Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "broken", Settings: "{"}) // it comes first
		}}); err != nil {
			t.Fatal(err)
		}
		r.im.DB.Clock.Advance(31 * day)
		for _, task := range r.due(KeepQueue) {
			if err := r.im.EraseOld(t.Context(), task); err == nil || !strings.Contains(err.Error(), "broken") {
				t.Error(err)
			}
		}
		if f := r.file("T-1"); f.ErasedAt == 0 {
			t.Errorf("%+v", f)
		}
	})
}
