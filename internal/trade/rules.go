package trade

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

	form *form // nil for free text
}

// form is what the cells of a column look like.
type form struct {
	like  string                              // an example
	read  func(cell string) string            // what a cell means where that is certain, in the strict form; nil: what is written
	check func(r *reading, cell string) fault // of a cell as read
}

// fault is what is wrong with a cell, and how to mend it; sound cells have none. Where the mend is certain it is there as
// data too: what to write into the cell, by which nothing is lost and nothing decided.
type fault struct{ wrong, fix, mend string }

var (
	formID       = &form{"", nil, checkKey}
	formMoment   = &form{"2025-09-03 14:05:00", readMoment, checkTransactionTime}
	formTime     = &form{"2025-09-03 14:05:00", readTime, checkTime}
	formCurrency = &form{"USD", readPlain, checkCurrency}
	formAmount   = &form{"1234.50", readAmount, checkAmount}
	formCode     = &form{"A01", readPlain, checkUnaltered}
	formQuantity = &form{"3", readQuantity, checkQuantity}
	formPrice    = &form{"1234.50", readAmount, checkUnitPrice}
	formShipping = &form{"", readPlain, checkShippingStatus}
	formTracking = &form{"", nil, checkUnaltered}
	formCountry  = &form{"CHN", readPlain, checkCountry}
	formURL      = &form{"https://store.example.com/acme", strings.TrimSpace, checkURL}
)

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
	{"sellerId", 64, "M", "the seller as in Account Binding", formID},
	{"orderId", 64, "M", "PI or CI number", formID},
	{"sku", 32, "M", "the item within the order", formID},
	{"transactionTime", 0, "M", timeRule, formMoment},
	{"transactionCurrency", 3, "M", "an ISO 4217 code, or CNH", formCurrency},
	{"transactionAmount", 64, "M", "above zero a sale, below zero a return; at most 12 digits and 2 decimals", formAmount},
	{"productType", 3, "M", "a code of at most 3 characters", formCode},
	{"productName", 128, "M", "what was sold, as free text", nil},
	{"productQuantity", 16, "M", "a whole number above zero", formQuantity},
	{"productUnitPrice", 16, "M", "not below zero, at most 2 decimals", formPrice},
	{"shippingStatus", 16, "M", "Not Shipped or Shipped", formShipping},
	{"estimatedShippingTime", 0, notShipped, timeRule, formTime},
	{"logisticsTrackingNo", 64, isShipped, "the number that the carrier gave", formTracking},
	{"logisticsCompany", 512, isShipped, "the carrier, as free text", nil},
	{"shippingTime", 0, isShipped, timeRule, formTime},
	{"country", 3, "M", "an ISO 3166-1 alpha-3 code", formCountry},
	{"storeUrl", 2048, "M", "an http or https address", formURL},
	{"buyerName", 512, "O", "free text", nil},
	{"buyerAddress", 2048, "O", "free text", nil},
}

// checkKey wants an id that looks as it is: nothing around it, nothing that cannot be seen, nothing that a spreadsheet made.
func checkKey(_ *reading, cell string) fault {
	switch bare := strings.TrimSpace(cell); {
	case strings.ContainsFunc(cell, isUnseen):
		return fault{"has a line end, a tab or another character in it that cannot be seen", "delete the cell and type it again", ""}
	case strings.Contains(cell, "\ufffd"):
		return fault{"has a character that an earlier conversion has lost", "write it as it was before, and save the file as CSV UTF-8", ""}
	case bare != cell:
		return fault{"has a blank before or after it", "remove the blank", bare}
	}
	return altered(cell)
}

// isUnseen tells control and format characters: also zero-width blanks and marks of the writing direction.
func isUnseen(r rune) bool { return r < ' ' || r > '~' && unicode.In(r, unicode.Cc, unicode.Cf) }

func checkUnaltered(_ *reading, cell string) fault { return altered(cell) }

