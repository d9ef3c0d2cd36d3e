package trade

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// reportColumns are what the error file adds. A mended error file can be sent as it is: they are left out then.
var reportColumns = [3]string{"lineNumber", "errorCount", "errors"}

// header tells where the columns of a file are.
type header struct {
	size      int   // cells
	own       []int // which of them are the sender's, not the error file's
	columns   []int // of those, in the same order
	width     int   // the sender's cells: own and those without a name behind them
	extraLast bool  // the error file's columns come last, so that rows may do without them
	unnamed   []int // cells without a name, behind all columns of the sender: every row has them, with nothing in them
	names     int   // cells with the name of a column
	problems  []Problem
	nearly    []nearlyNamed
	clear     bool // each column can be told, whatever else is wrong, so that rows can be judged
}

// nearlyNamed is a cell whose name is to be another, as one of the header's problems tells.
type nearlyNamed struct{ cell, problem int }

// cells finds the sender's cells of a record. They fit when there is one for each column, in the order of h.columns; cells
// without a name may follow.
//
// What an error file added is told by the size of the record or, where the sender's cells are too few or too many, by the two
// numbers near its end. Without that an error file sent back would make a short row whole.
func (h header) cells(rec record, enc encoding) (cells []span, fit bool) {
	n := len(rec.cells)
	switch {
	case !h.extraLast && n != h.size:
		return rec.cells, false
	case !h.extraLast:
		for _, i := range h.own {
			cells = append(cells, rec.cells[i])
		}
		return cells, true
	case n == h.size:
		n = h.width
	case h.size > h.width && n > 3 && isNumber(rec, n-3, enc) && isNumber(rec, n-2, enc):
		n -= 3
	}
	return rec.cells[:n], n == h.width
}

// cell is where in a record that fits a column stands.
func (h header) cell(rec record, enc encoding, column string) span {
	cells, _ := h.cells(rec, enc)
	i, _ := columnNamed(column)
	return cells[slices.Index(h.columns, i)]
}

// filled is the first cell without a name in which there is something, counted from 1; 0 when there is none.
func (h header) filled(rec record, enc encoding) int {
	for _, i := range h.unnamed {
		if i < len(rec.cells) && (len(rec.cells) == h.size || i < h.width) {
			if text, _ := enc.decode(rec.raw[rec.cells[i].from:rec.cells[i].to]); !isBlank(unquote(text)) {
				return i + 1
			}
		}
	}
	return 0
}

func isNumber(rec record, cell int, enc encoding) bool {
	text, _ := enc.decode(rec.raw[rec.cells[cell].from:rec.cells[cell].to])
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}

func readHeader(rec record, enc encoding) header {
	line := rec.line
	refuse := func(column string, rule ruleID, name string) Problem {
		p := finding{rule: rule, other: int32(line), name: name}.problem()
		p.Line, p.Column = 0, column
		return p
	}
	whole := func(rule ruleID, name string) header { return header{problems: []Problem{refuse("", rule, name)}} }
	text, ok := enc.decode(rec.raw)
	separators := ""
	switch {
	case foreign(rec.raw) != "":
		return whole(fileForeign, foreign(rec.raw))
	case !ok:
		line = place(text, enc.firstWrong(text), line).line
		return whole(fileUndecodable, enc.name)
	case strings.IndexByte(text, 0) >= 0:
		line = place(text, strings.IndexByte(text, 0), line).line
		return whole(fileNUL, enc.name)
	case isSepLine(text, ""):
		h := whole(fileSepLine, "")
		h.problems[0].Remove = isSepLine(text, ",") // without it nothing would show another separator
		return h
	case strings.Count(text, ",") < columnCount/2:
		separators = separatorOf(text, len(rec.cells) == 1)
	}
	switch {
	case separators != "":
		return whole(fileSeparator, separators)
	case rec.cells == nil:
		return whole(fileHeaderQuotes, place(text, wrongQuote(text), line).String())
	case strings.ContainsRune(text, '\r'):
		return whole(fileLineEnds, "")
	}
	h := header{size: len(rec.cells), extraLast: true}
	take := func(cell, column int) {
		if len(h.unnamed) > 0 {
			h.problems = append(h.problems, refuse("", fileUnnamed, strconv.Itoa(h.unnamed[0]+1)))
			h.unnamed = nil
		}
		h.own, h.columns = append(h.own, cell), append(h.columns, column)
		h.extraLast = len(h.own) == cell+1
	}
	seen := make(map[string]int)
	for i, s := range rec.cells {
		cell, _ := enc.decode(rec.raw[s.from:s.to])
		name := strings.TrimFunc(unquote(cell), func(r rune) bool { return unicode.IsSpace(r) || isUnseen(r) })
		if name == "" {
			h.unnamed = append(h.unnamed, i)
			continue
		}
		column, known := columnNamed(name)
		meant := nearly(name)
		folded := strings.ToLower(name)
		seen[folded]++
		if known {
			h.names++
		}
		switch {
		case !known && meant != "":
			seen[strings.ToLower(meant)]++
			h.nearly = append(h.nearly, nearlyNamed{i, len(h.problems)})
			p := refuse(shorten(name), fileNearly, meant)
			p.Mend = meant
			h.problems = append(h.problems, p)
			if column, _ := columnNamed(meant); column >= 0 {
				take(i, column)
			}
		case !known:
			h.problems = append(h.problems, refuse(shorten(name), fileUnknown, ""))
		case seen[folded] == 2:
			h.problems = append(h.problems, refuse(name, fileTwice, ""))
		case column >= 0:
			take(i, column)
		}
	}
	h.nearly = slices.DeleteFunc(h.nearly, func(n nearlyNamed) bool {
		p := &h.problems[n.problem]
		twice := seen[strings.ToLower(p.Mend)] > 1
		if twice { // which of the columns is meant is not certain
			p.Mend = ""
		}
		return twice
	})
	if h.names == 0 && strings.Contains(text, "://") {
		return whole(fileHeadless, "")
	}
	for _, c := range columns {
		if seen[strings.ToLower(c.Name)] == 0 {
			h.problems = append(h.problems, refuse(c.Name, fileMissing, ""))
		}
	}
	h.clear = !slices.ContainsFunc(h.problems, func(p Problem) bool {
		return p.Mend == "" && p.Rule != rules[fileUnknown].Name
	})
	h.width = len(h.own)
	for h.extraLast && h.width-len(h.own) < len(h.unnamed) && h.unnamed[h.width-len(h.own)] == h.width {
		h.width++
	}
	return h
}

