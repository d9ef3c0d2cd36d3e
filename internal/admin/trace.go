package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// Bounds of what a trace lists; how much more there is, it says.
const (
	tracedRows   = 200
	tracedFiles  = 20
	tracedShares = 10
	newestFiles  = 100    // of an app's accepted files, and of its others, that are looked through for a seller
	chainMost    = 10_000 // of an account's postings that are walked over
)

// What became of a row.
const (
	rowCounts     = "COUNTS"
	rowSuperseded = "SUPERSEDED" // its sale counts, with the shipping of a later file
	rowRepeat     = "REPEAT"     // it books nothing: the same was filed before
	rowRejected   = "REJECTED"
	rowFailed     = "FILE_FAILED" // it is sound, but nothing of its file counts
	rowProcessing = "FILE_PROCESSING"
)

// TraceRow says which row is asked for: the file by its requestNo, of which the newest attempt is taken, or by its id.
type TraceRow struct {
	AppID     string `query:"appId" doc:"the app, unless the file is named by its id"`
	RequestNo string `query:"requestNo" doc:"the file's, of which the newest attempt is taken"`
	FileID    ID     `query:"fileId" doc:"the file of any attempt"`
	Line      int    `query:"line" required:"true" minimum:"1" maximum:"2147483647" doc:"as an editor counts: the header is line 1"`
}

// TraceItem says which item is asked for.
type TraceItem struct {
	AppID    string `query:"appId" required:"true" minLength:"1"`
	SellerID string `query:"sellerId" required:"true" minLength:"1"`
	OrderID  string `query:"orderId" required:"true" minLength:"1"`
	SKU      string `query:"sku" required:"true" minLength:"1"`
}

// TracedRow is a row of a trade file, what became of it, and where that leads.
type TracedRow struct {
	File     File   `json:"file"`
	Line     int    `json:"line" doc:"of the record's first character"`
	Text     string `json:"text" doc:"the record as sent, decoded: a buyer's name and address may stand in it"`
	Encoding string `json:"encoding"`

	SellerID       string    `json:"sellerId" doc:"this and the next six: the cells as they were read; empty where they cannot be told apart"`
	OrderID        string    `json:"orderId"`
	SKU            string    `json:"sku"`
	Time           string    `json:"transactionTime"`
	Currency       string    `json:"currency"`
	Amount         string    `json:"amount"`
	ShippingStatus string    `json:"shippingStatus"`
	At             time.Time `json:"at,omitzero" doc:"transactionTime in UTC"`

	Verdict  string    `json:"verdict" enum:"COUNTS,SUPERSEDED,REPEAT,REJECTED,FILE_FAILED,FILE_PROCESSING"`
	Why      string    `json:"why"`
	Problems []string  `json:"problems" doc:"what is wrong or odd with it, as in the error file"`
	InPlace  *RowPlace `json:"inPlace,omitempty" doc:"the booked row with the same seller, order, sku, time and sign that counts in its place"`

	Item      *TracedItem   `json:"item,omitempty" doc:"all that is booked of its seller, order and sku"`
	Available *Availability `json:"available,omitempty" doc:"of its seller in its currency, now"`

	Shares     []Share `json:"shares" doc:"of the seller, accepted since the row counts, newest first. A share draws on the seller's total, on no single row"`
	MoreShares bool    `json:"moreShares"`
}

// TracedItem is all that is booked of one seller, order and sku.
type TracedItem struct {
	SellerID     string      `json:"sellerId"`
	OrderID      string      `json:"orderId"`
	SKU          string      `json:"sku"`
	Currency     string      `json:"currency,omitempty"`
	Shipped      string      `json:"shipped" doc:"sum of its sales that are Shipped"`
	Unshipped    string      `json:"unshipped" doc:"sum of its sales that are Not Shipped"`
	Returned     string      `json:"returned" doc:"sum of its returns, above zero"`
	NetShipped   string      `json:"netShipped" doc:"shipped sales, with the returns taken off"`
	NetUnshipped string      `json:"netUnshipped" doc:"unshipped sales, with the returns taken off that exceed the shipped ones"`
	Rows         []RowOfItem `json:"rows" doc:"in order of their time, the first 200"`
	MoreRows     int64       `json:"moreRows"`
}

