package trade

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/openinfinia/infinia/money"
)

// What spreadsheets and people do to cells. Cells of columns with a form of their own are read where one meaning is possible
// only; where two are, or where something was cut off, the sender is told what to type (docs/decisions/0012). The read
// functions give a cell in its strict form, or as it is. Ids and free text are never altered.

// readPlain drops what cannot be part of a code or number: blanks around it, an apostrophe in front, by which spreadsheets
// keep a text a text, and the width of characters typed with a Chinese keyboard.
func readPlain(cell string) string {
	if isPlain(cell) {
		return cell
	}
	cell = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(cell), "'"))
	if isASCII([]byte(cell)) {
		return cell
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r >= '\uff01' && r <= '\uff5e':
			return r - '\uff01' + '!'
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return r
	}, cell))
}

func isPlain(cell string) bool {
	if cell == "" {
		return true
	}
	for i := range len(cell) {
		if cell[i] >= 0x80 {
			return false
		}
	}
	return cell[0] > ' ' && cell[0] != '\'' && cell[len(cell)-1] > ' '
}

// readAmount also drops commas that can only separate thousands.
func readAmount(cell string) string {
	cell = readPlain(cell)
	if strings.IndexByte(cell, ',') > 0 {
		if whole, ok := ungroup(cell); ok {
			return whole
		}
	}
	return cell
}

// ungroup takes the commas out of -1,234.50 and 1,234,567: groups of three, and a point after them or a second comma show
// that they are no decimal commas.
func ungroup(cell string) (string, bool) {
	digits := strings.TrimPrefix(cell, "-")
	whole, decimals, point := strings.Cut(digits, ".")
	groups := strings.Split(whole, ",")
	if len(groups) < 2 || len(groups) == 2 && !point || groups[0] == "" || len(groups[0]) > 3 || groups[0][0] == '0' || strings.Contains(decimals, ",") {
		return "", false
	}
	for _, g := range groups[1:] {
		if len(g) != 3 {
			return "", false
		}
	}
	return strings.ReplaceAll(cell, ",", ""), true
}

// readQuantity also drops decimals that are zero. Three of them could be thousands.
func readQuantity(cell string) string {
	cell = readAmount(cell)
	for _, zeros := range []string{".0", ".00"} {
		if whole, ok := strings.CutSuffix(cell, zeros); ok {
			return whole
		}
	}
	return cell
}

// artefact tells what a spreadsheet leaves in any cell when something went wrong there.
func artefact(cell string) fault {
	switch {
	case cell[0] != '#' && cell[0] != 'E':
	case strings.Trim(cell, "#") == "" && len(cell) > 2:
		return fault{"is what a spreadsheet shows where a column is too narrow", "make the column wider and save the file again, or write the value itself", ""}
	case slices.Contains(formulaErrors, cell), len(cell) == len("Err:502") && strings.HasPrefix(cell, "Err:"):
		return fault{"is the error " + cell + " of a spreadsheet's formula", "correct the formula and save the file again, or write the value itself", ""}
	}
	return fault{}
}

var formulaErrors = []string{"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#FIELD!", "#GETTING_DATA",
	"#NV", "#BEZUG!", "#WERT!", "#ZAHL!"}

// formula tells a text that was written as ="00123" to keep it one.
func formula(cell string) fault {
	text, ok := strings.CutPrefix(cell, `="`)
	if !ok || !strings.HasSuffix(cell, `"`) {
		return fault{}
	}
	if text = strings.TrimSuffix(text, `"`); strings.Contains(text, `"`) { // there is more than a text in quotes
		text = ""
	}
	return fault{"is a formula", "write only what stands between the quotes", text}
}

// altered tells whether a spreadsheet has made something else of an id, as far as its form shows it.
func altered(cell string) fault {
	switch {
	case cell[0] == '\'':
		return fault{"begins with an apostrophe, as spreadsheets mark text", "remove the apostrophe", cell[1:]}
	case cell == "TRUE" || cell == "FALSE":
		return fault{"is " + cell + ", which spreadsheets make of a text or formula", "write the value itself", ""}
	case strings.Contains(cell, "E+") && isShortened(cell):
		return fault{"is a number that a spreadsheet has shortened, and its last digits are lost",
			"write all digits, from where the file was made, into a column formatted as text", ""}
	}
	return fault{}
}

