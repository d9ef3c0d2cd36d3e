// Package money holds amounts as whole minor units (cents, fen, fils) of one currency. There is no floating point in it
// and nothing is rounded without being told: what does not fit, or does not divide, is an error.
//
// It is the lowest package of the tree: it knows currencies and integers, never sellers, files or accounts.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The reasons for which a text or a sum is refused; use [errors.Is].
var (
	ErrSyntax   = errors.New("not a plain decimal number such as 100.00")
	ErrDigits   = errors.New("too many decimals")
	ErrRange    = errors.New("out of range")
	ErrCurrency = errors.New("currency unknown or not the same")
	ErrOverflow = errors.New("amount does not fit into 64 bits")
)

// maxWhole is the number of digits allowed before the point. With the four decimals that a currency may have at most,
// the largest amount that can be written stays far below the limit of an int64.
const maxWhole = 12

// Amount is a sum of money in minor units: {10000, "USD"} is 100.00 USD, {100, "JPY"} is 100 JPY. Below zero is a debt or
// a return.
type Amount struct {
	Minor    int64
	Currency Currency
}

// Parse reads a decimal string as the API takes it: an optional '-', 1 to 12 digits without superfluous leading zeros,
// then at most as many decimals as the currency has ("100", "100.0" and "100.00" are the same USD amount). No '+', space,
// exponent or thousands separator.
//
// The error is ErrCurrency, ErrSyntax, ErrRange (too many digits before the point) or ErrDigits (too many after it).
func Parse(text string, c Currency) (Amount, error) {
	if !Known(string(c)) {
		return Amount{}, ErrCurrency
	}
	return parse(text, c, Digits(c))
}

// ParseTrade reads an amount of a trade file: as [Parse], but with 0 to 2 decimals whatever the currency. Decimals that the
// currency does not have must be zero, so "100.00" is 100 JPY and "100.50" JPY is ErrDigits.
func ParseTrade(text string, c Currency) (Amount, error) {
	if !Known(string(c)) {
		return Amount{}, ErrCurrency
	}
	return parse(text, c, 2)
}

func parse(text string, c Currency, maxDecimals int) (Amount, error) {
	rest, negative := text, false
	if rest != "" && rest[0] == '-' {
		rest, negative = rest[1:], true
	}
	whole := leadingDigits(rest)
	decimals := ""
	if whole < len(rest) {
		if rest[whole] != '.' {
			return Amount{}, ErrSyntax
		}
		decimals = rest[whole+1:]
		if decimals == "" || leadingDigits(decimals) != len(decimals) {
			return Amount{}, ErrSyntax
		}
	}
	switch {
	case whole == 0, whole > 1 && rest[0] == '0':
		return Amount{}, ErrSyntax
	case whole > maxWhole:
		return Amount{}, ErrRange
	case len(decimals) > maxDecimals:
		return Amount{}, ErrDigits
	}
	var minor int64
	for i := range whole {
		minor = minor*10 + int64(rest[i]-'0')
	}
	for i := range max(Digits(c), len(decimals)) {
		digit := int64(0)
		if i < len(decimals) {
			digit = int64(decimals[i] - '0')
		}
		if i < Digits(c) {
			minor = minor*10 + digit
		} else if digit != 0 {
			return Amount{}, ErrDigits
		}
	}
	if negative {
		minor = -minor
	}
	return Amount{minor, c}, nil
}

func leadingDigits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// String prints the amount as answers carry it, with all decimals of its currency and without the currency: "100.00",
// "-5.00", "100" for JPY. An amount of an unknown currency is printed as its minor units.
func (a Amount) String() string {
	sign, magnitude := "", uint64(a.Minor)
	if a.Minor < 0 {
		sign, magnitude = "-", -magnitude
	}
	digits := Digits(a.Currency)
	s := strconv.FormatUint(magnitude, 10)
	if digits == 0 {
		return sign + s
	}
	if len(s) <= digits {
		s = fmt.Sprintf("%0*d", digits+1, magnitude)
	}
	return sign + s[:len(s)-digits] + "." + s[len(s)-digits:]
}

// Add is a + b; ErrCurrency when they differ in currency, ErrOverflow when the sum does not fit.
func (a Amount) Add(b Amount) (Amount, error) {
	return a.combine(b, Add)
}

// Sub is a - b; ErrCurrency when they differ in currency, ErrOverflow when the difference does not fit.
func (a Amount) Sub(b Amount) (Amount, error) {
	return a.combine(b, Sub)
}

func (a Amount) combine(b Amount, do func(a, b int64) (int64, error)) (Amount, error) {
	if a.Currency != b.Currency {
		return Amount{}, fmt.Errorf("%w: %q and %q", ErrCurrency, string(a.Currency), string(b.Currency))
	}
	minor, err := do(a.Minor, b.Minor)
	if err != nil {
		return Amount{}, err
	}
	return Amount{minor, a.Currency}, nil
}

// Add is a + b in minor units, or ErrOverflow.
func Add(a, b int64) (int64, error) {
	sum := a + b
	if (sum > a) != (b > 0) {
		return 0, ErrOverflow
	}
	return sum, nil
}

// Sub is a - b in minor units, or ErrOverflow.
func Sub(a, b int64) (int64, error) {
	difference := a - b
	if (difference < a) != (b > 0) {
		return 0, ErrOverflow
	}
	return difference, nil
}

// Mul is a * b, or ErrOverflow.
func Mul(a, b int64) (int64, error) {
	if a == 0 || b == 0 {
		return 0, nil
	}
	product := a * b
	if a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 || product/b != a {
		return 0, ErrOverflow
	}
	return product, nil
}