// RowPlace is where a row stands.
type RowPlace struct {
	FileID    ID     `json:"fileId"`
	RequestNo string `json:"requestNo"`
	Attempt   int64  `json:"attempt"`
	Line      int64  `json:"line"`
}

// RowOfItem is a booked row. Of rows with one time and sign, which differ in their shipping, the one filed last counts.
type RowOfItem struct {
	RowPlace
	At      time.Time `json:"at" doc:"transactionTime in UTC"`
	Amount  string    `json:"amount" doc:"below zero for a return"`
	Shipped bool      `json:"shipped"`
	Counts  bool      `json:"counts"`
}

func traces(s *server) {
	handle(s, http.MethodGet, "/trace/row", "trace-row", "What became of a row of a trade file; it shows the row with its buyer",
		func(ctx context.Context, in *TraceRow) (TracedRow, error) { return s.traceRow(ctx, *in) })
	handle(s, http.MethodGet, "/trace/item", "trace-item", "All booked rows of a seller, order and sku",
		func(ctx context.Context, in *TraceItem) (TracedItem, error) {
			return read(ctx, s, func(q *pgdb.Queries) (TracedItem, error) { return traceItem(ctx, q, *in) })
		})
	handle(s, http.MethodGet, "/trace/seller", "trace-seller", "Why a seller's available share is what it is",
		func(ctx context.Context, in *TraceSeller) (TracedSeller, error) {
			return read(ctx, s, func(q *pgdb.Queries) (TracedSeller, error) { return s.traceSeller(ctx, q, *in) })
		})
	handle(s, http.MethodGet, "/trace/share", "trace-share", "What a share was drawn from",
		func(ctx context.Context, in *TraceShare) (TracedShare, error) {
			return read(ctx, s, func(q *pgdb.Queries) (TracedShare, error) { return traceShare(ctx, q, *in, chainMost) })
		})
}

// absent refuses a question because of what one parameter names.
func absent(parameter, message string) error {
	return huma.Error404NotFound(parameter+" "+message, &huma.ErrorDetail{Location: "query." + parameter, Message: message})
}

// appNamed finds the app that a question is about.
func appNamed(ctx context.Context, q *pgdb.Queries, appID string) (pgdb.App, error) {
	app, err := q.GetApp(ctx, appID)
	if store.NotFound(err) {
		return app, absent("appId", "is of no app here")
	}
	return app, err
}

// traceRow reads the record between two snapshots: that takes as long as the upload is large. The second one tells the rest.
func (s *server) traceRow(ctx context.Context, in TraceRow) (t TracedRow, err error) {
	var file pgdb.TradeFile
	var set store.Settings
	if err := s.db.Read(ctx, func(q *pgdb.Queries) error {
		if file, err = fileNamed(ctx, q, in); err != nil {
			return err
		}
		app, err := appNamed(ctx, q, file.AppID)
		if err != nil {
			return err
		}
		set, err = store.SettingsOf(app)
		return err
	}); err != nil {
		return t, err
	}
	row, err := s.cfg.Importer.RowOf(ctx, file, set, in.Line)
	if e, ok := errors.AsType[trade.NoRowError](err); ok {
		return t, absent("line", e.Why)
	}
	if err != nil {
		return t, err
	}
	return read(ctx, s, func(q *pgdb.Queries) (TracedRow, error) { return s.rowTraced(ctx, q, file.ID, row) })
}

