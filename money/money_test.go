package money

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/text/currency"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		parse func(string, Currency) (Amount, error)
		text  string
		code  Currency
		want  string
		err   error
	}{
		{"whole", Parse, "100", "USD", "100.00", nil},
		{"one decimal", Parse, "100.5", "USD", "100.50", nil},
		{"offshore yuan", Parse, "0.01", "CNH", "0.01", nil},
		{"below zero", Parse, "-5", "EUR", "-5.00", nil},
		{"minus zero is zero", Parse, "-0.00", "EUR", "0.00", nil},
		{"no decimals in JPY", Parse, "100", "JPY", "100", nil},
		{"three decimals in KWD", Parse, "1.234", "KWD", "1.234", nil},
		{"largest", Parse, "999999999999.99", "USD", "999999999999.99", nil},
		{"JPY with decimals", Parse, "100.00", "JPY", "", ErrDigits},
		{"too many decimals", Parse, "1.234", "USD", "", ErrDigits},
		{"too many digits", Parse, "1000000000000", "USD", "", ErrRange},
		{"unknown currency", Parse, "1", "ABC", "", ErrCurrency},
		{"lower case currency", Parse, "1", "usd", "", ErrCurrency},
		{"empty", Parse, "", "USD", "", ErrSyntax},
		{"only a sign", Parse, "-", "USD", "", ErrSyntax},
		{"plus", Parse, "+1", "USD", "", ErrSyntax},
		{"space", Parse, " 1", "USD", "", ErrSyntax},
		{"exponent", Parse, "1e3", "USD", "", ErrSyntax},
		{"thousands", Parse, "1,000", "USD", "", ErrSyntax},
		{"leading zeros", Parse, "007", "USD", "", ErrSyntax},
		{"no whole part", Parse, ".5", "USD", "", ErrSyntax},
		{"no decimals after the point", Parse, "5.", "USD", "", ErrSyntax},
		{"two points", Parse, "1.2.3", "USD", "", ErrSyntax},
		{"wide digits", Parse, "\uff11", "USD", "", ErrSyntax},

		{"trade: zero decimals of JPY", ParseTrade, "100.00", "JPY", "100", nil},
		{"trade: decimals that JPY has not", ParseTrade, "100.50", "JPY", "", ErrDigits},
		{"trade: two decimals of KWD", ParseTrade, "1.25", "KWD", "1.250", nil},
		{"trade: third decimal", ParseTrade, "1.250", "KWD", "", ErrDigits},
		{"trade: unknown currency", ParseTrade, "1", "ABC", "", ErrCurrency},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.parse(tc.text, tc.code)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && (got.String() != tc.want || got.Currency != tc.code) {
				t.Errorf("got %s %s, want %s %s", got, got.Currency, tc.want, tc.code)
			}
		})
	}
}

func TestStringOfExtremes(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Amount{
		"-92233720368547758.08": {math.MinInt64, "USD"},
		"92233720368547758.07":  {math.MaxInt64, "USD"},
		"-0.005":                {-5, "KWD"},
		"0.00":                  {0, "CNH"},
		"7":                     {7, "ABC"},
	} {
		if got := a.String(); got != want {
			t.Errorf("%d %s: got %s, want %s", a.Minor, a.Currency, got, want)
		}
	}
}

func TestAmountsOfTwoCurrenciesDoNotMix(t *testing.T) {
	t.Parallel()
	if _, err := (Amount{1, "CNY"}).Add(Amount{1, "CNH"}); !errors.Is(err, ErrCurrency) {
		t.Errorf("Add: %v", err)
	}
	if _, err := (Amount{math.MinInt64, "CNY"}).Sub(Amount{1, "CNY"}); !errors.Is(err, ErrOverflow) {
		t.Errorf("Sub: %v", err)
	}
	if got, err := (Amount{1, "CNY"}).Sub(Amount{3, "CNY"}); err != nil || got != (Amount{-2, "CNY"}) {
		t.Errorf("Sub: %v, %v", got, err)
	}
}

// edges are the numbers where 64-bit arithmetic goes wrong, plus some of every size.
func edges() []int64 {
	all := []int64{0, 1, -1, 2, -2, 9999, 10000, 10001, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1,
		math.MaxInt64 / 2, math.MinInt64 / 2, math.MaxInt32, math.MinInt32}
	random := rand.New(rand.NewPCG(1, 2))
	for bit := range 63 {
		n := random.Int64() >> bit
		all = append(all, n, -n)
	}
	return all
}

