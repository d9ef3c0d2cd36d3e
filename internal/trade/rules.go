package trade

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/openinfinia/infinia/money"
)

// Column is one of the 19 columns of a trade file, with what is asked of its cells.
type Column struct {
	Name string
	Max  int    // characters; 0 where the form decides
	Need string // M always, O optional; "Shipped" or "Not Shipped": M in rows with that shippingStatus
	Rule string // one line for the documentation

	// check tells what is wrong with a cell that is not empty, and how to mend it; wrong is empty when all is well.
	check func(r *reading, cell string) (wrong, fix string)
}

// Columns lists the columns in their documented order.
func Columns() []Column { return slices.Clone(columns[:]) }

// Where the columns stand that others depend on.
const (
	colSellerID = iota
	colOrderID
	colSKU
	colTime
	colCurrency
	colAmount
	_
	_
	colQuantity
	colUnitPrice
	colShipping
	colEstimate
	colTrackingNo
	colCompany
	colShippingTime
	columnCount = 19
)

const (
	isShipped  = "Shipped"
	notShipped = "Not Shipped"
)

const timeRule = "yyyy-MM-dd HH:mm:ss in the app's zone, RFC 3339, or epoch milliseconds"

var columns = [columnCount]Column{
	{"sellerId", 64, "M", "the seller as in Account Binding", checkKey},
	{"orderId", 64, "M", "PI or CI number", checkKey},
	{"sku", 32, "M", "the item within the order", checkKey},
	{"transactionTime", 0, "M", timeRule, checkTransactionTime},
	{"transactionCurrency", 3, "M", "an ISO 4217 code, or CNH", checkCurrency},
	{"transactionAmount", 64, "M", "above zero a sale, below zero a return; at most 12 digits and 2 decimals", checkAmount},
	{"productType", 3, "M", "a code of at most 3 characters", nil},
	{"productName", 128, "M", "what was sold, as free text", nil},
	{"productQuantity", 16, "M", "a whole number above zero", checkQuantity},
	{"productUnitPrice", 16, "M", "not below zero, at most 2 decimals", checkUnitPrice},
	{"shippingStatus", 16, "M", "Not Shipped or Shipped", checkShippingStatus},
	{"estimatedShippingTime", 0, notShipped, timeRule, checkTime},
	{"logisticsTrackingNo", 64, isShipped, "the number that the carrier gave", nil},
	{"logisticsCompany", 512, isShipped, "the carrier, as free text", nil},
	{"shippingTime", 0, isShipped, timeRule, checkTime},
	{"country", 3, "M", "an ISO 3166-1 alpha-3 code", checkCountry},
	{"storeUrl", 2048, "M", "an http or https address", checkURL},
	{"buyerName", 512, "O", "free text", nil},
	{"buyerAddress", 2048, "O", "free text", nil},
}

func checkKey(_ *reading, cell string) (wrong, fix string) {
	if strings.TrimSpace(cell) != cell || strings.ContainsFunc(cell, unicode.IsControl) {
		return "has white space around it or control characters in it", "remove them"
	}
	return "", ""
}

func checkTransactionTime(r *reading, cell string) (wrong, fix string) {
	at, ok := instant(cell, r.zone)
	if !ok {
		return checkTime(r, cell)
	}
	r.row.At = at
	return "", ""
}

func checkTime(r *reading, cell string) (wrong, fix string) {
	if _, ok := instant(cell, r.zone); !ok {
		return "is not a time", "write it as 2025-09-03 14:05:00, 2025-09-03T14:05:00+08:00 or 1756879500000, " +
			"and keep spreadsheets from reformatting it by making the column a text column"
	}
	return "", ""
}

// instant reads a time in any of the three forms, as epoch milliseconds. time.Parse alone would also take 9:05:00, and
// decimals of a second in the first form or after a comma.
func instant(cell string, zone *time.Location) (int64, bool) {
	switch len(cell) {
	case len("1756879500000"):
		if ms, err := strconv.ParseUint(cell, 10, 63); err == nil {
			return int64(ms), true
		}
	case len(time.DateTime):
		if t, err := time.ParseInLocation(time.DateTime, cell, zone); err == nil && cell[10] == ' ' && cell[13] == ':' {
			return t.UnixMilli(), true
		}
	}
	t, err := time.Parse(time.RFC3339, cell)
	if err != nil || cell[13] != ':' || strings.ContainsRune(cell, ',') || t.Nanosecond()%1_000_000 != 0 { // rows are told apart by the millisecond
		return 0, false
	}
	return t.UnixMilli(), true
}

