package admin

import (
	"testing"

	"github.com/openinfinia/infinia/internal/trade"
)

func TestWhyAFileFailed(t *testing.T) {
	country := trade.Broken{Rule: "country.form", Count: 1992, Lines: []int{2, 3}, Example: "country: is a code of two letters; write USA"}
	once := country
	once.Count, once.Lines = 1, []int{7}
	odd := trade.Broken{Rule: "row.product", Warning: true, Count: 5000, Lines: []int{2}}
	for _, test := range []struct {
		broken []trade.Broken
		want   string
	}{
		{[]trade.Broken{once}, "1 row (line 7): country: is a code of two letters; write USA"},
		{[]trade.Broken{country, once, odd}, "1992 rows (first: line 2): country: is a code of two letters; write USA; 1 other rule is broken"},
		{[]trade.Broken{country, once, once}, "1992 rows (first: line 2): country: is a code of two letters; write USA; 2 other rules are broken"},
	} {
		if got := (FileOfSeller{Broken: test.broken}).fault(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
