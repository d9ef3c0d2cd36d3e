package trade

import (
	"errors"
	"io"
)

// maxRecord bounds a record in bytes. The longest legal row is far below it, even with every character quoted.
const maxRecord = 1 << 20

// errTooLong ends the reading of something that is not a CSV file: a line longer than maxRecord.
var errTooLong = errors.New("record too long")

// record is one CSV record as its sender wrote it. Its bytes are valid until the next one is read.
type record struct {
	line   int   // of its first byte, as an editor counts: the first line of the file is 1, and CR alone ends one too
	offset int64 // of its first byte in the file
	raw    []byte
	end    []byte // the line end after it; the last record may have none
	cells  []span // where in raw the fields stand, quotes included; nil when the quotes are wrong
	open   bool   // the quotes are wrong because one was never closed
}

type span struct{ from, to int }

// splitter cuts a file into records by RFC 4180. encoding/csv does not serve here: the error file must give back the bytes
// as sent, and one wrong quote must not end the reading. A record with a wrong quote is taken to be its first line only, and
// reading goes on with the next line. That stays linear: a line that ends inside a quote has an odd number of quotes, and
// the next such line ends the search.
type splitter struct {
	src    io.Reader
	enc    encoding
	buf    []byte
	start  int // where in buf the next record starts
	offset int64
	line   int
	ended  bool // src has no more
	cells  []span
}

func newSplitter(src io.ReadSeeker, enc encoding) (*splitter, error) {
	begin := int64(len(enc.bom))
	if _, err := src.Seek(begin, io.SeekStart); err != nil {
		return nil, err
	}
	return &splitter{src: src, enc: enc, offset: begin, line: 1}, nil
}

// fill reads more of the file behind what is in the buffer.
func (s *splitter) fill() error {
	if s.start > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.start:])]
		s.start = 0
	}
	if cap(s.buf)-len(s.buf) < 32<<10 {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)+64<<10), s.buf...)
	}
	n, err := io.ReadFull(s.src, s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	s.ended = err != nil
	return ignoreEnd(err)
}

// Where a field is read. A broken one, whose quotes are wrong, ends with its line.
const (
	fieldStart = iota
	equals     // of ="00123", which is a quoted field too: spreadsheets are told so to keep a text a text
	plain
	quoted
	quoteSeen // in a quoted field: its end, or the first half of a doubled quote
	lineEndSeen
	broken
)

// next returns the next record, blank ones included, io.EOF after the last, or errTooLong.
func (s *splitter) next() (record, error) {
	unit := s.enc.unit
	state, begin, firstLine := fieldStart, 0, 0
	s.cells = s.cells[:0]
	for i := 0; ; i += unit {
		if i+unit > len(s.buf)-s.start && !s.ended {
			if err := s.fill(); err != nil {
				return record{}, err
			}
		}
		b := s.buf[s.start:]
		if i+unit > len(b) {
			return s.last(b, state, begin, firstLine)
		}
		if i > maxRecord {
			if firstLine > 0 {
				return s.take(b, firstLine, false, true), nil
			}
			return record{}, errTooLong
		}
		c := s.enc.at(b, i)
		switch state {
		case fieldStart, equals, plain:
			switch {
			case c == '"' && state != plain:
				state = quoted
			case c == '"':
				state = broken
			case c == ',':
				s.cells = append(s.cells, span{begin, i})
				state, begin = fieldStart, i+unit
			case c == '\n':
				s.cells = append(s.cells, span{begin, s.beforeCR(b, i)})
				return s.take(b, i+unit, true, false), nil
			case c == '=' && state == fieldStart:
				state = equals
			default:
				state = plain
			}
		case quoted:
			if c == '"' {
				state = quoteSeen
			} else if c == '\n' && firstLine == 0 {
				firstLine = i + unit
			}
		case quoteSeen, lineEndSeen:
			switch {
			case c == '"' && state == quoteSeen:
				state = quoted
			case c == ',' && state == quoteSeen:
				s.cells = append(s.cells, span{begin, i})
				state, begin = fieldStart, i+unit
			case c == '\r' && state == quoteSeen:
				state = lineEndSeen
			case c == '\n':
				s.cells = append(s.cells, span{begin, s.beforeCR(b, i)})
				return s.take(b, i+unit, true, false), nil
			default:
				state = broken
			}
		case broken:
			if c == '\n' {
				return s.take(b, i+unit, false, false), nil
			}
		}
		if state == broken && firstLine > 0 {
			return s.take(b, firstLine, false, false), nil
		}
	}
}

// last is the record that the file ends with.
func (s *splitter) last(b []byte, state, begin, firstLine int) (record, error) {
	switch {
	case len(b) == 0:
		return record{}, io.EOF
	case state == quoted && firstLine > 0:
		return s.take(b, firstLine, false, true), nil
	case state == quoted || state == broken:
		return s.take(b, len(b), false, state == quoted), nil
	}
	s.cells = append(s.cells, span{begin, s.beforeCR(b, len(b))})
	return s.take(b, len(b), true, false), nil
}

// beforeCR is the end of the text that stops at i, without the carriage return of CR LF.
func (s *splitter) beforeCR(b []byte, i int) int {
	if j := i - s.enc.unit; j >= 0 && i%s.enc.unit == 0 && s.enc.at(b, j) == '\r' {
		return j
	}
	return i
}

// take hands out the first size bytes of b, which are whole lines, as one record.
func (s *splitter) take(b []byte, size int, sound, open bool) record {
	r := record{line: s.line, offset: s.offset, open: open}
	text := size
	if last := size - s.enc.unit; last >= 0 && size%s.enc.unit == 0 && s.enc.at(b, last) == '\n' {
		text = last
	}
	text = s.beforeCR(b, text)
	r.raw, r.end = b[:text:text], b[text:size:size]
	if sound {
		r.cells = s.cells
	}
	s.line += s.enc.lineEnds(b[:size])
	s.start += size
	s.offset += int64(size)
	return r
}
