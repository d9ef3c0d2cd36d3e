package trade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// FiledRow is a record of a kept upload, found by its line.
type FiledRow struct {
	Row      Row    // as far as it could be read
	Text     string // as sent, decoded; a buyer's name and address may stand in it
	Encoding string

	// What the row is told by, as its cells were read; empty where they could not be told apart.
	SellerID, OrderID, SKU, Time, Currency, Amount, Shipping string

	Identified bool     // Item, At and Amount are sound, so that it can be compared with booked rows
	Untold     bool     // the error file that said what was wrong with it was erased
	Rejected   bool     // it has an error
	Problems   []string // as in the error file, warnings included
}

// NoRowError says why there is no row on a line.
type NoRowError struct{ Why string }

func (e NoRowError) Error() string { return e.Why }

const emptyLine = "is empty"

// RowOf reads the record of an upload that stands on a line, counted as an editor counts. What was wrong with it is taken
// from the error file, which knew the other rows as well; where that does not tell, the row is judged by itself again. The
// upload is read from its start: no index leads from a line to its place. The error is a NoRowError when there is no such
// row, or the upload is not kept any more.
func (im *Importer) RowOf(ctx context.Context, f pgdb.TradeFile, set store.Settings, line int) (r FiledRow, err error) {
	src, err := content.Open(ctx, im.DB, im.Keys, f.ContentID)
	if errors.Is(err, fs.ErrNotExist) {
		return r, NoRowError{"cannot be read: the upload is not kept any more"}
	}
	if err != nil {
		return r, err
	}
	begun, err := newChecker(src, Settings{Zone: set.Location(), Encoding: f.Encoding}, Known{})
	if err != nil {
		return r, fmt.Errorf("read trade file: %w", err)
	}
	c := begun.another()
	rec, err := c.find(src, line)
	if e, ok := errors.AsType[NoRowError](err); ok && e.Why == emptyLine && f.RedactedAt > 0 {
		return r, NoRowError{emptyLine + ": it was sent so, or the redaction of " + store.Time(f.RedactedAt).UTC().Format(time.DateOnly) + " has blanked it"}
	}
	if err != nil {
		return r, err
	}
	text, _ := c.enc.decode(rec.raw)
	r = FiledRow{Row: Row{Line: rec.line, Offset: rec.offset}, Text: text, Encoding: c.enc.name}
	if !c.header.clear { // nobody can tell which cell is which
		return r, nil
	}
	j := c.judge(rec)
	readable := j.bad != 1<<columnCount-1
	r.Row, r.Identified = j.row, j.identified()
	r.SellerID, r.OrderID, r.SKU, r.Time = j.cells[colSellerID], j.cells[colOrderID], j.cells[colSKU], j.cells[colTime]
	r.Currency, r.Amount, r.Shipping = j.cells[colCurrency], j.cells[colAmount], j.cells[colShipping]
	if f.ErrorsID != 0 {
		told, err := im.toldOf(ctx, f, c.enc, &r)
		if err != nil || told {
			return r, err
		}
	}
	r.Untold = ErrorsErased(f) > 0
	// A row that was accepted stays accepted, although later rules might say otherwise.
	judged := f.State == fileFailed || f.State == fileProcessing || !readable
	for _, p := range j.problems {
		if p.Warning || judged {
			r.Problems = append(r.Problems, p.String())
		}
		r.Rejected = r.Rejected || judged && !p.Warning
	}
	return r, nil
}

// find reads the header, and then on to the record that stands on a line.
func (c *checker) find(src io.ReadSeeker, line int) (rec record, err error) {
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return rec, fmt.Errorf("rewind trade file: %w", err)
	}
	end := func(rec record) int { // the last line of a record that was just read
		if len(rec.end) == 0 {
			return split.line
		}
		return split.line - 1
	}
	last := 0
	head, err := c.heading(split)
	if err == nil {
		if last = end(head); line <= last {
			return rec, NoRowError{fmt.Sprintf("is not a row: the header ends on line %d", last)}
		}
		c.header = readHeader(head, c.enc)
	}
	for err == nil && last < line {
		if rec, err = split.next(); err == nil {
			last = end(rec)
		}
	}
	switch {
	case errors.Is(err, errTooLong):
		return rec, NoRowError{fmt.Sprintf("cannot be read: line %d is longer than any row can be", split.line)}
	case errors.Is(err, io.EOF):
		return rec, NoRowError{fmt.Sprintf("is behind the end of the file, whose last line is %d", last)}
	case err != nil:
		return rec, fmt.Errorf("read trade file: %w", err)
	case c.enc.blank(rec.raw):
		return rec, NoRowError{emptyLine}
	}
	return rec, nil
}

// toldOf takes over what a file's error file says of a row, if it does. A row whose quotes are wrong cannot be found there.
func (im *Importer) toldOf(ctx context.Context, f pgdb.TradeFile, enc encoding, r *FiledRow) (told bool, err error) {
	src, err := content.Open(ctx, im.DB, im.Keys, f.ErrorsID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	split, err := newSplitter(src, enc)
	if err != nil {
		return false, err
	}
	for {
		rec, err := split.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read error file: %w", err)
		}
		n := len(rec.cells)
		if n <= len(reportColumns) {
			continue
		}
		cell := func(i int) string {
			text, _ := enc.decode(rec.raw[rec.cells[i].from:rec.cells[i].to])
			return unquote(text)
		}
		switch at, err := strconv.Atoi(cell(n - 3)); {
		case err != nil || at < r.Row.Line:
			continue
		case at > r.Row.Line:
			return false, nil
		}
		if text := cell(n - 1); text != "" {
			r.Problems = strings.Split(text, " | ")
		}
		count, _ := strconv.Atoi(cell(n - 2))
		ofFile := strings.Split(f.FailReason, " | ") // which stands in the first row
		r.Problems = slices.DeleteFunc(r.Problems, func(text string) bool {
			is := slices.Contains(ofFile, text)
			if is {
				count--
			}
			return is
		})
		r.Rejected = count > 0
		return true, nil
	}
}

// ItemKey is what the rows of a seller, order and sku are filed under.
func ItemKey(sellerID, orderID, sku string) []byte {
	key := new(checker).hash(sellerID, orderID, sku)
	return key[:]
}

// NetOfItem is what an item's sales come to once its returns are taken off, in minor units.
func NetOfItem(shipped, unshipped, returns int64) (netShipped, netUnshipped int64) {
	net := itemBooks{shipped, unshipped, returns}.net()
	return net.shipped, net.unshipped
}