func checkCurrency(r *reading, cell string) fault {
	if money.Known(cell) {
		r.row.Currency = money.Currency(cell)
		return fault{}
	}
	switch upper := strings.ToUpper(strings.TrimSpace(cell)); {
	case money.Known(upper):
		return fault{"is not in capital letters", "write " + upper, upper}
	case slices.Contains([]string{"RMB", "YUAN", "\u4eba\u6c11\u5e01", "\u5143", "\u00a5", "\uffe5"}, upper):
		return fault{"does not show which yuan it is", "write CNH for yuan traded offshore, or CNY", ""}
	}
	return fault{"is not a currency known here", "write the three capital letters of ISO 4217, such as USD, or CNH", ""}
}

func checkAmount(r *reading, cell string) fault {
	amount, f := r.amount(cell, "write it as 1234.50, with - in front of a return", func(minor int64) bool { return minor != 0 })
	if f.wrong == "" && amount == 0 {
		return fault{"is zero", "write a sale above zero and a return below zero, or remove the row", ""}
	}
	r.row.Amount = amount
	return f
}

func checkUnitPrice(r *reading, cell string) fault {
	price, f := r.amount(cell, "write it as 1234.50", func(minor int64) bool { return minor >= 0 })
	if price < 0 {
		return fault{"is below zero", "write the price without the sign; transactionAmount alone tells a return", ""}
	}
	r.price = price
	return f
}

// amount reads an amount in minor units of the row's currency. Where that is not known, another with two decimals stands
// in, so that the other faults of the cell are found all the same. What can be suggested is what fits.
func (r *reading) amount(cell, form string, fits func(minor int64) bool) (minor int64, f fault) {
	currency := r.row.Currency
	if currency == "" {
		currency = "USD"
	}
	a, err := money.ParseTrade(cell, currency)
	_, decimals, _ := strings.Cut(cell, ".")
	switch {
	case err == nil:
		return a.Minor, fault{}
	case errors.Is(err, money.ErrRange):
		return 0, fault{"has more than 12 digits before the point", "correct it, or divide the sum among several rows", ""}
	case errors.Is(err, money.ErrDigits) && len(decimals) <= 2:
		return 0, fault{"has decimals, and " + string(currency) + " has none", "write a whole amount, such as 100", ""}
	case errors.Is(err, money.ErrDigits) && !isGroup(cell):
		return 0, fault{fmt.Sprintf("has %d decimals", len(decimals)), "write at most 2, as 1234.50", ""}
	}
	return 0, explainNumber(cell, form, string(r.row.Currency), func(number string) bool {
		a, err := money.ParseTrade(number, currency)
		return err == nil && fits(a.Minor)
	})
}

