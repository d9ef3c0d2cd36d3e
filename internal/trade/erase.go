package trade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// What stands in the way of erasing, and of reading afterwards.
var (
	ErrProcessing = errors.New("the file is still being judged")
	ErrErased     = errors.New("it has been erased")
)

// Erase takes away the kept bytes of a file: its upload, its error file, and that in /result. What was judged stays, in rows,
// postings and the file itself, and so does the summary, which has no cell of a row. The unit names the file and its app.
func Erase(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile, reason string) (pgdb.TradeFile, error) {
	if f.State == fileProcessing {
		return f, ErrProcessing
	}
	if f.ErasedAt > 0 {
		return f, fmt.Errorf("the upload: %w", ErrErased)
	}
	if f.ContentID != 0 { // an earlier version kept it in the data folder
		if err := content.Remove(ctx, v, q, f.ContentID); err != nil {
			return f, err
		}
	}
	f, err := eraseErrors(ctx, v, q, f)
	f.ContentID, f.ErasedAt, f.EraseReason = 0, v.Now(), reason
	v.Files.Put(f.ID, f)
	return f, err
}

// eraseErrors takes the error file away, also from /result, unless a later attempt's is there.
func eraseErrors(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile) (pgdb.TradeFile, error) {
	if f.ErrorsID == 0 {
		return f, nil
	}
	if err := q.DeleteResultOfContent(ctx, f.ErrorsID); err != nil {
		return f, err
	}
	err := content.Remove(ctx, v, q, f.ErrorsID)
	f.ErrorsID = 0
	return f, err
}

// ErrorsErased is when a file's error file was erased; 0 when it is there or there never was one.
func ErrorsErased(f pgdb.TradeFile) int64 {
	if f.ErrorsID != 0 || f.RejectedRows == 0 {
		return 0
	}
	return cmp.Or(f.ErasedAt, f.RedactedAt)
}

// KeepQueue is the outbox queue of the one task that erases what its app's setting no longer keeps.
const KeepQueue = "keep"

// keepEach is how often it looks: a setting that has changed takes effect on what is kept already.
const keepEach = time.Hour

// Watch leaves the task of KeepQueue, unless it is there.
func (im *Importer) Watch(ctx context.Context) error {
	return im.DB.Do(ctx, store.Unit{Name: "keep", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		// Nodes that start at the same time come here one after the other.
		if err := q.PutSecret(ctx, pgdb.PutSecretParams{Name: "keep", Value: []byte{}}); err != nil {
			return err
		}
		there, err := q.QueueHasTask(ctx, KeepQueue)
		if err == nil && !there {
			v.AddTask(KeepQueue, 0, v.Now())
		}
		return err
	}})
}

// eraseAtOnce is how many files are looked up at once.
const eraseAtOnce = 100

// EraseOld erases every file whose app does not keep it any longer, each in a unit of its own, so that a crash leaves none
// half; it is the Work of KeepQueue.
func (im *Importer) EraseOld(ctx context.Context, t pgdb.Task) error {
	var apps []pgdb.App
	if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
		apps, err = q.PageApps(ctx, pgdb.PageAppsParams{Before: 1<<63 - 1, Most: 1<<31 - 1})
		return err
	}); err != nil {
		return err
	}
	var faults []error
	for _, app := range apps { // one that is at fault holds up none behind it
		if err := im.eraseOldOf(ctx, app); err != nil {
			faults = append(faults, fmt.Errorf("erase old files of app %s: %w", app.AppID, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	return im.DB.Do(ctx, store.Unit{Name: "keep", Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		return q.MoveTask(ctx, pgdb.MoveTaskParams{ID: t.ID, DueAt: v.Now() + keepEach.Milliseconds()})
	}})
}

func (im *Importer) eraseOldOf(ctx context.Context, app pgdb.App) error {
	set, err := store.SettingsOf(app)
	if err != nil || set.KeepUploadDays == 0 {
		return err
	}
	reason := fmt.Sprintf("kept for %d days (keepUploadDays)", set.KeepUploadDays)
	for {
		until := store.Millis(im.DB.Clock.Now().Add(-set.KeepUpload()))
		var ids []int64
		if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
			ids, err = q.ListFilesToErase(ctx, pgdb.ListFilesToEraseParams{AppID: app.AppID, Until: until, Most: eraseAtOnce})
			return err
		}); err != nil {
			return err
		}
		for _, id := range ids {
			changed := false
			if err := im.DB.Do(ctx, store.Unit{Name: "erase old file", Keys: store.Keys{Apps: []string{app.AppID}, Files: []int64{id}},
				Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
					is, _ := v.Apps.Get(app.AppID)
					now, err := store.SettingsOf(is)
					changed = now.KeepUploadDays != set.KeepUploadDays
					f, ok := v.Files.Get(id)
					if err != nil || changed || !ok || f.ErasedAt > 0 { // an operator was faster
						return err
					}
					_, err = Erase(ctx, v, q, f, reason)
					return err
				}}); err != nil {
				return fmt.Errorf("file %d: %w", id, err)
			}
			if changed { // the next look goes by the new setting
				return nil
			}
		}
		if len(ids) < eraseAtOnce {
			return nil
		}
	}
}
