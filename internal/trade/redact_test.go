package trade

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// bought is a row with a buyer, whose cells are written as they are given.
func bought(order, buyer, address string) string {
	return "S1," + order + ",SKU,2026-02-01 10:00:00,CNH,10.00,001,台灯,1,10.00,Shipped,,T-1,SF,2026-02-02 10:00:00,USA,https://s.example.com," + buyer + "," + address + "\n"
}

// judgeBytes hands over a file of any encoding, and has it judged.
func (r *importRig) judgeBytes(requestNo string, text []byte) pgdb.TradeFile {
	r.Helper()
	path := filepath.Join(r.TempDir(), requestNo+".csv")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		r.Fatal(err)
	}
	sum := sha256.Sum256(text)
	if err := r.im.Receive(r.Context(), "demo", requestNo, path, int64(len(text)), hex.EncodeToString(sum[:])); err != nil {
		r.Fatal(err)
	}
	if err := r.im.Import(r.Context(), r.tasks(FileQueue("demo"))[0]); err != nil {
		r.Fatal(err)
	}
	r.results()
	return r.file(requestNo)
}

// kept is a file's upload.
func (r *importRig) kept(f pgdb.TradeFile) []byte {
	r.Helper()
	src, err := content.Open(r.Context(), r.im.DB, r.im.Keys, f.ContentID)
	if err != nil {
		r.Fatal(err)
	}
	text, err := io.ReadAll(src)
	if err != nil {
		r.Fatal(err)
	}
	return text
}

// redact does what an operator's act does.
func (r *importRig) redact(f pgdb.TradeFile, lines ...int) error {
	buyers, err := r.im.Redaction(r.Context(), f, lines)
	if err != nil {
		return err
	}
	return r.im.DB.Do(r.Context(), store.Unit{Keys: store.Keys{Apps: []string{"demo"}, Files: []int64{f.ID}}, Alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
		is, _ := v.Files.Get(f.ID)
		_, err := buyers.Do(ctx, v, q, is)
		return err
	}})
}

// rows are the booked rows: everything that is kept of them.
func (r *importRig) rows() (rows []pgdb.PageBookedRowsRow) {
	r.Helper()
	r.read(func(q *pgdb.Queries) (err error) {
		rows, err = q.PageBookedRows(r.Context(), pgdb.PageBookedRowsParams{App: r.app(), First: make([]byte, 16), Last: bytes.Repeat([]byte{255}, 16), Most: 1000})
		return err
	})
	return rows
}

// redactEncodings are those in which files come.
var redactEncodings = map[string]func(text string) ([]byte, error){
	"UTF-8":             func(text string) ([]byte, error) { return []byte(text), nil },
	"UTF-8 with a mark": func(text string) ([]byte, error) { return []byte("\ufeff" + text), nil },
	"UTF-16LE": func(text string) ([]byte, error) {
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes([]byte(text))
	},
	"UTF-16BE": func(text string) ([]byte, error) {
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder().Bytes([]byte(text))
	},
	"GB18030": func(text string) ([]byte, error) { return simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(text)) },
}

