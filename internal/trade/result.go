package trade

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Status is a file's state on the wire.
func Status(state string) infinia.FileStatus { return infinia.FileStatus(state) }

// WriteResults puts the error file and the summary of a finished file where its app finds them; it is the Work of the
// result queues, so that neither is lost when the server stops between the switch and the writing.
func (im *Importer) WriteResults(ctx context.Context, t pgdb.Task) error {
	if err := im.writeResults(ctx, t); err != nil {
		return fmt.Errorf("results of trade file %d: %w", t.RecordID, err)
	}
	return nil
}

func (im *Importer) writeResults(ctx context.Context, t pgdb.Task) error {
	var f pgdb.TradeFile
	var refused []pgdb.TradeRefused
	if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
		if f, err = q.GetTradeFile(ctx, t.RecordID); err != nil {
			return err
		}
		refused, err = q.ListTradeRefused(ctx, f.ID)
		return err
	}); err != nil {
		return err
	}
	var summaryID int64
	if f.State != fileProcessing { // of a file that is still judged its own switch will ask for the results
		s, err := summary(f, refused)
		if err != nil {
			return err
		}
		if summaryID, err = content.Write(ctx, im.DB, im.Keys, func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(s)
		}); err != nil {
			return err
		}
	}
	return im.DB.Do(ctx, store.Unit{Name: "result files", Keys: store.Keys{Apps: []string{f.AppID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		v.DropTask(t.ID)
		newest, err := q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: f.AppID, RequestNo: f.RequestNo})
		if err != nil || summaryID == 0 || newest.ID != f.ID { // the results of an older attempt are past
			return err
		}
		if err := putResult(ctx, v, q, f.AppID, f.RequestNo+"_error.csv", newest.ErrorsID); err != nil {
			return err
		}
		return putResult(ctx, v, q, f.AppID, f.RequestNo+"_summary.json", summaryID)
	}})
}

// putResult has a name in the app's /result stand for a content, or for none. Who reads what it stood for reads on.
func putResult(ctx context.Context, v *store.View, q *pgdb.Queries, appID, name string, contentID int64) error {
	old, err := q.GetResultFile(ctx, pgdb.GetResultFileParams{AppID: appID, Name: name})
	if err != nil && !store.NotFound(err) {
		return err
	}
	if err == nil && old.ContentID != contentID {
		content.Release(v, old.ContentID)
	}
	if contentID == 0 {
		return q.DeleteResultFile(ctx, pgdb.DeleteResultFileParams{AppID: appID, Name: name})
	}
	if err := content.Refer(ctx, q, contentID); err != nil {
		return err
	}
	return q.PutResultFile(ctx, pgdb.PutResultFileParams{AppID: appID, Name: name, ContentID: contentID, WrittenAt: v.Now()})
}

// Results lists what an app finds in /result, by name: most of those that come after a name.
func (im *Importer) Results(ctx context.Context, appID, after string, most int) (rows []pgdb.PageResultFilesRow, err error) {
	err = im.DB.ReadOne(ctx, func(q *pgdb.Queries) error {
		rows, err = q.PageResultFiles(ctx, pgdb.PageResultFilesParams{AppID: appID, After: after, Most: int32(most)})
		return err
	})
	return rows, err
}

// OpenResult opens one file of an app's /result; its error is fs.ErrNotExist when there is none of that name.
func (im *Importer) OpenResult(ctx context.Context, appID, name string) (row pgdb.ResultFile, file *io.SectionReader, err error) {
	err = im.DB.Read(ctx, func(q *pgdb.Queries) error {
		row, err = q.GetResultFile(ctx, pgdb.GetResultFileParams{AppID: appID, Name: name})
		return err
	})
	if store.NotFound(err) {
		err = fmt.Errorf("result %s of app %s: %w", name, appID, fs.ErrNotExist)
	}
	if err != nil {
		return row, nil, err
	}
	file, err = content.Open(ctx, im.DB, im.Keys, row.ContentID)
	return row, file, err
}

// summary is what an app is told of a finished file.
func summary(f pgdb.TradeFile, refused []pgdb.TradeRefused) (Summary, error) {
	s := Summary{RequestNo: f.RequestNo, Status: f.State, Attempt: int(f.Attempt), TotalRows: int(f.TotalRows), AcceptedRows: int(f.AcceptedRows),
		RejectedRows: int(f.RejectedRows), SHA256: f.SHA256, FailReason: f.FailReason, FinishedAt: store.Time(f.FinishedAt).Format(time.RFC3339),
		Warnings: []Warning{}, RefusedUploads: []RefusedUpload{}}
	if f.Warnings != "" {
		if err := json.Unmarshal([]byte(f.Warnings), &s.Warnings); err != nil {
			return s, err
		}
	}
	var err error
	if s.Broken, err = BrokenOf(f); err != nil {
		return s, err
	}
	for _, r := range refused {
		s.RefusedUploads = append(s.RefusedUploads, RefusedUpload{SHA256: r.SHA256, At: store.Time(r.At).Format(time.RFC3339)})
	}
	return s, nil
}

// warningsMost is how many warnings of an accepted file are kept for its summary.
const warningsMost = 100

// warnings is what is kept of a file's warnings.
func warnings(res *Result) (all []Warning) {
	for _, p := range res.Problems {
		if p.Warning && len(all) < warningsMost {
			all = append(all, Warning{Line: p.Line, Text: strings.TrimPrefix(p.String(), "warning: ")})
		}
	}
	return all
}

// BrokenOf is which rules a finished file breaks.
func BrokenOf(f pgdb.TradeFile) ([]Broken, error) {
	broken := []Broken{}
	if f.Broken == "" {
		return broken, nil
	}
	return broken, json.Unmarshal([]byte(f.Broken), &broken)
}

// textOf is a list as JSON; empty when there is nothing in it.
func textOf[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}