// isShortened tells whether a number is written as 1.23457E+11.
func isShortened(cell string) bool {
	mantissa, exponent, ok := strings.Cut(strings.ToUpper(strings.TrimPrefix(cell, "-")), "E")
	exponent = strings.TrimLeft(exponent, "+-")
	whole, decimals, _ := strings.Cut(mantissa, ".")
	return ok && len(whole) == 1 && isDigits(whole) && len(exponent) >= 1 && len(exponent) < 4 && isDigits(exponent) && (decimals == "" || isDigits(decimals))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// explainNumber tells what is wrong with a cell that is not a number of the form wanted, and what to write where that is
// certain: what fits tells whether a number would do. The name of a currency beside the number must be the row's, or else it
// is not certain that the number alone says the same.
func explainNumber(cell, form, currency string, fits func(number string) bool) fault {
	if isShortened(cell) {
		fix := "write all of its digits"
		if n := lengthen(cell); fits(n) {
			fix += ", " + n + " if nothing was cut off"
		}
		return fault{"is a number that a spreadsheet has shortened, and digits of it may be lost", fix, ""}
	}
	if f := altered(cell); f.wrong != "" {
		return f
	}
	number, beside := bareNumber(cell)
	if money.Known(beside) && currency != "" && beside != currency {
		return fault{"names " + beside + ", but transactionCurrency is " + currency, "correct one of the two, and " + form, ""}
	}
	wrong := "is not a plain number"
	if beside == "" && isGroup(number) {
		at := len(number) - 4
		whole, other := number[:at]+number[at+1:], number[:at]+"."+number[at+1:]
		means, fix := "can mean "+whole+" or "+other, "write "+whole+" if thousands are meant, or fewer decimals"
		if short := pointed(other); fits(short) {
			fix = "write " + whole + " or " + short
		}
		if fits(whole) {
			return fault{means, fix, ""}
		}
	}
	switch {
	case number == "" && !strings.ContainsAny(cell, "0123456789"):
		wrong = "is not a number"
	case number == "":
	case beside != "":
		wrong = "has more in it than a number"
	case strings.HasSuffix(strings.TrimRight(number, "0123456789"), ","):
		wrong = "has a comma before its decimals"
	}
	if number = pointed(number); !fits(number) {
		return fault{wrong, form, ""}
	}
	switch {
	case beside == "" || beside == currency:
		return fault{wrong, "write " + number, number}
	case currency == "":
		return fault{wrong, "write " + number, ""}
	}
	return fault{wrong, "write " + number + " if that is in " + currency, ""}
}

// isGroup tells whether what stands before the last three digits can separate thousands as well as decimals: 1,234 and 1.234.
func isGroup(number string) bool {
	number = strings.TrimPrefix(number, "-")
	at := len(number) - 4
	return at > 0 && at < 4 && number[0] != '0' && (number[at] == ',' || number[at] == '.') && isDigits(number[:at]) && isDigits(number[at+1:])
}

// bareNumber is the number in a cell with its sign and separators, and what stands beside it: the name or sign of a currency.
// It is empty where something else is there that could change its meaning.
func bareNumber(cell string) (number, beside string) {
	cell = strings.NewReplacer("\u2212", "-", "\u2013", "-", "\u202f", " ").Replace(cell)
	from, to := strings.IndexAny(cell, "0123456789"), strings.LastIndexAny(cell, "0123456789")+1
	if from < 0 {
		return "", ""
	}
	if from > 0 && (cell[from-1] == '.' || cell[from-1] == ',') {
		from--
	}
	if to < len(cell) && (cell[to] == '.' || cell[to] == ',') {
		to++
	}
	number = cell[from:to]
	before, after := strings.TrimSpace(cell[:from]), strings.TrimSpace(cell[to:])
	if strings.HasPrefix(after, "-") && strings.IndexByte(",.", number[len(number)-1]) >= 0 {
		return "", "" // 100.- is a whole amount in some countries
	}
	inBrackets := strings.HasPrefix(before, "(") && strings.HasSuffix(after, ")")
	if inBrackets {
		before, after = before[1:], after[:len(after)-1]
	}
	around := before + after
	sign := ""
	switch {
	case inBrackets: // another sign in them would leave it open what they mean
		sign = "-"
	case strings.Count(around, "-") == 1 && !strings.Contains(around, "+"):
		sign, around = "-", strings.Replace(around, "-", "", 1)
	case !strings.Contains(around, "-"):
		around = strings.Replace(around, "+", "", 1)
	}
	beside = strings.ToUpper(strings.TrimSpace(around))
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Sc, r) || r == '\u5143' { // yuan
			return -1
		}
		return r
	}, beside))
	if name != "" && name != "RMB" && name != "US" && name != "HK" && !money.Known(name) || strings.Trim(number, "0123456789,. '") != "" {
		return "", beside
	}
	return sign + number, beside
}

// pointed writes a number with a point before its decimals and nothing between its thousands; empty where that is not
// certain.
func pointed(number string) string {
	if number == "" {
		return ""
	}
	number, negative := strings.CutPrefix(number, "-")
	whole, decimals := number, ""
	if last := strings.LastIndexAny(number, ",."); last >= 0 && strings.Count(number, number[last:last+1]) == 1 {
		whole, decimals = number[:last], number[last+1:]
	}
	if at := strings.IndexAny(whole, ",. '"); at >= 0 {
		groups := strings.Split(whole, whole[at:at+1])
		for i, g := range groups {
			if last := i == len(groups)-1; !isDigits(g) || len(g) > 3 || last && len(g) != 3 || !last && i > 0 && len(g) < 2 {
				return ""
			}
		}
		whole = strings.Join(groups, "")
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if decimals = strings.TrimRight(decimals, "0"); len(decimals) == 1 {
		decimals += "0"
	}
	if decimals != "" {
		whole += "." + decimals
	}
	if negative {
		whole = "-" + whole
	}
	return whole
}

// lengthen writes 1.5E+05 as 150000; empty where that is no whole number of at most 12 digits.
func lengthen(cell string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToUpper(cell), "E")
	whole, decimals, _ := strings.Cut(mantissa, ".")
	n, err := strconv.Atoi(exponent)
	if err != nil || n < len(decimals) || n > 11 {
		return ""
	}
	return whole + decimals + strings.Repeat("0", n-len(decimals))
}
