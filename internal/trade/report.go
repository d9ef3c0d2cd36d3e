package trade

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Summary is /result/<requestNo>_summary.json, written for every finished attempt of a file.
type Summary struct {
	RequestNo    string `json:"requestNo"`
	Status       string `json:"status"` // SUCCESS, FAILED or PARTIAL
	Attempt      int    `json:"attempt"`
	TotalRows    int    `json:"totalRows"`
	AcceptedRows int    `json:"acceptedRows"`
	RejectedRows int    `json:"rejectedRows"`
	SHA256       string `json:"sha256"` // of the bytes that were judged, in hex
	FailReason   string `json:"failReason,omitempty"`
	FinishedAt   string `json:"finishedAt"` // RFC 3339, UTC

	// Broken counts what is wrong by rule, with the first lines of each: faults of the file first, then errors, then
	// warnings.
	Broken []Broken `json:"broken"`

	// Warnings are the first of those in accepted rows, at most 100: they count as they are.
	Warnings []Warning `json:"warnings"`

	// RefusedUploads are other bytes that came under this requestNo when they could no longer count.
	RefusedUploads []RefusedUpload `json:"refusedUploads"`
}

// Warning is what is odd about a row that counts.
type Warning struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// RefusedUpload is one upload that was dropped.
type RefusedUpload struct {
	SHA256 string `json:"sha256"`
	At     string `json:"at"` // RFC 3339, UTC
}

// FailReason says what is wrong with the whole file, in at most about 1,000 characters; empty when only rows are wrong.
func (res *Result) FailReason() string {
	var b strings.Builder
	for i, p := range res.FileProblems {
		text := p.String()
		if i > 0 && b.Len()+len(text) > 900 {
			fmt.Fprintf(&b, " | and %d more", len(res.FileProblems)-i)
			break
		}
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(text)
	}
	return b.String()
}

// WriteErrorFile writes the error file of the checked file src: its columns exactly as sent and in its encoding, then
// lineNumber, errorCount and errors. All rows are in it when all is true, so that the file can be mended and sent again as a
// whole; otherwise the rejected ones. What is wrong with the whole file stands in its first row. Of what is no comma
// separated text nothing is repeated.
func WriteErrorFile(w io.Writer, src io.ReadSeeker, res *Result, all bool) error {
	c := res.checker
	if res.foreign() {
		if _, err := fmt.Fprintf(w, "%s\n1,1,%s\n", strings.Join(reportColumns[:], ","), quote(res.FileProblems[0].String())); err != nil {
			return fmt.Errorf("write error file: %w", err)
		}
		return nil
	}
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return fmt.Errorf("rewind trade file: %w", err)
	}
	head, err := c.heading(split)
	if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read trade file: %w", err)
	}
	f := &errorFile{enc: c.enc, header: c.header, ofFile: res.FileProblems, odd: res.odd, findings: res.findings, all: all,
		comma: c.enc.encode(","), lineEnd: slices.Clone(head.end)}
	if _, err := w.Write(f.append(nil, f.enc.bom, head, strings.Join(reportColumns[:], ","))); err != nil {
		return fmt.Errorf("write error file: %w", err)
	}
	if err := c.pass(split, f.report, func(b *batch) error {
		if _, err := w.Write(b.out); err != nil {
			return fmt.Errorf("write error file: %w", err)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("judge trade file again: %w", err)
	}
	return nil
}

// errorFile is what an error file is made from; it does not change while several goroutines make it.
type errorFile struct {
	enc      encoding
	header   header
	ofFile   []Problem
	odd      bits
	findings []finding
	all      bool
	comma    []byte
	lineEnd  []byte // of the header, for a last line that has none
}

// report judges the odd rows of a batch once more by themselves, and writes the rows with what was found between them.
func (f *errorFile) report(c *checker, b *batch) error {
	var odd []record
	for i, rec := range b.records {
		if f.odd.has(b.first + i) {
			odd = append(odd, rec)
		}
	}
	if err := c.judgeBatch(b, odd); err != nil {
		return err
	}
	b.out = b.out[:0]
	judged := b.judged
	var findings []finding
	if len(b.records) > 0 {
		n, _ := slices.BinarySearchFunc(f.findings, b.records[0].line, func(x finding, line int) int { return cmp.Compare(int(x.line), line) })
		findings = f.findings[n:]
	}
	for i, rec := range b.records {
		var problems []Problem
		if b.first+i == 0 {
			problems = slices.Clone(f.ofFile)
		}
		if f.odd.has(b.first + i) {
			problems, judged = append(problems, judged[0].problems...), judged[1:]
		}
		for len(findings) > 0 && int(findings[0].line) == rec.line {
			problems = append(problems, findings[0].problem())
			findings = findings[1:]
		}
		count, texts := 0, make([]string, 0, len(problems))
		for _, p := range problems {
			texts = append(texts, p.String())
			if !p.Warning {
				count++
			}
		}
		if f.all || count > 0 {
			b.out = f.append(b.out, "", rec, strconv.Itoa(rec.line)+","+strconv.Itoa(count)+","+quote(strings.Join(texts, " | ")))
		}
	}
	return nil
}

// append adds a record with ours behind it, in the place of what an earlier error file added.
func (f *errorFile) append(out []byte, mark string, rec record, ours string) []byte {
	out = append(out, mark...)
	whole := len(rec.raw) - len(rec.raw)%f.enc.unit // without the half of a unit that a cut file ends in
	for _, s := range f.sent(rec) {
		out = append(append(out, rec.raw[s.from:min(s.to, whole)]...), f.comma...)
	}
	out = append(out, f.enc.encode(ours)...)
	switch {
	case len(rec.end) > 0:
		return append(out, rec.end...)
	case len(f.lineEnd) > 0:
		return append(out, f.lineEnd...)
	}
	return append(out, f.enc.encode("\n")...)
}

// sent is what the sender wrote, without what an earlier error file added.
func (f *errorFile) sent(rec record) []span {
	if len(f.header.problems) > 0 || rec.cells == nil {
		return []span{{0, len(rec.raw)}}
	}
	cells, _ := f.header.cells(rec, f.enc)
	return cells
}

// quote makes a cell of our own text: one that a spreadsheet does not take for a formula, and with quotes even where none
// are needed, so that it also ends a quote which the sender left open.
func quote(text string) string {
	if text == "" {
		return ""
	}
	if strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		text = "'" + text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}