// TestRedact: a buyer is gone from the kept upload, in whatever encoding and quotes, and nothing else has changed.
func TestRedact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		for name, encode := range redactEncodings {
			t.Run(name, func(t *testing.T) {
				r := newImportRig(t, engine.New(t), store.Settings{})
				text := importHeader + bought("O-1", "张三丰", "\"上海, 南京路 1\n\"\"大厦\"\" 2\r\n室\"") + // lines 2 to 4
					bought("O-2", "Zoë Ärger", "plain road 7") + bought("O-3", "\"王五\"", "\"\"") + bought("O-4", "李四", "北京")
				was, err := encode(text)
				if err != nil {
					t.Fatal(err)
				}
				f := r.judgeBytes("T-1", was)
				if f.State != fileSuccess || f.AcceptedRows != 4 {
					t.Fatalf("%+v", f)
				}
				rows, filed := r.rows(), r.filed()
				for _, line := range []int{1, 3, 4, 9, 99} {
					if err := r.redact(f, line); !errors.Is(err, ErrNoSuchRow) {
						t.Errorf("line %d: %v", line, err)
					}
				}
				if err := r.redact(f, 6, 2, 6); err != nil {
					t.Fatal(err)
				}

				is := r.file("T-1")
				want := f
				if want.RedactedAt = is.RedactedAt; is != want || is.RedactedAt == 0 {
					t.Errorf("%+v, want %+v", is, want)
				}
				sum := sha256.Sum256(was)
				if is.SHA256 != hex.EncodeToString(sum[:]) {
					t.Error("the SHA-256 is another")
				}
				got := r.kept(is)
				if len(got) != len(was) {
					t.Fatalf("%d bytes have become %d", len(was), len(got))
				}
				for name, there := range map[string]bool{"张三丰": false, "南京路": false, "大厦": false, "王五": false, "Zoë Ärger": true, "plain road 7": true, "李四": true, "台灯": true, "O-3": true} {
					part, err := encode(name)
					if err != nil {
						t.Fatal(err)
					}
					if part = bytes.TrimPrefix(bytes.TrimPrefix(part, []byte("\xff\xfe")), []byte("\xef\xbb\xbf")); bytes.Contains(got, part) != there {
						t.Errorf("%s is there: %v", name, !there)
					}
				}
				// Every row is where it was, and is the row that it was.
				if !slices.EqualFunc(r.rows(), rows, func(a, b pgdb.PageBookedRowsRow) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || r.filed() != filed {
					t.Error("the books have changed")
				}
				before, after := checkedRows(t, was), checkedRows(t, got)
				if !slices.Equal(before, after) || len(before) != 4 {
					t.Errorf("rows were %v and are %v", before, after)
				}
				r.verify()
				if n := len(r.due(content.Queue)); n != 0 {
					t.Errorf("%d contents are still to be removed", n)
				}

				// A second one, of whom the first act left nothing to find; and the whole file after all.
				if err := r.redact(is, 2, 5); err != nil {
					t.Error(err)
				}
				if err := r.erase(is, "x"); err != nil {
					t.Error(err)
				}
				if err := r.redact(r.file("T-1"), 7); !errors.Is(err, ErrErased) {
					t.Errorf("what is erased: %v", err)
				}
				if err := r.redact(is, 7); err == nil {
					t.Error("what was erased meanwhile is redacted")
				}
			})
		}
	})
}

