package trade

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/openinfinia/infinia/internal/sample"
)

func mustFix(t testing.TB, file []byte) ([]byte, *Fixed) {
	t.Helper()
	var out bytes.Buffer
	fixed, err := Fix(&out, bytes.NewReader(file), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), fixed
}

func checkBytes(t testing.TB, file []byte) *Result {
	t.Helper()
	res, err := Check(bytes.NewReader(file), Settings{}, Known{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Close() })
	return res
}

// holdFix holds what Fix makes of any file against what it promises: all that could be mended is, nothing else is touched,
// and what was mended counts.
func holdFix(t testing.TB, file []byte) {
	before := checkBytes(t, file)
	out, fixed := mustFix(t, file)
	if fixed.Total == 0 && !bytes.Equal(out, file) {
		t.Fatalf("nothing is mended, but the copy differs:\n%s\n%s", file, out)
	}
	counted := 0
	for _, b := range fixed.Broken {
		counted += b.Count
	}
	if counted != fixed.Total || before.Mendable > fixed.Total || before.More == 0 && len(before.FileProblems) == 0 && before.Mendable != fixed.Total {
		t.Fatalf("%d mended, %d counted, %d expected", fixed.Total, counted, before.Mendable)
	}
	after := checkBytes(t, out)
	if after.checker.enc != before.checker.enc {
		return // what decided on the encoding may have been a mended cell
	}
	if after.Mendable > 0 {
		t.Fatalf("not all is mended\n%s\n%s", out, describe(after))
	}
	if again, fixed := mustFix(t, out); fixed.Total > 0 || !bytes.Equal(again, out) {
		t.Fatalf("fixing twice changes\n%s\nto\n%s", out, again)
	}
	if before.Accepted == before.Total && len(before.FileProblems) == 0 && !bytes.Equal(out, file) {
		t.Fatalf("a sound file is changed:\n%s\n%s", file, out)
	}
	if whole := len(before.FileProblems) == 0; whole && after.Accepted < before.Accepted && len(after.FileProblems) > 0 {
		t.Fatalf("a mend has done harm:\n%s%s", describe(before), describe(after))
	}
}

func TestStoriesAreFixed(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			holdFix(t, parseStory(string(text)).sent(t))
		})
	}
}

func FuzzFix(f *testing.F) {
	paths, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no stories: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(parseStory(string(text)).sent(f))
	}
	f.Fuzz(func(t *testing.T, file []byte) { holdFix(t, file) })
}

// Fix keeps its promises in large files, where batches and reads end anywhere.
func TestFixSamples(t *testing.T) {
	t.Parallel()
	for i, encoding := range []sample.Encoding{sample.UTF8, sample.UTF8Mark, sample.UTF16, sample.GB18030} {
		t.Run(string(encoding), func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if _, err := sample.Write(&b, sample.Options{Rows: 3000, Bad: sample.Million / 5, Seed: uint64(i), Encoding: encoding, CRLF: i%2 == 0, Sellers: sample.Sellers(5)}); err != nil {
				t.Fatal(err)
			}
			holdFix(t, b.Bytes())
			if _, fixed := mustFix(t, b.Bytes()); fixed.Total < 10 {
				t.Errorf("only %d mended", fixed.Total)
			}
		})
	}
}

func TestFixedProblemsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&b, "sku=SKU-%d; country=US\n", i)
	}
	out, fixed := mustFix(t, []byte(csvOf(headerLine(), b.String())))
	if fixed.Total != 1500 || len(fixed.Problems) != maxProblems || len(fixed.Broken) != 1 || fixed.Broken[0].Count != 1500 {
		t.Errorf("%d mended, %d kept, %v", fixed.Total, len(fixed.Problems), fixed.Broken)
	}
	if res := checkBytes(t, out); res.Accepted != 1500 {
		t.Error(describe(res))
	}
}

func TestEveryCharacterCanBeWritten(t *testing.T) {
	t.Parallel()
	for _, enc := range []encoding{{"GB18030", "", 1, false}, {"UTF-16", "", 2, false}, {"UTF-16", "", 2, true}, {"UTF-8", "", 1, false}} {
		var all strings.Builder
		for r := rune(1); r <= '\U0010ffff'; r++ {
			if utf8.ValidRune(r) && !unicode.Is(unicode.Co, r) {
				all.WriteRune(r)
			}
		}
		if !enc.canWrite(strings.ReplaceAll(all.String(), "\ufffd", "")) {
			t.Errorf("%s does not keep all characters", enc.name)
		}
	}
}
