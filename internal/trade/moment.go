package trade

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func checkTransactionTime(r *reading, cell string) fault {
	at, ok := instant(cell, r.zone)
	if !ok {
		return explainTime(cell, r.zone, true)
	}
	r.row.At = at
	return checkYear(at, r.zone)
}

func checkTime(r *reading, cell string) fault {
	at, ok := instant(cell, r.zone)
	if !ok {
		return explainTime(cell, r.zone, false)
	}
	return checkYear(at, r.zone)
}

// checkYear finds what was typed or converted wrongly: years of two digits, seconds taken for milliseconds.
func checkYear(at int64, zone *time.Location) fault {
	year := time.UnixMilli(at).In(zone).Year()
	if year < 2000 || year > 2099 {
		return fault{"is in the year " + strconv.Itoa(year), "write one of the years 2000 to 2099", ""}
	}
	return fault{}
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
		if t, ok := wall(cell); ok {
			if at := instants(t, zone); len(at) == 1 {
				return at[0].UnixMilli(), true
			}
		}
	}
	t, err := time.Parse(time.RFC3339, cell)
	if err != nil || cell[13] != ':' || strings.ContainsRune(cell, ',') || t.Nanosecond()%1_000_000 != 0 { // rows are told apart by the millisecond
		return 0, false
	}
	return t.UnixMilli(), true
}

// wall reads a date and time as clocks on a wall show it.
func wall(cell string) (time.Time, bool) {
	t, err := time.Parse(time.DateTime, cell)
	return t, err == nil && len(cell) == len(time.DateTime) && cell[10] == ' ' && cell[13] == ':'
}

// instants are the moments at which the clocks of a zone show a time: two where they are set back over it, none where they
// jump over it.
func instants(wall time.Time, zone *time.Location) []time.Time {
	_, before := wall.Add(-26 * time.Hour).In(zone).Zone()
	_, after := wall.Add(26 * time.Hour).In(zone).Zone()
	at := []time.Time{wall.Add(-time.Duration(before) * time.Second).In(zone)}
	if before == after {
		return at
	}
	at = append(at, wall.Add(-time.Duration(after)*time.Second).In(zone))
	return slices.DeleteFunc(at, func(t time.Time) bool { return t.Format(time.DateTime) != wall.Format(time.DateTime) })
}

// readMoment reads a time that has its seconds. Those of a transactionTime tell rows apart, and spreadsheets cut them off.
func readMoment(cell string) string { return readDate(cell, true) }

func readTime(cell string) string { return readDate(cell, false) }

// readDate reads a date that begins with the year, which leaves one order only: 2025/9/3 8:05:07, 2025-9-3 8:05.
func readDate(cell string, seconds bool) string {
	cell = readPlain(cell)
	if len(cell) >= len(time.DateTime) && cell[7] == '-' && (cell[10] == 'T' || len(cell) == len(time.DateTime) && cell[11] != ' ') {
		return cell // as almost all are
	}
	if len(cell) < len("2025/9/3 8:05") || cell[4] != '/' && cell[4] != '-' {
		return cell
	}
	date, clock, _ := strings.Cut(cell, " ")
	ymd, hms := strings.Split(date, cell[4:5]), strings.Split(strings.TrimLeft(clock, " "), ":")
	if len(ymd) != 3 || len(hms) < 2 || len(hms) > 3 || seconds && len(hms) == 2 || len(hms[1]) != 2 {
		return cell
	}
	return ymd[0] + "-" + two(ymd[1]) + "-" + two(ymd[2]) + " " + two(hms[0]) + ":" + hms[1] + ":" + append(hms, "00")[2]
}

func two(digits string) string {
	if len(digits) == 1 {
		return "0" + digits
	}
	return digits
}

const timeForm = "write it as 2025-09-03 14:05:00"