func fileNamed(ctx context.Context, q *pgdb.Queries, in TraceRow) (f pgdb.TradeFile, err error) {
	if in.FileID != "" {
		f, err = q.GetTradeFile(ctx, in.FileID.number())
		switch {
		case store.NotFound(err):
			return f, absent("fileId", "is of no file here")
		case err == nil && in.AppID != "" && in.AppID != f.AppID:
			return f, absent("fileId", "is of another app's file")
		case err == nil && in.RequestNo != "" && in.RequestNo != f.RequestNo:
			return f, absent("fileId", "is of a file with another requestNo")
		}
		return f, err
	}
	if in.AppID == "" {
		return f, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.appId", Message: "is mandatory, or else fileId"})
	}
	if in.RequestNo == "" {
		return f, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.requestNo", Message: "is mandatory, or else fileId"})
	}
	if _, err := appNamed(ctx, q, in.AppID); err != nil {
		return f, err
	}
	f, err = q.NewestTradeFile(ctx, pgdb.NewestTradeFileParams{AppID: in.AppID, RequestNo: in.RequestNo})
	if store.NotFound(err) {
		return f, absent("requestNo", "is of no file that has arrived whole")
	}
	return f, err
}

// rowTraced tells what became of a row that was read.
func (s *server) rowTraced(ctx context.Context, q *pgdb.Queries, fileID int64, row trade.FiledRow) (t TracedRow, err error) {
	f, err := q.GetTradeFile(ctx, fileID) // it may have ended meanwhile
	if err != nil {
		return t, err
	}
	t = TracedRow{File: showFile(f), Line: row.Row.Line, Text: row.Text, Encoding: row.Encoding, SellerID: row.SellerID, OrderID: row.OrderID, SKU: row.SKU,
		Time: row.Time, Currency: row.Currency, Amount: row.Amount, ShippingStatus: row.Shipping, Problems: append([]string{}, row.Problems...), Shares: []Share{}}
	app, err := q.GetApp(ctx, f.AppID)
	if err != nil {
		return t, err
	}
	var same []pgdb.ListRowsOfIdentityRow
	if row.Identified {
		t.Amount, t.At = decimal(row.Row.Amount, row.Currency), at(row.Row.At)
		if same, err = q.ListRowsOfIdentity(ctx, pgdb.ListRowsOfIdentityParams{App: app.ID, ItemKey: row.Row.Item[:], At: row.Row.At, Returned: returned(row.Row)}); err != nil {
			return t, err
		}
		item, err := itemOf(ctx, q, app, row.SellerID, row.OrderID, row.SKU)
		if err != nil {
			return t, err
		}
		if len(item.Rows) > 0 {
			t.Item = &item
		}
	}
	counts := t.judge(f, row, same)
	if row.Row.SellerID == "" { // or the currency is wrong
		return t, nil
	}
	look, err := op.OutlookOf(ctx, q, app, row.SellerID, row.Currency, s.now())
	if err != nil {
		return t, err
	}
	t.Available = new(availability(look, row.SellerID, row.Currency))
	if counts {
		// Those accepted before the file was booked were judged without it.
		t.Shares, t.MoreShares, err = sharesSince(ctx, q, look.Used, f.FinishedAt)
	}
	return t, err
}

func returned(r trade.Row) int64 {
	if r.Amount < 0 {
		return 1
	}
	return 0
}

