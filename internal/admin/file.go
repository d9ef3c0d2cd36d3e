package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// File is one attempt at a trade file.
type File struct {
	ID           ID        `json:"id"`
	AppID        string    `json:"appId"`
	RequestNo    string    `json:"requestNo"`
	Attempt      int64     `json:"attempt"`
	Status       string    `json:"status" enum:"PROCESSING,SUCCESS,PARTIAL,FAILED"`
	SHA256       string    `json:"sha256"`
	Size         int64     `json:"size"`
	TotalRows    int64     `json:"totalRows"`
	AcceptedRows int64     `json:"acceptedRows"`
	RejectedRows int64     `json:"rejectedRows"`
	FailReason   string    `json:"failReason,omitempty" doc:"a fault of the whole file"`
	ReceivedAt   time.Time `json:"receivedAt"`
	FinishedAt   time.Time `json:"finishedAt,omitzero"`
	ErasedAt     time.Time `json:"erasedAt,omitzero" doc:"when its kept upload and error file were erased; what was judged stays"`
	EraseReason  string    `json:"eraseReason,omitempty" doc:"why: the operator's reason, or the app's setting"`
	RedactedAt   time.Time `json:"redactedAt,omitzero" doc:"when buyers in it were last blanked; sha256 is that of the upload as it was"`
}

// FileDetail is a file with its rows by seller and currency, and the other contents that came under its requestNo.
type FileDetail struct {
	File
	Progress int64           `json:"progress,omitempty" doc:"while PROCESSING: how many percent of the work are done, an estimate"`
	Parts    []FilePart      `json:"parts"`
	Broken   []trade.Broken  `json:"broken" doc:"what is wrong with it by rule: faults of the file first, then errors, then warnings"`
	Refused  []RefusedUpload `json:"refused"`
}

// FilePart counts the rows of one seller in one currency.
type FilePart struct {
	SellerID     string `json:"sellerId"`
	Currency     string `json:"currency"`
	TotalRows    int64  `json:"totalRows"`
	AcceptedRows int64  `json:"acceptedRows"`
	RejectedRows int64  `json:"rejectedRows"`
}

// RefusedUpload is an upload that was compared and dropped.
type RefusedUpload struct {
	SHA256 string    `json:"sha256"`
	Size   int64     `json:"size"`
	At     time.Time `json:"at"`
}

// Redact blanks the buyers of some rows.
type Redact struct {
	Act
	Lines []int `json:"lines" minItems:"1" maxItems:"100" nullable:"false" doc:"where the rows begin in the upload, as an editor counts: the header is line 1"`
}

// ContentKey is a key that kept files are encrypted under.
type ContentKey struct {
	KeyID  string `json:"keyId" doc:"its fingerprint; empty for what is in clear"`
	Chunks int64  `json:"chunks" doc:"pieces of files under it, of at most 256 KiB"`
	Use    string `json:"use" enum:"writes,reads,lost,missing" doc:"what it is good for on the node that answers"`
}

// Encryption is what is to be encrypted anew.
type Encryption struct {
	KeyID  string `json:"keyId" doc:"the first key"`
	Chunks int64  `json:"chunks" doc:"pieces of files that are not under it yet"`
}

// FilesFilter says which files are wanted.
type FilesFilter struct {
	Page
	AppID     string `query:"appId"`
	RequestNo string `query:"requestNo"`
	Status    string `query:"status" enum:"PROCESSING,SUCCESS,PARTIAL,FAILED"`
}

