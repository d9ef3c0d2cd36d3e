package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/openinfinia/infinia/internal/admin"
)

type traceCmd struct {
	Row    traceRow    `cmd:"" help:"What became of a row of a trade file, its item, and the shares since. Prints the row with its buyer."`
	Item   traceItem   `cmd:"" help:"All booked rows of a seller, order and sku, in order of time."`
	Seller traceSeller `cmd:"" help:"Why a seller's available share is what it is, and what stops a share."`
	Share  traceShare  `cmd:"" help:"What a share was judged by, and the files that it was drawn from."`
}

type traceRow struct {
	AppID     string   `arg:"" help:"The app."`
	RequestNo string   `arg:"" help:"The file's requestNo; its newest attempt is taken."`
	Line      int      `arg:"" help:"The line, as an editor counts: the header is line 1."`
	File      admin.ID `env:"-" placeholder:"ID" help:"Another attempt, by its id as in infinia file list."`
	operator
}

func (c traceRow) Run(ctx context.Context, con console) error {
	return traced(con, c.operator, func(api *admin.Client) (admin.TracedRow, error) {
		return api.TraceRow(ctx, admin.TraceRow{AppID: c.AppID, RequestNo: c.RequestNo, FileID: c.File, Line: c.Line})
	}, printTracedRow)
}

type traceItem struct {
	AppID    string `arg:"" help:"The app."`
	SellerID string `arg:"" help:"The seller, by the app's own number."`
	OrderID  string `arg:"" help:"The order."`
	SKU      string `arg:"" name:"sku" help:"The item within the order."`
	operator
}

func (c traceItem) Run(ctx context.Context, con console) error {
	return traced(con, c.operator, func(api *admin.Client) (admin.TracedItem, error) {
		return api.TraceItem(ctx, admin.TraceItem{AppID: c.AppID, SellerID: c.SellerID, OrderID: c.OrderID, SKU: c.SKU})
	}, printItem)
}

type traceSeller struct {
	AppID    string `arg:"" help:"The app."`
	SellerID string `arg:"" help:"The seller, by the app's own number."`
	Currency string `arg:"" help:"The currency, such as CNH."`
	operator
}

func (c traceSeller) Run(ctx context.Context, con console) error {
	return traced(con, c.operator, func(api *admin.Client) (admin.TracedSeller, error) {
		return api.TraceSeller(ctx, admin.TraceSeller{AppID: c.AppID, SellerID: c.SellerID, Currency: c.Currency})
	}, printTracedSeller)
}

type traceShare struct {
	AppID     string `arg:"" help:"The app."`
	RequestNo string `arg:"" help:"The requestNo of the Revenue Sharing call."`
	operator
}

func (c traceShare) Run(ctx context.Context, con console) error {
	return traced(con, c.operator, func(api *admin.Client) (admin.TracedShare, error) {
		return api.TraceShare(ctx, admin.TraceShare{AppID: c.AppID, RequestNo: c.RequestNo})
	}, printTracedShare)
}

// traced asks, and prints the answer for people unless JSON is wanted.
func traced[A any](con console, o operator, ask func(*admin.Client) (A, error), print func(*report, A)) error {
	answer, err := asked(o.connection, ask)
	if err != nil {
		return err
	}
	if o.JSON {
		return printJSON(con.out, answer)
	}
	var r report
	print(&r, answer)
	_, err = io.WriteString(con.out, r.text.String())
	return err
}

// report is text in sections.
type report struct{ text strings.Builder }

// section begins with a line of its own.
func (r *report) section(format string, args ...any) {
	if r.text.Len() > 0 {
		r.text.WriteString("\n")
	}
	r.text.WriteString(clean(fmt.Sprintf(format, args...)) + "\n")
}

func (r *report) line(text string) { r.text.WriteString("  " + clean(text) + "\n") }

// fields prints names and values one below the other; what is empty is left out.
func (r *report) fields(pairs ...any) {
	t := tabwriter.NewWriter(&r.text, 0, 0, 2, ' ', 0)
	for i := 0; i < len(pairs); i += 2 {
		if text := cell(pairs[i+1]); text != "-" {
			fmt.Fprintf(t, "  %v\t%s\n", pairs[i], text)
		}
	}
	_ = t.Flush() // a builder takes everything
}

// table prints the items of a section, if there are any, and how many more there are.
func table[T any](r *report, columns string, items []T, row func(T) []any, more string) {
	if len(items) == 0 {
		return
	}
	var text strings.Builder
	_ = printTable(&text, columns, items, row) // a builder takes everything
	for line := range strings.Lines(text.String()) {
		r.text.WriteString("  " + line)
	}
	if more != "" {
		r.line(more)
	}
}

func more(n int64, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("and %d more %s", n, what)
}

func printTracedRow(r *report, t admin.TracedRow) {
	r.section("%s line %d: %s", t.File.RequestNo, t.Line, t.Why)
	for _, p := range t.Problems {
		r.line(p)
	}
	r.section("the row as sent (%s)", t.Encoding)
	r.line(t.Text)
	r.section("as it was read")
	r.fields("file", fmt.Sprintf("%s, attempt %d, %s, id %s", t.File.RequestNo, t.File.Attempt, t.File.Status, t.File.ID),
		"sellerId", t.SellerID, "orderId", t.OrderID, "sku", t.SKU, "transactionTime", t.Time, "in UTC", t.At, "amount", strings.TrimSpace(t.Amount+" "+t.Currency),
		"shippingStatus", t.ShippingStatus)
	if t.Item != nil {
		printItem(r, *t.Item)
	}
	if t.Available != nil {
		printAvailability(r, *t.Available)
	}
	if len(t.Shares) > 0 {
		r.section("shares of the seller accepted since, drawn on the total and on no single row")
		printShares(r, t.Shares, t.MoreShares)
	}
}