// explainTime tells what is wrong with a cell that is not a time, and what to write where that is certain. What is written is
// a mend when it says all that stands in the cell, and the cell all that is written: its seconds too, where they matter.
func explainTime(cell string, zone *time.Location, seconds bool) fault {
	const column = ", or format the column of a spreadsheet as yyyy-mm-dd hh:mm:ss and save again"
	if t, ok := wall(cell); ok {
		switch at := instants(t, zone); len(at) {
		case 0:
			return fault{"never was in " + zone.String() + ", where clocks were put forward over it", "correct it, or write it with its zone, such as 2025-09-03T14:05:00Z", ""}
		case 2:
			return fault{"was twice in " + zone.String() + ", where clocks were put back over it", "write " + at[0].Format(time.RFC3339) + " or " + at[1].Format(time.RFC3339), ""}
		}
	}
	switch whole, decimals, point := strings.Cut(cell, "."); {
	case isShortened(cell):
		return fault{"is a number that a spreadsheet has shortened, and its last digits are lost", timeForm + ", from where the file was made", ""}
	case isDigits(cell) && len(cell) == len("20250903"):
		cell = cell[:4] + "-" + cell[4:6] + "-" + cell[6:]
	case isDigits(cell) && len(cell) == len("20250903140500"):
		cell = cell[:4] + "-" + cell[4:6] + "-" + cell[6:8] + " " + cell[8:10] + ":" + cell[10:12] + ":" + cell[12:]
	case isDigits(cell) && len(cell) == len("1756879500"):
		n, _ := strconv.ParseInt(cell, 10, 64)
		return fault{"has the 10 digits of seconds since 1970", "write " + cell + "000, or " + time.Unix(n, 0).In(zone).Format(time.DateTime), ""}
	case isDigits(cell) && len(cell) == len("1756879500000000"):
		f := fault{"has the 16 digits of microseconds since 1970", "write " + cell[:len(cell)-3], ""}
		if millis, whole := strings.CutSuffix(cell, "000"); whole {
			f.mend = millis
		}
		return f
	case len(whole) == 5 && whole >= "20000" && whole < "80000" && isDigits(whole) && (!point || isDigits(decimals)): // 1954 to 2119
		return fault{"is a spreadsheet's number of a day", "format the column as yyyy-mm-dd hh:mm:ss and save again, or write the time: it is about " + dayNumber(whole, decimals), ""}
	default:
		if f := altered(cell); f.wrong != "" {
			return f
		}
	}
	w := takeApart(cell)
	isClock := func(i int) bool { return w.count > i+1 && w.before[i+1] == ":" }
	if w.count >= 2 && w.before[0] == "" && w.before[1] == ":" {
		return fault{"is a time of day without its date", timeForm + column, ""}
	}
	if w.count < 3 || w.count == 4 || w.count > 4 && !isClock(3) || w.before[0] != "" || !isBetween(w.before[1]) || !isBetween(w.before[2]) ||
		strings.ContainsAny(w.before[3], "+-") {
		return fault{"is not a time", timeForm, ""}
	}
	afternoon, halves := halfOfDay(w.before[3] + w.rest)
	twelve := halves > 0
	if hour, _ := strconv.Atoi(w.numbers[3]); w.count > 3 && (halves > 1 || twelve && (hour < 1 || hour > 12)) {
		return fault{"names a half of the day that its hour does not have", "correct it, in the form 2025-09-03 14:05:00", ""}
	}
	hours := 0
	switch {
	case twelve && afternoon && w.numbers[3] != "12":
		hours = 12
	case twelve && !afternoon && w.numbers[3] == "12":
		hours = -12
	}
	ending := ""
	if w.count == 3 {
		ending = " and the time of day"
	}
	say := func(times ...string) string {
		times = slices.DeleteFunc(times, func(t string) bool { return t == "" })
		for i := range times {
			if w.count == 3 {
				times[i] = times[i][:len(time.DateOnly)]
			}
		}
		if len(times) == 0 {
			return ""
		}
		return "write " + strings.Join(slices.Compact(times), " or ") + ending
	}
	certain := func(text, zone string) string {
		if !w.says(zone) || w.count < 5 || w.count == 5 && seconds {
			return ""
		}
		return text
	}
	if len(w.numbers[0]) != 4 {
		dayFirst, monthFirst := w.strict(2, 1, 0, hours), w.strict(2, 0, 1, hours)
		switch fix := say(dayFirst, monthFirst); {
		case fix == "":
			return fault{"does not begin with the year", timeForm, ""}
		case dayFirst != "" && monthFirst != "" && dayFirst != monthFirst:
			return fault{"does not show which number is the day and which the month", fix, ""}
		default:
			return fault{"does not begin with the year", fix, certain(cmp.Or(dayFirst, monthFirst), "")}
		}
	}
	text := w.strict(0, 1, 2, hours)
	switch tail := strings.ToUpper(w.rest); {
	case text == "":
		return fault{"is a day or a time of day that does not exist", "correct it, in the form 2025-09-03 14:05:00", ""}
	case w.count == 3:
		return fault{"has no time of day", say(text) + ", as in " + text[:len(time.DateOnly)] + " 14:05:00", ""}
	case twelve:
		return fault{"is not written in the 24-hour way", say(text), certain(text, "")}
	case tail == "UTC" || tail == "GMT":
		return fault{"is not in a form that is read", "write " + w.zoned(text, "Z", zone), certain(w.zoned(text, "Z", zone), tail)}
	case tail != "" && tail != "Z" && !isOffset(tail):
		return fault{"has more in it than a time", say(text) + " if it is in the app's zone", ""}
	case len(strings.TrimRight(w.numbers[6], "0")) > 3:
		return fault{"has more than 3 decimals of a second", "write at most 3: " + w.zoned(text, tail, zone), ""}
	case tail != "":
		return fault{"is not in a form that is read", "write " + w.zoned(text, tail, zone), certain(w.zoned(text, tail, zone), tail)}
	case strings.TrimRight(w.numbers[6], "0") != "":
		return fault{"has decimals of a second and no zone", "write " + w.zoned(text, "", zone) + " if it is in the app's zone", ""}
	case strings.EqualFold(w.before[3], "T"):
		return fault{"has a T but no zone", "write " + text + " if it is in the app's zone, or add its zone, as in " + text[:10] + "T" + text[11:] + "Z", ""}
	case w.count == 5 && seconds:
		return fault{"has no seconds, which spreadsheets cut off and which tell sales apart", "write " + text + " if the seconds were 00" + column, ""}
	}
	return fault{"is not in a form that is read", say(text), certain(text, "")}
}