func TestCheckedArithmeticAgainstBig(t *testing.T) {
	t.Parallel()
	for _, a := range edges() {
		for _, b := range edges() {
			for name, op := range map[string]struct {
				got  func(a, b int64) (int64, error)
				want func(z, a, b *big.Int) *big.Int
			}{
				"+": {Add, (*big.Int).Add},
				"-": {Sub, (*big.Int).Sub},
				"*": {Mul, (*big.Int).Mul},
				"cap": {CapBasisPoints, func(z, a, b *big.Int) *big.Int {
					return z.Div(z.Mul(a, b), big.NewInt(10000)) // Euclidean, which is floor for a divisor above zero
				}},
			} {
				if name == "cap" && b < 0 {
					continue
				}
				want := op.want(new(big.Int), big.NewInt(a), big.NewInt(b))
				got, err := op.got(a, b)
				if want.IsInt64() && (err != nil || got != want.Int64()) {
					t.Fatalf("%d %s %d: got %d, %v, want %s", a, name, b, got, err, want)
				}
				if !want.IsInt64() && !errors.Is(err, ErrOverflow) {
					t.Fatalf("%d %s %d: got %d, %v, want an overflow", a, name, b, got, err)
				}
			}
		}
	}
	if _, err := CapBasisPoints(1, -1); !errors.Is(err, ErrRange) {
		t.Errorf("negative cap: %v", err)
	}
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, total := range edges() {
		weights := make([]int64, 1+random.IntN(9))
		sum := big.NewInt(0)
		for i := range weights {
			weights[i] = random.Int64() >> (4 + random.IntN(58))
			sum.Add(sum, big.NewInt(weights[i]))
		}
		if sum.Sign() == 0 {
			continue
		}
		parts, err := Allocate(total, weights)
		if err != nil {
			t.Fatal(err)
		}
		added := big.NewInt(0)
		for i, p := range parts {
			added.Add(added, big.NewInt(p))
			exact := new(big.Int).Mul(big.NewInt(total), big.NewInt(weights[i]))
			off := exact.Sub(exact, new(big.Int).Mul(big.NewInt(p), sum))
			if off.CmpAbs(sum) >= 0 {
				t.Errorf("%d over %v: part %d is %d, a whole unit off", total, weights, i, p)
			}
		}
		if added.Cmp(big.NewInt(total)) != 0 {
			t.Errorf("%d over %v: parts %v add up to %s", total, weights, parts, added)
		}
	}
	for name, tc := range map[string]struct {
		weights []int64
		err     error
	}{
		"none":       {nil, ErrRange},
		"all zero":   {[]int64{0, 0}, ErrRange},
		"below zero": {[]int64{2, -1}, ErrRange},
		"too large":  {[]int64{math.MaxInt64, 1}, ErrOverflow},
	} {
		if _, err := Allocate(1, tc.weights); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", name, err, tc.err)
		}
	}
}

func TestCurrenciesAgainstCLDR(t *testing.T) {
	t.Parallel()
	// Known to us and younger than the tables of x/text, out of daily use but in ISO 4217 (SVC), or not in it at all (CNH).
	ours := "CNH MRU SLE SVC VED VES XCG ZWG"
	// In the tables as tender, but withdrawn since.
	withdrawn := "ANG BGN CUC HRK MRO SLL VEF"
	// CLDR rounds away decimals that ISO 4217 gives and nobody uses any more; files and messages go by ISO.
	rounded := "AFN ALL AMD COP GYD IDR IQD IRR KPW LAK LBP MGA MMK MNT MUR PKR RSD SOS SYP TZS UZS YER"

	cldr := make(map[string]bool)
	for q := currency.Query(); q.Next(); {
		code := q.Unit().String()
		cldr[code] = true
		if !Known(code) && !strings.Contains(withdrawn, code) {
			t.Errorf("%s is tender somewhere, but not known", code)
		}
	}
	for code, digits := range decimals {
		if !cldr[string(code)] {
			if !strings.Contains(ours, string(code)) {
				t.Errorf("%s is known, but tender nowhere", code)
			}
			continue
		}
		scale, _ := currency.Standard.Rounding(currency.MustParseISO(string(code)))
		if scale != digits && !strings.Contains(rounded, string(code)) {
			t.Errorf("%s has %d decimals, CLDR says %d", code, digits, scale)
		}
	}
	if !Known("CNH") || Digits("CNH") != 2 {
		t.Error("CNH is missing")
	}
}

func FuzzAmount(f *testing.F) {
	for _, text := range []string{"0", "-0", "1.5", "100.00", "999999999999.99", "-1.234", "007", "1e3", ".5", "5.", ""} {
		f.Add(text, "USD")
		f.Add(text, "JPY")
		f.Add(text, "KWD")
	}
	f.Fuzz(func(t *testing.T, text, code string) {
		trade, tradeErr := ParseTrade(text, Currency(code))
		a, err := Parse(text, Currency(code))
		if err != nil && a != (Amount{}) || tradeErr != nil && trade != (Amount{}) {
			t.Fatal("an amount beside an error")
		}
		if err == nil && tradeErr == nil && a != trade {
			t.Fatalf("%q is %v to the API and %v in a file", text, a, trade)
		}
		for _, a := range []Amount{a, trade} {
			if a.Currency == "" {
				continue
			}
			again, err := Parse(a.String(), a.Currency)
			if err != nil || again != a {
				t.Fatalf("%q printed as %s reads as %v, %v", text, a, again, err)
			}
		}
	})
}
