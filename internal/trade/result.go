package trade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Status is a file's state on the wire.
func Status(state string) infinia.FileStatus { return infinia.FileStatus(state) }

// WriteResults puts the error file and the summary of a finished file where its app finds them; it is the Work of the
// result queues, so that neither is lost when the server stops between the switch and the writing.
func (im *Importer) WriteResults(ctx context.Context, t pgdb.Task) error {
	if err := im.writeResult(ctx, t); err != nil {
		return fmt.Errorf("results of trade file %d: %w", t.RecordID, err)
	}
	return nil
}

func (im *Importer) writeResult(ctx context.Context, t pgdb.Task) error {
	var f pgdb.TradeFile
	var refused []pgdb.TradeRefused
	var newest pgdb.TradeFile
	if err := im.DB.Read(ctx, func(q *pgdb.Queries) (err error) {
		if f, err = q.GetTradeFile(ctx, t.RecordID); err != nil {
			return err
		}
		if newest, err = q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: f.AppID, RequestNo: f.RequestNo}); err != nil {
			return err
		}
		refused, err = q.ListTradeRefused(ctx, f.ID)
		return err
	}); err != nil {
		return err
	}
	// Of a file that is still judged its own switch will ask for the results; those of an older attempt are past.
	if f.State != fileProcessing && f.ID == newest.ID {
		if err := im.publish(f, refused); err != nil {
			return err
		}
	}
	return im.DB.Do(ctx, store.Unit{Name: "result files", Judge: func(v *store.View) error { v.DropTask(t.ID); return nil }})
}

func (im *Importer) publish(f pgdb.TradeFile, refused []pgdb.TradeRefused) error {
	name := f.RequestNo + "_error.csv"
	errorFile, err := im.ErrorFile(f)
	if err == nil {
		err = im.Result(f.AppID, name, func(w io.Writer) error { _, err := io.Copy(w, errorFile); return err })
		errorFile.Close()
	} else if errors.Is(err, fs.ErrNotExist) && f.RejectedRows == 0 {
		err = im.RemoveResult(f.AppID, name) // of an earlier attempt
	}
	if err != nil {
		return err
	}
	s := Summary{RequestNo: f.RequestNo, Status: f.State, Attempt: int(f.Attempt), TotalRows: int(f.TotalRows), AcceptedRows: int(f.AcceptedRows),
		RejectedRows: int(f.RejectedRows), SHA256: f.SHA256, FailReason: f.FailReason, FinishedAt: store.Time(f.FinishedAt).Format(time.RFC3339),
		Warnings: []Warning{}, RefusedUploads: []RefusedUpload{}}
	if f.Warnings != "" {
		if err := json.Unmarshal([]byte(f.Warnings), &s.Warnings); err != nil {
			return err
		}
	}
	for _, r := range refused {
		s.RefusedUploads = append(s.RefusedUploads, RefusedUpload{SHA256: r.SHA256, At: store.Time(r.At).Format(time.RFC3339)})
	}
	return im.Result(f.AppID, f.RequestNo+"_summary.json", func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	})
}

// warningsMost is how many warnings of an accepted file are kept for its summary.
const warningsMost = 100

// warningsText is what is kept of a file's warnings, as JSON; empty when there are none.
func warningsText(res *Result) (string, error) {
	var all []Warning
	for _, p := range res.Problems {
		if p.Warning && len(all) < warningsMost {
			all = append(all, Warning{Line: p.Line, Text: strings.TrimPrefix(p.String(), "warning: ")})
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	text, err := json.Marshal(all)
	return string(text), err
}