// written is a date and time as somebody wrote it, taken apart: the numbers, what stands before each, and the rest.
type written struct {
	numbers [7]string // year, month and day in the order written, hour, minute, second, decimals of the second
	before  [7]string
	count   int
	rest    string
}

func takeApart(cell string) written {
	var w written
	for w.count < len(w.numbers) {
		from := strings.IndexAny(cell, "0123456789")
		if from < 0 || w.count == 5 && cell[:from] != ":" || w.count == 6 && cell[:from] != "." && cell[:from] != "," { // a zone follows
			break
		}
		to := from
		for to < len(cell) && cell[to] >= '0' && cell[to] <= '9' {
			to++
		}
		w.numbers[w.count], w.before[w.count], cell = cell[from:to], cell[:from], cell[to:]
		w.count++
	}
	w.rest = strings.TrimSpace(cell)
	return w
}

// says tells whether there is nothing but the numbers, a half of the day and the zone that is told, if any: no word that
// could mean something, no decimals of a second that a time without a zone has no room for.
func (w written) says(zone string) bool {
	between, rest := w.before[3], strings.ToUpper(w.rest)
	if zone == "" {
		between, rest = withoutHalf(between), withoutHalf(rest)
	}
	decimals := len(strings.TrimRight(w.numbers[6], "0"))
	switch between = strings.TrimSpace(between); {
	case rest != zone, zone == "" && decimals > 0, decimals > 3:
		return false
	case zone != "" && strings.EqualFold(between, "T"):
		return true
	}
	return between == "" || between == "," || between == "\u65e5" // the Chinese word for day
}