func printItem(r *report, t admin.TracedItem) {
	r.section("what is booked of seller %s, order %s, sku %s, in %s", t.SellerID, t.OrderID, t.SKU, t.Currency)
	table(r, "file attempt line transactionTime amount shipping counts", t.Rows, func(o admin.RowOfItem) []any {
		shipping, counts := "Not Shipped", "yes"
		switch {
		case strings.HasPrefix(o.Amount, "-"):
			shipping = "return"
		case o.Shipped:
			shipping = "Shipped"
		}
		if !o.Counts {
			counts = "no, filed again later"
		}
		return []any{o.RequestNo, o.Attempt, o.Line, o.At, o.Amount, shipping, counts}
	}, more(t.MoreRows, "rows"))
	r.line(fmt.Sprintf("sales %s Shipped and %s Not Shipped, less returns %s: %s Shipped and %s Not Shipped", t.Shipped, t.Unshipped, t.Returned, t.NetShipped, t.NetUnshipped))
}

func printAvailability(r *report, a admin.Availability) {
	r.section("available share of seller %s in %s: %s", a.SellerID, a.Currency, a.Available)
	width := 0
	for _, s := range a.Steps {
		width = max(width, len(s.Amount))
	}
	for _, s := range a.Steps {
		r.line(fmt.Sprintf("%-14s  %*s  %s", s.Name, width, s.Amount, s.Text))
	}
}

func printShares(r *report, shares []admin.Share, others bool) {
	text := ""
	if others {
		text = "and others: infinia share list"
	}
	table(r, "requestNo amount state acceptedAt finishedAt", shares, func(s admin.Share) []any {
		return []any{s.RequestNo, s.Amount, s.State, s.AcceptedAt, s.FinishedAt}
	}, text)
}

func printTracedSeller(r *report, t admin.TracedSeller) {
	r.section("seller %s of %s in %s: %s available, %s is the most that would be accepted now", t.SellerID, t.AppID, t.Currency, t.Available, t.MostNow)
	for _, why := range t.Why {
		r.line(why)
	}
	printAvailability(r, t.Availability)
	r.section("what else a share is judged by")
	binding := "none"
	if t.Binding != nil {
		binding = fmt.Sprintf("%s %s, id %s", t.Binding.RequestNo, t.Binding.State, t.Binding.ID)
	}
	fields := []any{"seller", t.SellerStatus, "binding", binding, "platform", fmt.Sprintf("%s available, %s held", t.Platform.Available, t.Platform.Held)}
	for _, l := range t.Limits {
		fields = append(fields, l.Name, fmt.Sprintf("%s left of %s", l.Left, l.Limit))
	}
	for _, s := range t.Stops {
		fields = append(fields, "refused with", fmt.Sprintf("%s %s %s", s.Code, s.Field, s.Message))
	}
	r.fields(fields...)
	if len(t.Files) > 0 {
		r.section("files with rows of the seller, or that may have some")
		table(r, "id requestNo attempt status rows accepted receivedAt failReason", t.Files, func(f admin.FileOfSeller) []any {
			rows, accepted := any(f.RowsOfSeller), any(f.AcceptedOfSeller)
			if f.RowsOfSeller == 0 {
				rows, accepted = "?", "?"
			}
			return []any{f.ID, f.RequestNo, f.Attempt, f.Status, rows, accepted, f.ReceivedAt, f.FailReason}
		}, more(int64(t.MoreFiles), "files"))
	}
	if len(t.Shares) > 0 {
		r.section("shares, held or settled")
		printShares(r, t.Shares, t.MoreShares)
	}
}

func printTracedShare(r *report, t admin.TracedShare) {
	if f := t.Refused; f != nil {
		r.section("%s: %s", f.RequestNo, t.Why)
		r.fields("code", f.Code+" "+f.Message, "at", f.At)
		for _, e := range f.Fields {
			r.line(e.Field + " " + e.Message)
		}
		return
	}
	s := t.Share
	r.section("%s: %s %s to seller %s, %s", s.RequestNo, s.Amount, s.Currency, s.SellerID, s.State)
	r.line(t.Why)
	r.fields("id", s.ID, "acceptedAt", s.AcceptedAt, "finishedAt", s.FinishedAt, "failCode", s.FailCode, "note", s.Note,
		"binding", fmt.Sprintf("%s %s, id %s", t.Binding.RequestNo, t.Binding.State, t.Binding.ID))
	if len(t.Postings) > 0 {
		r.section("what settled it")
		table(r, "posting at amount from to", t.Postings, func(p admin.Posting) []any {
			return []any{p.ID, p.At, p.Amount, side(p.From), side(p.To)}
		}, "")
	}
	r.section("filed when it was accepted: %s Shipped, %s Not Shipped, by these files together", t.FiledShipped, t.FiledUnshipped)
	table(r, "file attempt shipped unshipped bookedAt", t.Files, func(f admin.DrawnFile) []any {
		return []any{f.RequestNo, f.Attempt, f.Shipped, f.Unshipped, f.BookedAt}
	}, more(int64(t.MoreFiles), "files"))
}