func checkCurrency(r *reading, cell string) (wrong, fix string) {
	if !money.Known(cell) {
		return "is not a currency known here", "write the three capital letters of ISO 4217, such as USD, or CNH"
	}
	r.row.Currency = money.Currency(cell)
	return "", ""
}

func checkAmount(r *reading, cell string) (wrong, fix string) {
	amount, wrong, fix := r.amount(cell)
	if wrong == "" && amount == 0 {
		return "is zero", "write a sale above zero and a return below zero, or remove the row"
	}
	r.row.Amount = amount
	return wrong, fix
}

func checkUnitPrice(r *reading, cell string) (wrong, fix string) {
	price, wrong, fix := r.amount(cell)
	if price < 0 {
		return "is below zero", "write the price without the sign; transactionAmount alone tells a return"
	}
	r.price = price
	return wrong, fix
}

// amount reads an amount in minor units of the row's currency. Where that is not known, another with two decimals stands
// in, so that the other faults of the cell are found all the same.
func (r *reading) amount(cell string) (minor int64, wrong, fix string) {
	currency := r.row.Currency
	if currency == "" {
		currency = "USD"
	}
	a, err := money.ParseTrade(cell, currency)
	switch {
	case err == nil:
		return a.Minor, "", ""
	case errors.Is(err, money.ErrDigits):
		return 0, "has too many decimals", "write at most 2; those that the currency does not have must be zero, as in 100.00 JPY"
	case errors.Is(err, money.ErrRange):
		return 0, "has more than 12 digits before the point", "correct it, or divide the sum among several rows"
	default:
		return 0, "is not a plain number", "write it as 1234.50, without currency sign, spaces, thousands separators or leading zeros"
	}
}