// strict is the time in the form without a zone, its date read in the order given by places; empty when there is no such time.
func (w written) strict(year, month, day, addHours int) string {
	n := func(i int) int {
		if n, err := strconv.Atoi(w.numbers[i]); err == nil && len(w.numbers[i]) < 5 {
			return n
		}
		return 0
	}
	t := time.Date(n(year), time.Month(n(month)), n(day), n(3)+addHours, n(4), n(5), 0, time.UTC)
	if n(year) < 1000 || t.Year() != n(year) || int(t.Month()) != n(month) || t.Day() != n(day) || t.Minute() != n(4) || t.Second() != n(5) || n(3) > 23 {
		return ""
	}
	return t.Format(time.DateTime)
}

// dayNumber is the time that a spreadsheet counts as days since 1899-12-30.
func dayNumber(whole, decimals string) string {
	days, _ := strconv.Atoi(whole)
	part, unit := int64(0), int64(1)
	for i := range min(len(decimals), 12) {
		part, unit = part*10+int64(decimals[i]-'0'), unit*10
	}
	seconds := (part*86400 + unit/2) / unit
	return time.Date(1899, 12, 30+days, 0, 0, int(seconds), 0, time.UTC).Format(time.DateTime)
}

// isBetween tells whether s separates the numbers of a date: also the Chinese words for year and month do.
func isBetween(s string) bool {
	switch strings.TrimSpace(s) {
	case "/", "-", ".", "\u5e74", "\u6708":
		return true
	}
	return false
}

var halvesOfDay = []string{"AM", "PM", "\u4e0a\u5348", "\u4e0b\u5348"}

// halfOfDay finds AM and PM, in English and Chinese, and how many there are.
func halfOfDay(s string) (afternoon bool, halves int) {
	s = strings.ToUpper(strings.ReplaceAll(s, ".", ""))
	for i, half := range halvesOfDay {
		n := strings.Count(s, half)
		halves += n
		afternoon = afternoon || n > 0 && i%2 == 1
	}
	return afternoon, halves
}

// withoutHalf takes AM or PM out of what stands around the time of day.
func withoutHalf(s string) string {
	s = strings.ToUpper(strings.ReplaceAll(s, ".", ""))
	for _, half := range halvesOfDay {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(s), half); ok {
			return strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutSuffix(strings.TrimSpace(s), half); ok {
			return strings.TrimSpace(rest)
		}
	}
	return strings.TrimSpace(s)
}

// isOffset tells +08:00 and +0800.
func isOffset(s string) bool {
	if len(s) == len("+08:00") && s[3] == ':' {
		s = s[:3] + s[4:]
	}
	return len(s) == len("+0800") && (s[0] == '+' || s[0] == '-') && isDigits(s[1:]) && s[1:3] < "24" && s[3:] < "60"
}

// zoned writes a time as RFC 3339, in the zone written behind it or else the app's.
func (w written) zoned(text, offset string, zone *time.Location) string {
	decimals := strings.TrimRight(w.numbers[6][:min(len(w.numbers[6]), 3)], "0")
	if decimals != "" {
		decimals = "." + decimals
	}
	if offset == "" {
		t, _ := time.ParseInLocation(time.DateTime, text, zone)
		offset = t.Format("Z07:00")
	} else if offset != "Z" && !strings.Contains(offset, ":") {
		offset = offset[:3] + ":" + offset[3:]
	}
	return text[:10] + "T" + text[11:] + decimals + offset
}
