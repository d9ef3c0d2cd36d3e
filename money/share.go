package money

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Allocate shares total out in proportion to the weights, without losing or inventing a minor unit: the parts always add
// up to total. What does not divide goes, one unit each, to the parts that were cut most, the earlier one first.
//
// The error is ErrRange when a weight is below zero or all are zero, ErrOverflow when their sum does not fit.
func Allocate(total int64, weights []int64) ([]int64, error) {
	var sum int64
	for _, w := range weights {
		if w < 0 {
			return nil, fmt.Errorf("%w: a weight is below zero", ErrRange)
		}
		var err error
		if sum, err = Add(sum, w); err != nil {
			return nil, err
		}
	}
	if sum == 0 {
		return nil, fmt.Errorf("%w: all weights are zero", ErrRange)
	}
	magnitude := uint64(total)
	if total < 0 {
		magnitude = -magnitude
	}
	parts := make([]uint64, len(weights))
	cut := make([]uint64, len(weights))
	order := make([]int, len(weights))
	left := magnitude
	for i, w := range weights {
		high, low := bits.Mul64(magnitude, uint64(w))
		parts[i], cut[i] = bits.Div64(high, low, uint64(sum)) // high < sum, because w <= sum
		left -= parts[i]
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(cut[b], cut[a]) })
	for _, i := range order[:left] {
		parts[i]++
	}
	signed := make([]int64, len(parts))
	for i, p := range parts {
		if total < 0 {
			p = -p
		}
		signed[i] = int64(p)
	}
	return signed, nil
}

// CapBasisPoints is floor(minor * bp / 10000), toward minus infinity, so that a cap never allows more than its share: 5000
// is a half, 10000 the whole. ErrRange when bp is below zero, ErrOverflow when the result does not fit.
func CapBasisPoints(minor, bp int64) (int64, error) {
	if bp < 0 {
		return 0, fmt.Errorf("%w: basis points below zero", ErrRange)
	}
	magnitude := uint64(minor)
	if minor < 0 {
		magnitude = -magnitude
	}
	high, low := bits.Mul64(magnitude, uint64(bp))
	if high >= 10000 {
		return 0, ErrOverflow
	}
	quotient, remainder := bits.Div64(high, low, 10000)
	if minor >= 0 {
		if quotient > math.MaxInt64 {
			return 0, ErrOverflow
		}
		return int64(quotient), nil
	}
	limit := uint64(1) << 63
	if quotient > limit || quotient == limit && remainder > 0 {
		return 0, ErrOverflow
	}
	if remainder > 0 {
		quotient++
	}
	return int64(-quotient), nil
}
