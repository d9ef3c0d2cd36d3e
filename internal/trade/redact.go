package trade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// ErrNoSuchRow says that a line is not the first of a row.
var ErrNoSuchRow = errors.New("no row begins there")

// RedactMost is how many rows are blanked at once: what takes their place is in memory, and in one unit.
const RedactMost = 100

// Redaction is what takes the place of buyers' names and addresses in a kept upload.
type Redaction struct {
	keys      content.Keys
	contentID int64
	patches   []content.Patch
}

// Redaction finds buyerName and buyerAddress in the rows that begin in these lines. A row of which it cannot be told what is
// where is blanked whole: it was never accepted.
func (im *Importer) Redaction(ctx context.Context, f pgdb.TradeFile, lines []int) (r Redaction, err error) {
	switch {
	case f.State == fileProcessing:
		return r, ErrProcessing
	case f.ErasedAt > 0:
		return r, fmt.Errorf("the upload: %w", ErrErased)
	}
	src, err := content.Open(ctx, im.DB, im.Keys, f.ContentID)
	if err != nil {
		return r, err
	}
	r.keys, r.contentID = im.Keys, f.ContentID
	r.patches, err = blankBuyers(src, f, lines)
	return r, err
}

// Do blanks what was found, in the file's own bytes: every row stays where it is, and the SHA-256 that the file keeps is that
// of what was uploaded. The error file goes. It has the same names, but not one row of it can be found by its place: it has
// the rejected rows alone, or quotes that were never closed, which run into what was added to them.
func (r Redaction) Do(ctx context.Context, v *store.View, q *pgdb.Queries, f pgdb.TradeFile) (pgdb.TradeFile, error) {
	if f.ErasedAt > 0 || f.ContentID != r.contentID {
		return f, fmt.Errorf("the upload: %w", ErrErased)
	}
	if err := content.Overwrite(ctx, q, r.keys, f.ContentID, r.patches); err != nil {
		return f, err
	}
	f, err := eraseErrors(ctx, v, q, f)
	f.RedactedAt = v.Now()
	v.Files.Put(f.ID, f)
	return f, err
}

// blankBuyers finds what is to be blanked in a file that was judged.
func blankBuyers(src io.ReadSeeker, f pgdb.TradeFile, lines []int) (patches []content.Patch, err error) {
	lines = slices.Compact(slices.Sorted(slices.Values(lines)))
	c, err := newChecker(src, Settings{Encoding: f.Encoding}, Known{})
	if err != nil {
		return nil, err
	}
	enc := c.enc
	split, err := newSplitter(src, enc)
	if err != nil {
		return nil, err
	}
	rec, err := c.heading(split)
	if err != nil {
		return nil, noRow(lines[0], err)
	}
	h := readHeader(rec, enc)
	if len(h.problems) > 0 && f.State != fileFailed {
		return nil, errors.New("the header of an accepted file cannot be read: look whether the database is damaged")
	}
	if len(h.problems) == 0 { // else the first line may be a row
		rec, err = split.next()
	}
	for len(lines) > 0 {
		if err != nil || rec.line > lines[0] {
			return nil, noRow(lines[0], err)
		}
		next := split.line // where the row after it begins
		switch {
		case rec.line == lines[0] && enc.blank(rec.raw):
			return nil, fmt.Errorf("line %d: %w: it is empty", lines[0], ErrNoSuchRow)
		case rec.line == lines[0]:
			spans, ok := buyersIn(rec, h, enc)
			if !ok && f.State == fileSuccess {
				return nil, fmt.Errorf("line %d of an accepted file cannot be read: look whether the database is damaged", rec.line)
			}
			for _, s := range spans {
				patches = append(patches, content.Patch{Offset: rec.offset + int64(s.from), Data: blanked(rec.raw[s.from:s.to], enc)})
			}
			lines = lines[1:]
		case next > lines[0]:
			return nil, fmt.Errorf("line %d: %w: it belongs to the row of line %d", lines[0], ErrNoSuchRow, rec.line)
		}
		rec, err = split.next()
	}
	return patches, nil
}

func noRow(line int, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
		err = ErrNoSuchRow
	}
	return fmt.Errorf("line %d: %w", line, err)
}

// buyersIn is where a row names its buyer; all of the row, and not ok, where its cells cannot be told.
func buyersIn(rec record, h header, enc encoding) (spans []span, ok bool) {
	whole := []span{{0, len(rec.raw)}}
	if len(h.problems) > 0 || rec.cells == nil {
		return whole, false
	}
	cells, fit := h.cells(rec, enc)
	if !fit {
		return whole, false
	}
	for i, column := range h.columns {
		if name := columns[column].Name; name == "buyerName" || name == "buyerAddress" {
			spans = append(spans, cells[i])
		}
	}
	return spans, true
}

// blanked is as many bytes of spaces in the file's encoding. Quotes stay, also those of ="text", by which it remains one cell,
// and so do line ends, by which the lines of the rows behind are counted.
func blanked(cell []byte, enc encoding) []byte {
	out, space := slices.Clone(cell), enc.encode(" ")
	for i := 0; i+enc.unit <= len(cell); i += enc.unit {
		switch c := enc.at(cell, i); {
		case c == '"', c == '\n', c == '\r':
		case c == '=' && i+2*enc.unit <= len(cell) && enc.at(cell, i+enc.unit) == '"':
		default:
			copy(out[i:], space)
		}
	}
	if n := len(cell) % enc.unit; n > 0 { // half a unit, where a file was cut
		out[len(out)-n] = 0
	}
	return out
}