// checkedRows is where a checker finds the rows of a file, and which they are.
func checkedRows(t *testing.T, text []byte) (rows []string) {
	t.Helper()
	res, err := Check(bytes.NewReader(text), Settings{}, Known{})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if err := res.EachRow(func(all []Row) error {
		for _, r := range all {
			rows = append(rows, fmt.Sprintln(r.Line, r.Offset, r.Item, r.At, r.Amount, r.ShipDetail, r.Shipped))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestRedactRejected: a rejected row whose cells cannot be told is blanked whole, up to its line ends; the error file, which
// has the same names, goes, also from /result.
func TestRedactRejected(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{AcceptPartial: true})
		rows := bought("O-1", "Alice", "road 1") + bought("O-2", "\"Bob", "road 2") + bought("O-3", "Carol", "road, 3") + strings.Replace(bought("O-4", "Dave", "road 4"), "USA", "XX", 1)
		f := r.judgeBytes("T-1", []byte(importHeader+rows))
		if f.State != filePartial || f.RejectedRows != 3 || !strings.Contains(r.result("T-1_error.csv"), "Bob") {
			t.Fatalf("%+v", f)
		}
		errorsID := f.ErrorsID
		if err := r.redact(f, 3, 4, 5); err != nil {
			t.Fatal(err)
		}
		is := r.file("T-1")
		blank := func(row string) string {
			bytes := []byte(row)
			for i, c := range bytes {
				if c != '"' && c != '\n' {
					bytes[i] = ' '
				}
			}
			return string(bytes)
		}
		lines := strings.SplitAfter(rows, "\n")
		want := importHeader + lines[0] + blank(lines[1]) + blank(lines[2]) + strings.Replace(strings.Replace(lines[3], "Dave", "    ", 1), "road 4", "      ", 1)
		if got := string(r.kept(is)); got != want {
			t.Errorf("kept:\n%s", got)
		}
		if _, err := r.im.ErrorFile(t.Context(), is); !errors.Is(err, ErrErased) || is.ErrorsID != 0 {
			t.Errorf("its error file: %v", err)
		}
		if got := r.results(); !slices.Equal(got, []string{"T-1_summary.json"}) {
			t.Errorf("results: %v", got)
		}
		for _, task := range r.due(content.Queue) { // at once, not a day later
			if err := content.Sweep(t.Context(), r.im.DB, task); err != nil {
				t.Fatal(err)
			}
		}
		if r.chunks(errorsID) != 0 {
			t.Error("the error file's bytes are still there")
		}
		r.verify()

		// A file without a header: its rows are blanked whole, the first too.
		headless := strings.ReplaceAll(bought("O-1", "Eve", "road 5")+bought("O-2", "Eve", "road 5"), "https://", "")
		f = r.judgeBytes("T-2", []byte(headless))
		if f.State != fileFailed {
			t.Fatalf("%+v", f)
		}
		if err := r.redact(f, 1, 2); err != nil {
			t.Fatal(err)
		}
		if got := string(r.kept(r.file("T-2"))); strings.TrimSpace(got) != "" || len(got) != len(headless) {
			t.Errorf("kept: %q", got)
		}
	})
}

// TestRedactedFileIsReadAsBefore: a cell with a line end in quotes of its own remains one, a line without a row is none, and
// what is left of a Chinese file is not taken for another encoding.
func TestRedactedFileIsReadAsBefore(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		was, err := redactEncodings["GB18030"](importHeader + bought("O-1", "=\"李四海\n王五\"", "上海") + "\n" + strings.Replace(bought("O-2", "Bob", "road 2"), "台灯", "镜镕", 1)) // rare second bytes
		if err != nil {
			t.Fatal(err)
		}
		f := r.judgeBytes("T-1", was)
		if f.State != fileSuccess || f.Encoding != "GB18030" {
			t.Fatalf("%+v", f)
		}
		if err := r.redact(f, 4); !errors.Is(err, ErrNoSuchRow) || !strings.Contains(err.Error(), "empty") {
			t.Errorf("a line without a row: %v", err)
		}
		if err := r.redact(f, 2); err != nil {
			t.Fatal(err)
		}
		f = r.file("T-1")
		for line, order := range map[int]string{2: "O-1", 5: "O-2"} {
			row, err := r.im.RowOf(t.Context(), f, store.Settings{}, line)
			if err != nil || row.OrderID != order || row.Encoding != "GB18030" || row.Rejected || !row.Identified {
				t.Errorf("line %d: %+v %v", line, row, err)
			}
		}
		if _, err := r.im.RowOf(t.Context(), f, store.Settings{}, 4); err == nil || !strings.Contains(err.Error(), "redaction") {
			t.Errorf("a line that may have been blanked: %v", err)
		}
	})
}

// TestRedactOverChunks: in a file of several chunks every row stays where it is, whatever chunk's end a buyer lies over.
func TestRedactOverChunks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		var b strings.Builder
		b.WriteString(importHeader)
		for i := range 1000 {
			b.WriteString(bought(fmt.Sprintf("O-%d", i), fmt.Sprintf("Buyer%04d", i), "\""+strings.Repeat("x\n", 400)+"\""))
		}
		was := []byte(b.String())
		f := r.judgeBytes("T-1", was)
		if f.State != fileSuccess {
			t.Fatalf("%+v", f)
		}
		var lines []int
		for i := range RedactMost {
			lines = append(lines, 2+401*(200+i))
		}
		if err := r.redact(f, lines...); err != nil {
			t.Fatal(err)
		}
		got := r.kept(f)
		if !slices.Equal(checkedRows(t, was), checkedRows(t, got)) {
			t.Error("rows have moved")
		}
		for i := range 1000 {
			if gone := !bytes.Contains(got, fmt.Appendf(nil, "Buyer%04d", i)); gone != (i >= 200 && i < 200+RedactMost) {
				t.Errorf("buyer %d gone: %v", i, gone)
			}
		}
		if n := bytes.Count(got, []byte("x\n")); n != (1000-RedactMost)*400 {
			t.Errorf("%d lines of addresses are left", n)
		}
	})
}

