package trade

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Fixed is what Fix has mended.
type Fixed struct {
	Total    int
	Problems []Problem // that are gone, by their lines in the file as it was: the first 1,000
	Broken   []Broken  // counts them all by rule, the most frequent first

	tally tally
}

// Fix writes a copy of the trade file src in which every problem is mended whose mend is certain: Problem.Mend and Remove.
// All else is byte for byte as it was. It judges rows by themselves only, and does not close src.
func Fix(w io.Writer, src io.ReadSeeker, set Settings) (*Fixed, error) {
	c, err := newChecker(src, set, Known{})
	if err != nil {
		return nil, fmt.Errorf("read trade file: %w", err)
	}
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return nil, fmt.Errorf("rewind trade file: %w", err)
	}
	fixed := &Fixed{tally: tally{}}
	if _, err := io.WriteString(w, c.enc.bom); err != nil {
		return nil, fmt.Errorf("write mended file: %w", err)
	}
	err = c.fixHeading(w, split, fixed)
	if err == nil && c.header.clear {
		err = c.fixRows(w, split, fixed)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errTooLong) {
		return nil, err
	}
	// What is no trade file, or none from here on.
	if _, err := src.Seek(split.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("rewind trade file: %w", err)
	}
	if _, err := io.Copy(w, src); err != nil {
		return nil, fmt.Errorf("copy trade file: %w", err)
	}
	fixed.Broken = fixed.tally.sorted()
	return fixed, nil
}

// fixHeading mends what stands up to the header, and reads that as it is afterwards.
func (c *checker) fixHeading(w io.Writer, split *splitter, fixed *Fixed) error {
	for {
		rec, err := split.next()
		if err != nil {
			return err
		}
		out, blank := rec.raw, c.enc.blank(rec.raw)
		if !blank {
			c.header = readHeader(rec, c.enc)
			var edits []edit
			for _, n := range c.header.nearly {
				p := c.header.problems[n.problem]
				edits = append(edits, c.edit(rec, rec.cells[n.cell], p.Mend))
				p.Line, p.Column, p.Value = rec.line, p.Mend, p.Column
				fixed.note(p)
			}
			switch {
			case len(edits) > 0:
				out = appendEdited(nil, rec.raw, edits)
				again, err := (&splitter{src: bytes.NewReader(out), enc: c.enc}).next()
				if err != nil {
					return fmt.Errorf("read mended header: %w", err)
				}
				c.header = readHeader(again, c.enc)
			case len(c.header.problems) > 0 && c.header.problems[0].Remove:
				p := c.header.problems[0]
				p.Line = rec.line
				fixed.note(p)
				continue
			}
		}
		if _, err := w.Write(append(slices.Clip(out), rec.end...)); err != nil {
			return fmt.Errorf("write mended file: %w", err)
		}
		if !blank {
			return nil
		}
	}
}

func (c *checker) fixRows(w io.Writer, split *splitter, fixed *Fixed) error {
	return c.pass(split, func(c *checker, b *batch) error {
		c.fixBatch(b)
		return nil
	}, func(b *batch) error {
		for _, p := range b.mended {
			fixed.note(p)
		}
		if _, err := w.Write(b.out); err != nil {
			return fmt.Errorf("write mended file: %w", err)
		}
		return nil
	})
}

// fixBatch copies a batch, blank lines too, with its rows mended.
func (c *checker) fixBatch(b *batch) {
	b.mended = b.mended[:0]
	var edits []edit
	for _, rec := range b.records {
		at := int(rec.offset - b.offset)
		for _, p := range c.judge(rec).problems {
			switch {
			case p.Remove:
				edits = append(edits, edit{span{at, at + len(rec.raw) + len(rec.end)}, nil})
			case p.Mend != "":
				e := c.edit(rec, c.header.cell(rec, c.enc, p.Column), p.Mend)
				edits = append(edits, edit{span{at + e.from, at + e.to}, e.text})
			default:
				continue
			}
			p.Value = strings.Clone(shorten(p.Value))
			b.mended = append(b.mended, p)
		}
	}
	b.out = appendEdited(b.out[:0], b.data, edits)
}

// edit is other text for a part of a file.
type edit struct {
	span
	text []byte
}

// edit writes into a cell, with quotes where it has them, or needs them because it was a formula.
func (c *checker) edit(rec record, cell span, text string) edit {
	if cell.from < cell.to && c.enc.at(rec.raw, cell.from) == '"' || strings.ContainsAny(text, ",\"\r\n") {
		text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
	}
	return edit{cell, c.enc.encode(text)}
}

func appendEdited(out, text []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	from := 0
	for _, e := range edits {
		out = append(append(out, text[from:e.from]...), e.text...)
		from = e.to
	}
	return append(out, text[from:]...)
}

// note counts a problem that is mended.
func (f *Fixed) note(p Problem) {
	if f.Total++; f.Total <= maxProblems {
		f.Problems = append(f.Problems, p)
	}
	f.tally.count(p.Rule, p.Line, func() Problem { return p })
}
