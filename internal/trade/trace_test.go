package trade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestRowOf: a row is found by its line in a file of several chunks, with what the error file says of it, or else what it
// says by itself.
func TestRowOf(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newImportRig(t, engine.New(t), store.Settings{})
		var rows strings.Builder
		for i := range 8000 {
			rows.WriteString(sale(fmt.Sprintf("O-%d", i), "10.00"))
		}
		rows.WriteString(strings.Replace(sale("O-1", "10.00"), "USA", "US", 1))
		rows.WriteString("\n\n" + sale("O-2", "\"10") + sale("O-3", "11.00"))
		task := r.upload("T-1", rows.String())
		read := func(line int) FiledRow {
			t.Helper()
			row, err := r.im.RowOf(t.Context(), r.file("T-1"), store.Settings{}, line)
			if err != nil {
				t.Fatal(err)
			}
			return row
		}
		// While it is judged, a row is known by itself alone.
		if row := read(8002); !row.Rejected || len(row.Problems) != 1 || row.OrderID != "O-1" || !row.Identified {
			t.Errorf("in process: %+v", row)
		}
		if err := r.im.Import(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			line     int
			order    string
			problems string
		}{
			{2, "O-0", ""},
			{3, "O-1", "row: line 8002 has the same"}, // the two rows differ
			{8001, "O-7999", ""},
			{8002, "O-1", "country: |row: line 3 has the same"},
			{8005, "", "row: a quote"},
			{8006, "O-3", "row: line 5 has the same"},
		} {
			row := read(c.line)
			var starts []string
			for i, want := range strings.Split(c.problems, "|") {
				if i < len(row.Problems) && strings.HasPrefix(row.Problems[i], want) {
					starts = append(starts, want)
				}
			}
			if row.OrderID != c.order || row.Row.Line != c.line || strings.Join(starts, "|") != c.problems || row.Rejected != (c.problems != "") {
				t.Errorf("line %d: %+v", c.line, row)
			}
		}

		f := r.file("T-1")
		f.ErrorsID = 1 << 40
		if row, err := r.im.RowOf(t.Context(), f, store.Settings{}, 8002); err != nil || !row.Rejected || len(row.Problems) != 1 {
			t.Errorf("without its error file: %+v %v", row, err)
		}
		f.ContentID = 1 << 40
		if _, err := r.im.RowOf(t.Context(), f, store.Settings{}, 2); !errors.As(err, new(NoRowError)) {
			t.Errorf("without its upload: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.im.RowOf(gone, r.file("T-1"), store.Settings{}, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waits for it any more: %v", err)
		}
	})
}
