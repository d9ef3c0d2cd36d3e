package money_test

import (
	"errors"
	"fmt"

	"github.com/openinfinia/infinia/money"
)

func ExampleParse() {
	a, err := money.Parse("100.5", "CNH")
	fmt.Println(a, a.Minor, err)

	_, err = money.Parse("100.505", "CNH")
	fmt.Println(errors.Is(err, money.ErrDigits))
	// Output:
	// 100.50 10050 <nil>
	// true
}

func ExampleParseTrade() {
	a, err := money.ParseTrade("100.00", "JPY")
	fmt.Println(a, a.Minor, err)
	// Output: 100 100 <nil>
}

func ExampleAllocate() {
	parts, err := money.Allocate(100, []int64{1, 1, 1})
	fmt.Println(parts, err)
	// Output: [34 33 33] <nil>
}

func ExampleCapBasisPoints() {
	allowed, err := money.CapBasisPoints(999, 8000)
	fmt.Println(allowed, err)

	allowed, err = money.CapBasisPoints(-999, 8000)
	fmt.Println(allowed, err)
	// Output:
	// 799 <nil>
	// -800 <nil>
}