func checkQuantity(r *reading, cell string) (wrong, fix string) {
	n, err := strconv.ParseInt(cell, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n <= 0 || cell[0] < '1' || cell[0] > '9' {
		return "is not a whole number above zero", "write it as 3, without sign, decimals or leading zeros"
	}
	r.quantity = n
	return "", ""
}

func checkShippingStatus(r *reading, cell string) (wrong, fix string) {
	if cell != isShipped && cell != notShipped {
		return "is neither of the two states", "write exactly Shipped or Not Shipped"
	}
	r.row.Shipped = cell == isShipped
	return "", ""
}

func checkCountry(_ *reading, cell string) (wrong, fix string) {
	if !countries[cell] {
		return "is not a country", "write the three capital letters of ISO 3166-1 alpha-3, such as CHN"
	}
	return "", ""
}

func checkURL(_ *reading, cell string) (wrong, fix string) {
	u, err := url.Parse(cell)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(cell, unicode.IsSpace) {
		return "is not an http or https address", "write it in full, such as https://store.example.com/acme"
	}
	return "", ""
}

// cellProblem judges one cell by its column: whether it must be there, its length, its form.
func (c *Column) cellProblem(r *reading, cell string) (wrong, fix string) {
	if strings.TrimSpace(cell) == "" {
		switch c.Need {
		case "M":
			return "is empty", "fill it in: " + c.Rule
		case r.cells[colShipping]:
			return "is empty, but shippingStatus is " + c.Need, "fill it in: " + c.Rule
		}
		return "", ""
	}
	if c.check != nil {
		wrong, fix = c.check(r, cell)
	}
	if n := len(cell); c.Max > 0 && n > c.Max {
		if n = utf8.RuneCountInString(cell); n > c.Max {
			long, shorten := fmt.Sprintf("has %d characters", n), fmt.Sprintf("at most %d are allowed", c.Max)
			if wrong == "" {
				return long, shorten
			}
			return wrong + " and " + long, fix + ", and " + shorten
		}
	}
	return wrong, fix
}

// Rule is what is asked of more than one cell: of a row, of rows together, of the file.
type Rule struct {
	Column  string // where it is reported; empty for a whole row or file
	Wrong   string // {line}, {name} and {count} stand for particulars
	Fix     string
	File    bool // one breach refuses the whole file
	Warning bool
}

// Rules lists them: what the whole file is refused for, what a row is, what rows are together.
func Rules() []Rule { return slices.Clone(rules[1:]) }

type ruleID uint8

const (
	ruleNone ruleID = iota
	fileEmpty
	fileSeparator
	fileLineEnds
	fileHeaderQuotes
	fileMissing
	fileUnknown
	fileTwice
	fileTooLong
	fileCut
	fileUndecodable
	fileNUL
	rowQuotes
	rowCells
	rowUnbound
	rowProduct
	rowRepeat
	rowConflict
	rowFiled
	rowUnshipped
	rowCurrency
	rowCurrencyFiled
	rowReturns
	rowSum
)

const sameItem = "this sellerId, orderId and sku"

var rules = [...]Rule{
	fileEmpty:        {"", "has no rows", "write a header line with the column names and a line for each sale or return under it", true, false},
	fileSeparator:    {"", "has a header without commas", "separate the values by commas, not by semicolons or tabs", true, false},
	fileLineEnds:     {"", "ends its lines by carriage returns alone", "save it with Unix (LF) or Windows (CR LF) line ends", true, false},
	fileHeaderQuotes: {"", "has a quote in its header that is not closed or stands inside a name", "write the column names without quotes", true, false},
	fileMissing:      {"", "is missing from the header", "add the column", true, false},
	fileUnknown:      {"", "is not a column of trade files", "correct the name in the header, or remove the column", true, false},
	fileTwice:        {"", "stands twice in the header", "remove one of the two columns", true, false},
	fileTooLong:      {"", "has a line longer than any row can be (line {line})", "send comma separated text with one line for each row", true, false},
	fileCut:          {"", "is cut: its last row (line {line}) has not all the columns", "send the whole file again", true, false},
	fileUndecodable:  {"", "has bytes that are not {name} text (line {line})", "save it as UTF-8 and send it again", true, false},
	fileNUL:          {"", "has a zero byte in it (line {line})", "save it as UTF-8 and send it again", true, false},

	rowQuotes:        {"", "a quote is not closed or stands inside a value", "put the whole value in quotes and double every quote inside it", false, false},
	rowCells:         {"", "the number of its values is {count}, not that of the columns in the header", "put values that contain commas in quotes, and keep the commas around empty values", false, false},
	rowUnbound:       {"sellerId", "was never bound in this currency", "complete an Account Binding of this seller in it, then send the file under a new requestNo", false, false},
	rowProduct:       {"transactionAmount", "is not productQuantity x productUnitPrice", "correct it if that is a mistake; the row counts as it is", false, true},
	rowRepeat:        {"", "repeats line {line}", "nothing needs mending: it counts once", false, true},
	rowConflict:      {"", "line {line} has the same sellerId, orderId, sku, transactionTime and sign, but other content", "remove the wrong one of the two, or correct its transactionTime", false, false},
	rowFiled:         {"", "was filed before with another currency or amount ({name}, line {line})", "correct this row; a change is filed as a return and a new sale, each with its own transactionTime", false, false},
	rowUnshipped:     {"shippingStatus", "was Shipped when filed before ({name}, line {line})", "write Shipped; goods that came back are filed as a return", false, false},
	rowCurrency:      {"transactionCurrency", "differs from line {line} of " + sameItem, "use one currency for all of its rows", false, false},
	rowCurrencyFiled: {"transactionCurrency", "differs from {name}, in which earlier files have " + sameItem, "use {name}", false, false},
	rowReturns:       {"transactionAmount", "the returns of " + sameItem + " exceed its sales, earlier files included", "correct the returns, or add the sales that are missing", false, false},
	rowSum:           {"transactionAmount", "the rows of " + sameItem + " add up to more than can be booked", "correct the amounts", false, false},
}

// finding is a breach of a rule, kept small: a million rows can each have one.
type finding struct {
	line, other int32
	rule        ruleID
	name        string
}

func (f finding) problem() Problem {
	rule := rules[f.rule]
	fill := strings.NewReplacer("{line}", strconv.Itoa(int(f.other)), "{count}", strconv.Itoa(int(f.other)), "{name}", f.name)
	return Problem{Line: int(f.line), Column: rule.Column, Rule: fill.Replace(rule.Wrong), Fix: fill.Replace(rule.Fix), Warning: rule.Warning}
}