func files(s *server) {
	list(s, "/files", "list-files", "Trade files",
		func(ctx context.Context, q *pgdb.Queries, f FilesFilter, before int64, most int32) ([]pgdb.TradeFile, error) {
			return q.PageTradeFiles(ctx, pgdb.PageTradeFilesParams{Before: before, AppID: f.AppID, RequestNo: f.RequestNo, State: f.Status, Most: most})
		}, shown(showFile), func(f File) ID { return f.ID })
	get(s, "/files/{id}", "get-file", "One trade file", fileDetail)
	handle(s, http.MethodPost, "/files/{id}/erase", "erase-file", "Erase the kept upload and error file of one attempt; what was judged stays", s.eraseFile)
	handle(s, http.MethodPost, "/files/{id}/redact", "redact-file", "Blank the buyers of some rows in the kept upload, and erase its error file", s.redactFile)
	handle(s, http.MethodGet, "/files/keys", "list-content-keys", "Which keys the kept files are encrypted under", func(ctx context.Context, _ *struct{}) (List[ContentKey], error) {
		uses, err := read(ctx, s, func(q *pgdb.Queries) ([]content.Use, error) { return s.cfg.Importer.Keys.Uses(ctx, q) })
		l := List[ContentKey]{Items: []ContentKey{}}
		for _, u := range uses {
			l.Items = append(l.Items, ContentKey(u))
		}
		return l, err
	})
	handle(s, http.MethodPost, "/files/encrypt", "encrypt-files", "Encrypt all kept files under the first content key, in the background", s.encryptFiles)
	o := operation(http.MethodGet, "/files/{id}/errors", "get-file-errors", "The error file of one attempt, in the encoding of the upload")
	o.Errors = append(o.Errors, http.StatusGone)
	o.Responses = map[string]*huma.Response{"200": {Description: "the error file", Content: map[string]*huma.MediaType{"text/csv": {}}}}
	huma.Register(s.api, o, s.fileErrors)
}

func fileDetail(ctx context.Context, q *pgdb.Queries, id int64) (d FileDetail, err error) {
	row, err := q.GetTradeFile(ctx, id)
	if err != nil {
		return d, err
	}
	parts, err := q.ListTradeParts(ctx, id)
	if err != nil {
		return d, err
	}
	refused, err := q.ListTradeRefused(ctx, id)
	if err != nil {
		return d, err
	}
	d = FileDetail{File: showFile(row), Parts: []FilePart{}, Refused: []RefusedUpload{}}
	if d.Broken, err = trade.BrokenOf(row); err != nil {
		return d, err
	}
	if d.Status == string(infinia.FileProcessing) {
		if d.Progress, err = trade.Progress(ctx, q, row); err != nil {
			return d, err
		}
	}
	for _, p := range parts {
		d.Parts = append(d.Parts, FilePart{SellerID: p.SellerID, Currency: p.Currency, TotalRows: p.TotalRows, AcceptedRows: p.AcceptedRows, RejectedRows: p.RejectedRows})
	}
	for _, r := range refused {
		d.Refused = append(d.Refused, RefusedUpload{SHA256: r.SHA256, Size: r.Size, At: at(r.At)})
	}
	return d, nil
}

func (s *server) fileErrors(ctx context.Context, in *struct {
	ID ID `path:"id"`
}) (out *huma.StreamResponse, err error) {
	defer s.recovered(ctx, &err)
	row, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.TradeFile, error) { return q.GetTradeFile(ctx, in.ID.number()) })
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	f, err := s.cfg.Importer.ErrorFile(ctx, row)
	if errors.Is(err, trade.ErrErased) {
		return nil, huma.NewError(http.StatusGone, "the error file was erased on "+at(trade.ErrorsErased(row)).Format(time.RFC3339))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, huma.Error404NotFound("this file has no error file")
	}
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		if _, w := humago.Unwrap(hc); http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendingMost)) != nil {
			s.cfg.Log.Debug("error file: no deadline of its own", "trace", callerOf(ctx).trace)
		}
		hc.SetHeader("Content-Type", "text/csv")
		hc.SetHeader("Content-Length", strconv.FormatInt(f.Size(), 10)) // so that one that breaks off is not taken for whole
		hc.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": row.RequestNo + "_error.csv"}))
		if _, err := io.Copy(hc.BodyWriter(), f); err != nil {
			s.cfg.Log.Warn("error file not delivered", "trace", callerOf(ctx).trace, "file", row.ID, "err", err)
		}
	}}, nil
}

// sendingMost is how long an error file may be on its way; a large one over a slow line takes longer than an answer may.
const sendingMost = 30 * time.Minute