// headingLines is how far down a header is looked for.
const headingLines = 20

// lookBelow looks at the lines after one that is no header. Under a line for spreadsheets there should be one, whose problems
// are told as well; under a title or a comment there may be one.
func (c *checker) lookBelow(split *splitter, head record) error {
	first := &c.header.problems[0]
	isRow := first.Rule == rules[fileHeadless].Name && len(head.cells) > columnCount/2
	switch {
	case first.Rule == rules[fileSepLine].Name:
		rec, err := c.heading(split)
		if err != nil {
			return unlessEnded(err)
		}
		for _, p := range readHeader(rec, c.enc).problems {
			if !first.Remove { // Fix goes no further
				p.Mend, p.Remove = "", false
			}
			c.header.problems = append(c.header.problems, p)
		}
		return nil
	case c.header.names > 0, isRow:
		return nil
	}
	ahead := &splitter{src: bytes.NewReader(slices.Clone(split.buf[split.start:])), enc: c.enc, line: split.line}
	for {
		rec, err := c.heading(ahead)
		if err != nil || rec.line > headingLines {
			return nil //nolint:nilerr // there is none, or split comes upon it
		}
		if len(readHeader(rec, c.enc).problems) == 0 {
			c.header = header{problems: []Problem{finding{rule: fileAbove, other: int32(rec.line)}.problem()}}
			for split.line < ahead.line { // the rows begin there
				if _, err := split.next(); err != nil {
					return unlessEnded(err)
				}
			}
			return nil
		}
	}
}

// unlessEnded leaves out what the reading of the rows comes upon again.
func unlessEnded(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errTooLong) {
		return nil
	}
	return err
}

// isSepLine tells the line by which a spreadsheet is told the separator.
func isSepLine(text, separator string) bool {
	return strings.HasPrefix(strings.Trim(strings.ToLower(text), "\ufeff\""), "sep="+separator)
}

// foreign names what is no text at all.
func foreign(start []byte) string {
	switch {
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return "an Excel workbook or a zip archive"
	case bytes.HasPrefix(start, []byte("\xd0\xcf\x11\xe0")):
		return "an Excel workbook"
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return "a gzip archive"
	case bytes.HasPrefix(start, []byte("%PDF")):
		return "a PDF"
	case bytes.HasPrefix(bytes.TrimSpace(start), []byte("<")):
		return "a web page or XML"
	case bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")), bytes.HasPrefix(bytes.TrimSpace(start), []byte("[")):
		return "JSON"
	}
	return ""
}

// separatorOf names what separates the names of a header that has no commas, or hardly any.
func separatorOf(text string, none bool) string {
	for _, s := range []struct{ mark, name string }{{";", "semicolons"}, {"\t", "tabs"}, {"|", "vertical bars"}, {"\uff0c", "Chinese commas"}, {"\uff1b", "Chinese semicolons"}} {
		if n := strings.Count(text, s.mark); n >= columnCount/2 || none && n > 0 {
			return s.name
		}
	}
	return ""
}

// nearly is the column whose name is meant, where a header has blanks, - or _ in it.
func nearly(name string) string {
	name = strings.NewReplacer(" ", "", "_", "", "-", "", "\u00a0", "").Replace(name)
	if i, known := columnNamed(name); known && i >= 0 {
		return columns[i].Name
	}
	return ""
}

// columnNamed finds a column by its name, in any letter case; -1 and true for a column of the error file.
func columnNamed(name string) (column int, known bool) {
	for i := range columns {
		if strings.EqualFold(columns[i].Name, name) {
			return i, true
		}
	}
	for _, extra := range reportColumns {
		if strings.EqualFold(extra, name) {
			return -1, true
		}
	}
	return -1, false
}