// TestNobodyFindsTheBuyer: after a redaction and the encryption of what was in clear, no chunk in the database has the
// buyer's name, read as it is, unpacked, or with the key.
func TestNobodyFindsTheBuyer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{AcceptPartial: true})
		f := r.judgeBytes("T-1", []byte(importHeader+bought("O-1", "Alice Liddell", "road 1")+bought("O-2", "Bob", "road 2")+
			strings.Replace(bought("O-3", "Alice Liddell", "road 1"), "USA", "XX", 1)))
		if f.State != filePartial || r.found("Alice Liddell") != 2 { // the upload and the error file
			t.Fatalf("%+v, found in %d chunks", f, r.found("Alice Liddell"))
		}
		if err := r.redact(f, 2, 4); err != nil {
			t.Fatal(err)
		}
		for _, task := range r.due(content.Queue) {
			if err := content.Sweep(t.Context(), r.im.DB, task); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.found("Alice Liddell"); n != 0 {
			t.Errorf("found in %d chunks", n)
		}
		if r.found("Bob") != 1 {
			t.Error("another buyer is gone")
		}
		var err error
		if r.im.Keys, err = content.ParseKeys(strings.NewReader(strings.Repeat("ab", 32))); err != nil {
			t.Fatal(err)
		}
		if err := content.Rekey(t.Context(), r.im.DB, r.im.Keys, pgdb.Task{}); err != nil {
			t.Fatal(err)
		}
		if n := r.found("Bob") + r.found("O-2"); n != 0 {
			t.Errorf("found in %d chunks without the key", n)
		}
		if got := string(r.kept(r.file("T-1"))); !strings.Contains(got, "Bob") || strings.Contains(got, "Alice") {
			t.Errorf("with the key: %s", got)
		}
		// Files go on as before under the key.
		if err := r.redact(r.file("T-1"), 3); err != nil {
			t.Fatal(err)
		}
		if got := string(r.kept(r.file("T-1"))); strings.Contains(got, "Bob") || !strings.Contains(got, "O-2") {
			t.Errorf("with the key: %s", got)
		}
		if f := r.judge("T-2", sale("O-7", "10.00")+sale("O-8", "0.00")); f.State != filePartial || !strings.Contains(r.result("T-2_error.csv"), "O-8") || r.found("O-8") != 0 {
			t.Errorf("a file under the key: %+v", f)
		}
		r.verify()
	})
}

// found counts the chunks in the database in which a text can be found without a key.
func (r *importRig) found(text string) (n int) {
	r.Helper()
	r.read(func(q *pgdb.Queries) error {
		ids, err := q.ListChunkKeys(r.Context())
		if err != nil {
			return err
		}
		for _, id := range ids {
			chunks, err := q.ListChunksUnderKey(r.Context(), pgdb.ListChunksUnderKeyParams{KeyID: id, Most: 1000})
			if err != nil {
				return err
			}
			for _, c := range chunks {
				chunk, err := q.GetContentChunk(r.Context(), pgdb.GetContentChunkParams(c))
				if err != nil {
					return err
				}
				plain := chunk.Data
				if zip, err := gzip.NewReader(bytes.NewReader(chunk.Data)); err == nil {
					if plain, err = io.ReadAll(zip); err != nil {
						return err
					}
				}
				if bytes.Contains(chunk.Data, []byte(text)) || bytes.Contains(plain, []byte(text)) {
					n++
				}
			}
		}
		return nil
	})
	return n
}