// judge says whether a row counts, and why; same are the booked rows of its identity, the one that counts first.
func (t *TracedRow) judge(f pgdb.TradeFile, row trade.FiledRow, same []pgdb.ListRowsOfIdentityRow) (counts bool) {
	var own, inFile, before, newest *pgdb.ListRowsOfIdentityRow
	for i := range same {
		r := &same[i]
		switch {
		case f.RunID == 0 || r.RunID != f.RunID:
		case r.RowOffset == row.Row.Offset:
			own = r
		default:
			inFile = r
		}
		if r.BookedNo < f.BookedNo {
			before = cmp.Or(before, r)
		}
		newest = &same[0]
	}
	say := func(verdict, format string, args ...any) { t.Verdict, t.Why = verdict, fmt.Sprintf(format, args...) }
	instead := func(r *pgdb.ListRowsOfIdentityRow) {
		t.InPlace = &RowPlace{FileID: idOf(r.FileID), RequestNo: r.RequestNo, Attempt: r.Attempt, Line: r.Line}
	}
	failed := f.State == string(infinia.FileFailed)
	switch {
	case own != nil && own == newest && before != nil:
		say(rowCounts, "it counts, and changed the shipping of what %s line %d had filed", before.RequestNo, before.Line)
	case own != nil && own == newest:
		say(rowCounts, "it counts")
	case own != nil:
		say(rowSuperseded, "its amount counts, once, with the shipping that %s line %d filed later", newest.RequestNo, newest.Line)
		instead(newest)
	case f.State == string(infinia.FileProcessing):
		say(rowProcessing, "its file is still being judged")
	case row.Rejected:
		say(rowRejected, "it was rejected")
	case failed && f.FailReason != "":
		say(rowFailed, "nothing of its file counts: %s", f.FailReason)
	case failed && row.Untold:
		say(rowFailed, "nothing of its file counts; what was wrong with this row, if anything, was in the error file, which was erased on %s",
			at(trade.ErrorsErased(f)).Format(time.DateOnly))
	case failed:
		say(rowFailed, "it is sound, but other rows of its file are not, and nothing of it counts")
	case inFile != nil:
		say(rowRepeat, "it books nothing: line %d of its file is the same row", inFile.Line)
		instead(newest)
	case before != nil:
		say(rowRepeat, "it books nothing: %s line %d had filed the same", before.RequestNo, before.Line)
		instead(newest)
	default:
		say(rowRejected, "it was rejected; the error file that said why is not kept any more")
	}
	if newest != nil && (t.Verdict == rowRejected || t.Verdict == rowFailed) {
		t.Why += fmt.Sprintf("; of its seller, order, sku, time and sign %s line %d counts", newest.RequestNo, newest.Line)
		instead(newest)
	}
	return own != nil
}

func traceItem(ctx context.Context, q *pgdb.Queries, in TraceItem) (t TracedItem, err error) {
	app, err := appNamed(ctx, q, in.AppID)
	if err != nil {
		return t, err
	}
	if t, err = itemOf(ctx, q, app, in.SellerID, in.OrderID, in.SKU); err == nil && len(t.Rows) == 0 {
		err = absent("sku", "is of no row that an accepted file has of this seller and order; letter case and blanks count in all three")
	}
	return t, err
}

func itemOf(ctx context.Context, q *pgdb.Queries, app pgdb.App, sellerID, orderID, sku string) (t TracedItem, err error) {
	key := trade.ItemKey(sellerID, orderID, sku)
	rows, err := q.ListRowsOfItem(ctx, pgdb.ListRowsOfItemParams{App: app.ID, ItemKey: key, Most: tracedRows})
	if err != nil || len(rows) == 0 {
		return t, err
	}
	sums, err := q.SumRowsOfItem(ctx, pgdb.SumRowsOfItemParams{App: app.ID, ItemKey: key})
	if err != nil {
		return t, err
	}
	currency := rows[0].Currency // all rows of an item have one
	shipped, unshipped := trade.NetOfItem(sums.Shipped, sums.Unshipped, sums.Returned)
	t = TracedItem{SellerID: sellerID, OrderID: orderID, SKU: sku, Currency: currency, Shipped: decimal(sums.Shipped, currency), Unshipped: decimal(sums.Unshipped, currency),
		Returned: decimal(sums.Returned, currency), NetShipped: decimal(shipped, currency), NetUnshipped: decimal(unshipped, currency), MoreRows: sums.Many - int64(len(rows))}
	for _, r := range rows {
		t.Rows = append(t.Rows, RowOfItem{RowPlace: RowPlace{idOf(r.FileID), r.RequestNo, r.Attempt, r.Line}, At: at(r.At),
			Amount: decimal(r.Amount, currency), Shipped: r.Shipped != 0, Counts: r.BookedNo == r.NewestNo})
	}
	return t, nil
}
