package trade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
// whole; otherwise the rejected ones.
func WriteErrorFile(w io.Writer, src io.ReadSeeker, res *Result, all bool) error {
	c := res.checker
	split, err := newSplitter(src, c.enc)
	if err != nil {
		return fmt.Errorf("rewind trade file: %w", err)
	}
	out := &errorFile{w: bufio.NewWriterSize(w, 64<<10), enc: c.enc, header: c.header}
	if err := out.copy(split, res, all); err != nil {
		return err
	}
	if err := out.w.Flush(); err != nil {
		return fmt.Errorf("write error file: %w", err)
	}
	return nil
}

type errorFile struct {
	w       *bufio.Writer
	enc     encoding
	header  header
	lineEnd []byte // of the header, for a last line that has none
	line    []byte // scratch
}

// copy writes the header and the rows, each judged once more by itself, with what was found between rows.
func (f *errorFile) copy(split *splitter, res *Result, all bool) error {
	findings, headed := res.findings, false
	for {
		rec, err := split.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read trade file: %w", err)
		}
		switch {
		case f.enc.blank(rec.raw):
			continue
		case !headed:
			headed = true
			f.lineEnd = append(f.lineEnd, rec.end...)
			if err := f.write(f.enc.bom, rec, strings.Join(reportColumns[:], ",")); err != nil {
				return err
			}
			continue
		}
		var problems []Problem
		if len(f.header.problems) == 0 {
			r, err := res.checker.judge(rec)
			if err != nil {
				return fmt.Errorf("judge trade file: %w", err)
			}
			problems = r.problems
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
		if !all && count == 0 {
			continue
		}
		ours := strconv.Itoa(rec.line) + "," + strconv.Itoa(count) + "," + quote(strings.Join(texts, " | "))
		if err := f.write("", rec, ours); err != nil {
			return err
		}
	}
}

// write puts out a record with ours behind it, in the place of what an earlier error file added.
func (f *errorFile) write(mark string, rec record, ours string) error {
	f.line = append(f.line[:0], mark...)
	comma := f.enc.encode(",")
	for _, s := range f.sent(rec) {
		f.line = append(append(f.line, rec.raw[s.from:s.to]...), comma...)
	}
	f.line = append(f.line, f.enc.encode(ours)...)
	switch {
	case len(rec.end) > 0:
		f.line = append(f.line, rec.end...)
	case len(f.lineEnd) > 0:
		f.line = append(f.line, f.lineEnd...)
	default:
		f.line = append(f.line, f.enc.encode("\n")...)
	}
	if _, err := f.w.Write(f.line); err != nil {
		return fmt.Errorf("write error file: %w", err)
	}
	return nil
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
