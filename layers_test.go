package infinia_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/openinfinia/infinia"

// layers are the packages from the bottom to the top. A package imports only what stands in a lower layer.
var layers = []struct {
	packages []string
	why      string
}{
	{[]string{"internal/needs"}, "only tests import it"},
	{[]string{"internal/jsonwalk"}, "the SDK stands on it: standard library only"},
	{[]string{"money", "envelope"}, "whoever imports them pays nothing: standard library only"},
	{[]string{""}, "the SDK, which is the vocabulary of everything above: standard library only"},
	{[]string{"internal/sample"}, "it writes what others read, and shares no rule with them"},
	{[]string{"internal/storetest"}, "only tests import it; it knows engines, and the store's own tests stand on it"},
	{[]string{"internal/store/pgdb"}, "generated; only package store decides how a query runs"},
	{[]string{"internal/store"}, "rows, not rules"},
	{[]string{"internal/ledger", "internal/outbox"}, "they work on a view and do not know what is booked or delivered for"},
	{[]string{"internal/content"}, "it keeps bytes; whose they are and what is in them is not its business"},
	{[]string{"internal/trade"}, "trades fill the entitlement book; what is shared from it is none of its business"},
	{[]string{"internal/op"}, "an operation never sees ciphertext, HTTP or a key"},
	{[]string{"internal/gate", "internal/intake"}, "the two entrances do not know each other"},
	{[]string{"internal/admin"}, "operators act beside the entrances, not through them"},
	{[]string{"internal/sim"}, "only tests: it judges everything below from outside, and nothing imports it"},
	{[]string{"internal/console"}, "a page does nothing that a script cannot do"},
	{[]string{"internal/server"}, "the only place where everything is wired"},
	{[]string{"infiniatest"}, "a whole system for users' tests"},
	{[]string{"cmd/infinia"}, "main parses, wires and waits"},
}

func TestLayers(t *testing.T) {
	layerOf := map[string]int{}
	for i, l := range layers {
		for _, p := range l.packages {
			layerOf[p] = i
		}
	}
	eachImport(t, func(file, pkg, imported string) {
		is, known := layerOf[pkg]
		if !known {
			t.Errorf("%s: package %q stands in no layer; add it where it belongs, with the reason", file, pkg)
			return
		}
		if other, ok := strings.CutPrefix(imported, module); ok {
			if below := layerOf[strings.TrimPrefix(other, "/")]; below >= is {
				t.Errorf("%s imports %s, which is not below it: %s", file, imported, layers[is].why)
			}
			return
		}
		standard := !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
		if !standard && slices.Contains([]string{"", "money", "envelope", "internal/jsonwalk"}, pkg) {
			t.Errorf("%s imports %s: %s", file, imported, layers[is].why)
		}
	})
}

// TestInputStaysInItsPlace keeps a few imports where they belong.
func TestInputStaysInItsPlace(t *testing.T) {
	for imported, rule := range map[string]struct {
		in  []string
		why string
	}{
		"database/sql":            {[]string{"internal/store", "internal/storetest"}, "SQL is run by its owner"},
		"golang.org/x/crypto/ssh": {[]string{"internal/intake", "internal/admin", "internal/server"}, "SFTP is an entrance; admin reads login keys, server hands them over"},
		"net/http": {[]string{"", "internal/gate", "internal/outbox", "internal/admin", "internal/console", "internal/server", "cmd/infinia"},
			"operations, the books and the files do not know how a call came"},
		"math/rand":    {nil, "use crypto/rand, or math/rand/v2 where guessing does no harm"},
		"math/rand/v2": {[]string{"", "internal/sample"}, "the SDK's back-off and sample files may be guessed; nothing else may"},
	} {
		eachImport(t, func(file, pkg, is string) {
			if is == imported && !slices.Contains(rule.in, pkg) {
				t.Errorf("%s imports %s: %s", file, imported, rule.why)
			}
		})
	}
}

func eachImport(t *testing.T, fn func(file, pkg, imported string)) {
	t.Helper()
	eachFile(t, func(file, pkg string, parsed *ast.File) {
		for _, i := range parsed.Imports {
			fn(file, pkg, strings.Trim(i.Path.Value, `"`))
		}
	})
}

// eachFile calls fn for every file of the module's own code, tests and tools aside.
func eachFile(t *testing.T, fn func(file, pkg string, parsed *ast.File)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "tools" || strings.HasPrefix(d.Name(), ".") && file != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		if pkg == "." {
			pkg = ""
		}
		fn(file, pkg, parsed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no files")
	}
}

// TestPackagesSayWhatTheyAreFor: every package has a comment of its own.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	documented := map[string]bool{"internal/store/pgdb": true} // generated
	eachFile(t, func(_, pkg string, parsed *ast.File) {
		documented[pkg] = documented[pkg] || parsed.Doc != nil
	})
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %q has no comment that says what it is for", pkg)
		}
	}
}