func checkQuantity(r *reading, cell string) fault {
	n, err := strconv.ParseInt(cell, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n <= 0 || cell[0] < '1' || cell[0] > '9' {
		return explainQuantity(cell)
	}
	r.quantity = n
	return fault{}
}

func explainQuantity(cell string) fault {
	switch whole, decimals, point := strings.Cut(cell, "."); {
	case strings.Trim(cell, "0.") == "":
		return fault{"is zero", "write how many pieces there are, as 3, or remove the row", ""}
	case cell[0] == '-' && isDigits(cell[1:]):
		return fault{"is below zero", "write it without the sign; transactionAmount alone tells a return", ""}
	case point && isDigits(whole) && isDigits(decimals) && len(decimals) != 3:
		return fault{"is not a whole number", "write how many whole pieces there are, as 3", ""}
	}
	return explainNumber(cell, "write how many pieces there are, as 3", "", func(number string) bool {
		return isDigits(number) && number[0] != '0' && len(number) <= 16
	})
}

func checkShippingStatus(r *reading, cell string) fault {
	switch cell {
	case isShipped, notShipped:
		r.row.Shipped, r.shipping = cell == isShipped, cell
		return fault{}
	}
	letters := strings.Map(func(c rune) rune {
		if c == ' ' || c == '-' || c == '_' {
			return -1
		}
		return unicode.ToLower(c)
	}, cell)
	switch letters {
	case "shipped":
		return fault{"is not written as Shipped", "write Shipped", isShipped}
	case "notshipped", "unshipped":
		return fault{"is not written as Not Shipped", "write Not Shipped", notShipped}
	}
	return fault{"is neither of the two states", "write exactly Shipped or Not Shipped", ""}
}

func checkCountry(_ *reading, cell string) fault {
	if countries[cell] {
		return fault{}
	}
	upper := strings.ToUpper(strings.ReplaceAll(cell, ".", ""))
	switch three := alpha3[upper]; {
	case countries[upper]:
		return fault{"is not in capital letters", "write " + upper, upper}
	case three != "":
		return fault{"is a code of two letters", "write " + three, three}
	}
	return fault{"is not a country", "write the three capital letters of ISO 3166-1 alpha-3, such as CHN", ""}
}

func checkURL(_ *reading, cell string) fault {
	u, err := url.Parse(cell)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(cell, unicode.IsSpace) {
		return fault{"is not an http or https address", "write it in full, such as https://store.example.com/acme", ""}
	}
	return fault{}
}

// The rules of a cell; with the column in front of it each is a rule's name.
const (
	cellEmpty = ".empty" // it must be there
	cellForm  = ".form"  // it is not what the column's cells look like
	cellLong  = ".long"
)

// cellProblem judges the cell of one column: whether it must be there, its form, its length. A cell that is sound is left
// as it was read. What else of the row depends on a cell with a certain mend is judged as if it were mended.
func (r *reading) cellProblem(column int) (rule string, f fault) {
	rule, as, f := r.cellFault(column, r.cells[column])
	if f.wrong == "" {
		r.cells[column] = as
		return "", f
	}
	// What a mend leaves may need another, as a blank behind an apostrophe does. A mend that does not end well is none.
	for next := f.mend; next != ""; {
		_, _, left := r.cellFault(column, next)
		f.mend, next = next, left.mend
		if left.wrong != "" {
			f.mend = ""
		}
	}
	return rule, f
}

// cellFault judges what could stand in the cell of one column, and gives it as it is read.
func (r *reading) cellFault(column int, cell string) (rule, as string, f fault) {
	c := &columns[column]
	as = cell
	if c.form != nil && c.form.read != nil {
		as = c.form.read(cell)
	}
	if isBlank(as) {
		switch {
		case c.Need == "M":
			return cellEmpty, as, fault{"is empty", c.fill(), ""}
		case c.Need == r.shipping:
			return cellEmpty, as, fault{"is empty, but shippingStatus is " + c.Need, c.fill(), ""}
		}
		return "", cell, fault{}
	}
	rule = cellForm
	if f = artefact(as); f.wrong == "" && c.form != nil {
		if f = formula(as); f.wrong == "" {
			f = c.form.check(r, as)
		}
	}
	if n := len(as); c.Max > 0 && n > c.Max && !strings.Contains(f.fix, "write ") { // what is written anew need not be shortened
		if n = utf8.RuneCountInString(as); n > c.Max {
			long, shorten := fmt.Sprintf("has %d characters", n), fmt.Sprintf("at most %d are allowed", c.Max)
			if f.wrong == "" {
				rule, f = cellLong, fault{long, shorten, ""}
			} else {
				f.wrong, f.fix = f.wrong+" and "+long, f.fix+", and "+shorten
			}
		}
	}
	switch {
	case f.wrong == "":
	case c.Need == "O", c.Need == notShipped && r.shipping == isShipped, c.Need == isShipped && r.shipping == notShipped:
		f.fix, f.mend = f.fix+", or leave the cell empty", "" // the sender's to choose
	}
	return rule, as, f
}

// isBlank tells whether there is nothing to be seen in a cell.
func isBlank(cell string) bool {
	return cell == "" || strings.IndexFunc(cell, func(r rune) bool { return !unicode.IsSpace(r) && !isUnseen(r) }) < 0
}

func (c *Column) fill() string {
	if c.form == nil || c.form.like == "" {
		return "fill it in: " + c.Rule
	}
	return "fill it in, such as " + c.form.like + " (" + c.Rule + ")"
}

// Rule is what is asked of more than one cell: of a row, of rows together, of the file.
type Rule struct {
	Name    string // what the rule is called, in summaries
	Column  string // where it is reported; empty for a whole row or file
	Wrong   string // {line}, {name} and {count} stand for particulars
	Fix     string
	File    bool // one breach refuses the whole file
	Warning bool
	Remove  bool // it is certain that the line is to be removed
}

// Rules lists them: what the whole file is refused for, what a row is, what rows are together.
func Rules() []Rule { return slices.Clone(rules[1:]) }

type ruleID uint8

const (
	ruleNone ruleID = iota
	fileEmpty
	fileForeign
	fileSepLine
	fileSeparator
	fileLineEnds
	fileHeaderQuotes
	fileHeadless
	fileAbove
	fileMissing
	fileUnknown
	fileNearly
	fileUnnamed
	fileTwice
	fileTooLong
	fileCut
	fileUndecodable
	fileNUL
	rowUndecodable
	rowNUL
	rowQuotes
	rowHeader
	rowLineEnd
	rowComma
	rowCells
	rowUnnamed
	rowHalf
	rowUnbound
	rowProduct
	rowRepeat
	rowConflict
	rowFiled
	rowUnshipped
	rowCurrency
	rowCurrencyFiled
	rowNoSale
	rowReturns
	rowReturnsHere
	rowSum
)

const sameItem = "this sellerId, orderId and sku"

var rules = [...]Rule{
	fileEmpty:        {"file.empty", "", "has no rows", "write a header line with the column names and a line for each sale or return under it", true, false, false},
	fileForeign:      {"file.foreign", "", "is {name}, not comma separated text", "open it in the program that made it and save it as CSV UTF-8 (comma delimited)", true, false, false},
	fileSepLine:      {"file.sep-line", "", "begins with a line sep= for spreadsheets", "remove that line", true, false, true},
	fileSeparator:    {"file.separator", "", "separates its values by {name}", "save it as CSV UTF-8 (comma delimited); if that writes semicolons, make the comma the list separator in the regional settings of the computer", true, false, false},
	fileLineEnds:     {"file.line-ends", "", "ends its lines by carriage returns alone", "save it with Unix (LF) or Windows (CR LF) line ends", true, false, false},
	fileHeaderQuotes: {"file.header-quotes", "", "has a quote in its header ({name}) that is not closed or stands inside a name", "write the column names without quotes", true, false, false},
	fileHeadless:     {"file.headless", "", "has no header: line {line} is a row already", "write the line of column names above it: sellerId,orderId,sku and so on", true, false, false},
	fileAbove:        {"file.above-header", "", "has its header on line {line}", "remove what is above it", true, false, false},
	fileMissing:      {"file.column-missing", "", "is missing from the header", "add the column", true, false, false},
	fileUnknown:      {"file.column-unknown", "", "is not a column of trade files", "correct the name in the header, or remove the column", true, false, false},
	fileNearly:       {"file.column-misspelt", "", "is not a column of trade files", "write {name} in the header", true, false, false},
	fileUnnamed:      {"file.column-unnamed", "", "has no name for column {name} of its header (line {line}), though named ones follow", "write the name, or remove the column", true, false, false},
	fileTwice:        {"file.column-twice", "", "stands twice in the header", "remove one of the two columns", true, false, false},
	fileTooLong:      {"file.long-line", "", "has a line longer than any row can be (line {line})", "send comma separated text with one line for each row", true, false, false},
	fileCut:          {"file.cut", "", "is cut: its last row (line {line}) is not whole", "send the whole file again", true, false, false},
	fileUndecodable:  {"file.encoding", "", "has bytes that are not {name} text (line {line})", "save it as CSV UTF-8 where it was made, and send it again", true, false, false},
	fileNUL:          {"file.zero-byte", "", "has a zero byte in it (line {line}), which no text has", "save it as CSV UTF-8 where it was made, and send it again", true, false, false},

	rowUndecodable:   {"row.encoding", "", "has bytes that are not {name}", "save the file as CSV UTF-8 where it was made, and send it again", false, false, false},
	rowNUL:           {"row.zero-byte", "", "has a zero byte in it ({name}), which no text has", "save the file as CSV UTF-8 where it was made, and send it again", false, false, false},
	rowQuotes:        {"row.quotes", "", "a quote ({name}) is not closed or stands inside a value", "put the whole value in quotes and double every quote inside it", false, false, false},
	rowHeader:        {"row.header", "", "is the header again", "remove this line", false, false, true},
	rowLineEnd:       {"row.line-end", "", "has a carriage return alone in it, which ends no line here", "save the file with Unix (LF) or Windows (CR LF) line ends", false, false, false},
	rowComma:         {"row.comma", "", "has one comma {name} than the header", "put values that contain commas in quotes, and end all lines, the header too, alike: with a comma or without", false, false, false},
	rowCells:         {"row.cells", "", "the number of its values is {count}, that of the columns in the header {name}", "put values that contain commas in quotes, and keep the commas around empty values", false, false, false},
	rowUnnamed:       {"row.unnamed", "", "has a value in column {count}, which has no name in the header", "remove it, or put the value that contains a comma in quotes", false, false, false},
	rowHalf:          {"row.cut", "", "ends in half a character", "send the whole file again", false, false, false},
	rowUnbound:       {"row.unbound", "sellerId", "was never bound in this currency", "correct sellerId or transactionCurrency; if both are right, complete an Account Binding of this seller in it, then send the file under a new requestNo", false, false, false},
	rowProduct:       {"row.product", "transactionAmount", "is not productQuantity x productUnitPrice", "correct it if that is a mistake; the row counts as it is", false, true, false},
	rowRepeat:        {"row.repeat", "", "repeats line {line}", "nothing needs mending: it counts once", false, true, false},
	rowConflict:      {"row.conflict", "", "line {line} has the same sellerId, orderId, sku, transactionTime and sign, but other content", "remove the wrong one of the two, or correct its transactionTime", false, false, false},
	rowFiled:         {"row.filed", "", "was filed before with another currency or amount ({name}, line {line})", "correct this row; a change is filed as a return and a new sale, each with its own transactionTime", false, false, false},
	rowUnshipped:     {"row.unshipped", "shippingStatus", "was Shipped when filed before ({name}, line {line})", "write Shipped; goods that came back are filed as a return", false, false, false},
	rowCurrency:      {"row.currency", "transactionCurrency", "differs from line {line} of " + sameItem, "use one currency for all of its rows", false, false, false},
	rowCurrencyFiled: {"row.currency-filed", "transactionCurrency", "differs from {name}, in which earlier files have " + sameItem, "use the currency of the earlier rows", false, false, false},
	rowNoSale:        {"row.no-sale", "transactionAmount", "is a return, and " + sameItem + " have no sale, in this file or an earlier one{name}", "correct them if the sale has others, or add the sale", false, false, false},
	rowReturns:       {"row.returns", "transactionAmount", "the returns of " + sameItem + " exceed its sales, earlier files included: {name}", "correct the returns, or add the sales that are missing", false, false, false},
	rowReturnsHere:   {"row.returns-here", "transactionAmount", "the returns of " + sameItem + " exceed its sales in this file: {name}", "nothing needs mending if an earlier file has the sales: the server counts them too", false, true, false},
	rowSum:           {"row.sum", "transactionAmount", "the rows of " + sameItem + " add up to more than can be booked", "correct the amounts", false, false, false},
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
	return Problem{Rule: rule.Name, Line: int(f.line), Column: rule.Column, Wrong: fill.Replace(rule.Wrong), Fix: fill.Replace(rule.Fix), Warning: rule.Warning, Remove: rule.Remove}
}