func (s *server) eraseFile(ctx context.Context, in *onID[Act]) (File, error) {
	return s.changeFile(ctx, "file.erase", in.ID, in.Body, in, func(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile) (pgdb.TradeFile, error) {
		return trade.Erase(ctx, v, q, f, in.Body.Reason)
	})
}

func (s *server) redactFile(ctx context.Context, in *onID[Redact]) (File, error) {
	var buyers trade.Redaction
	row, err := read(ctx, s, func(q *pgdb.Queries) (row pgdb.TradeFile, err error) {
		if _, err = q.GetAudit(ctx, in.Body.Reference); err == nil { // done before, or refused
			return row, nil
		}
		return q.GetTradeFile(ctx, in.ID.number())
	})
	if err != nil {
		return File{}, err
	}
	if row.ID != 0 {
		if buyers, err = s.cfg.Importer.Redaction(ctx, row, in.Body.Lines); err != nil {
			return File{}, keptFault(err)
		}
	}
	return s.changeFile(ctx, "file.redact", in.ID, in.Body.Act, in, func(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile) (pgdb.TradeFile, error) {
		return buyers.Do(ctx, v, q, f)
	})
}

func (s *server) encryptFiles(ctx context.Context, in *body[Act]) (Encryption, error) {
	keys := s.cfg.Importer.Keys
	return once(ctx, s, act[Encryption]{Act: in.Body, name: "file.encrypt", content: in,
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[Encryption], err error) {
			if keys.First() == "" {
				return c, huma.Error409Conflict("the server was given no content key: start it with --content-key-file")
			}
			uses, err := keys.Uses(ctx, q)
			e := Encryption{KeyID: keys.First()}
			for _, u := range uses {
				if u.Use == "reads" {
					e.Chunks += u.Chunks
				}
			}
			v.AddTask(content.RekeyQueue, 0, v.Now())
			return change[Encryption]{subject: "content key " + e.KeyID, after: e}, err
		}})
}

// keptFault is what an operator is told of what is not kept, or not there.
func keptFault(err error) error {
	switch {
	case errors.Is(err, trade.ErrNoSuchRow):
		return huma.Error422UnprocessableEntity(err.Error(), &huma.ErrorDetail{Location: "body.lines", Message: err.Error()})
	case errors.Is(err, trade.ErrProcessing), errors.Is(err, trade.ErrErased), errors.Is(err, content.ErrKeyMissing):
		return huma.Error409Conflict(err.Error())
	}
	return err
}

// changeFile does the acts that change what is kept of a file.
func (s *server) changeFile(ctx context.Context, name string, id ID, a Act, content any,
	fn func(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile) (pgdb.TradeFile, error)) (File, error) {
	row, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.TradeFile, error) { return q.GetTradeFile(ctx, id.number()) })
	if err != nil {
		return File{}, err
	}
	return once(ctx, s, act[File]{Act: a, name: name, appID: row.AppID, content: content, keys: store.Keys{Files: []int64{row.ID}},
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[File], err error) {
			was, ok := v.Files.Get(row.ID)
			if !ok {
				return c, fmt.Errorf("file %d is gone", row.ID)
			}
			is, err := fn(ctx, v, q, was)
			return change[File]{subject: fmt.Sprintf("file %d", row.ID), before: showFile(was), after: showFile(is)}, keptFault(err)
		}})
}

func showFile(r pgdb.TradeFile) File {
	return File{ID: idOf(r.ID), AppID: r.AppID, RequestNo: r.RequestNo, Attempt: r.Attempt, Status: r.State, SHA256: r.SHA256, Size: r.Size,
		TotalRows: r.TotalRows, AcceptedRows: r.AcceptedRows, RejectedRows: r.RejectedRows, FailReason: r.FailReason,
		ReceivedAt: at(r.ReceivedAt), FinishedAt: at(r.FinishedAt), ErasedAt: at(r.ErasedAt), EraseReason: r.EraseReason, RedactedAt: at(r.RedactedAt)}
}
