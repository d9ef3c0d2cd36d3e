package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// checkCmd judges a trade file as the server would, without one. What only a server knows, it cannot say: which sellers are
// bound, and what was filed before.
type checkCmd struct {
	Zone   zone   `default:"+08:00" env:"-" placeholder:"ZONE" help:"The app's zone, in which times without one are read, as its setting: an IANA name or +hh:mm; default +08:00."`
	Fix    string `env:"-" placeholder:"FILE" help:"Write a copy in which what is certain is mended, such as usd, and check that; all else is as it was. Where it is - for standard output, the findings go to standard error."`
	Errors string `env:"-" placeholder:"FILE" help:"Write the error file, with all rows, that can be mended and sent again; - as with --fix."`
	Most   int    `default:"50" env:"-" placeholder:"N" help:"How many findings, and how many mends, to show, at most 1000; default 50."`
	JSON   bool   `name:"json" env:"-" help:"Print the findings as JSON."`
	File   string `arg:"" help:"The file, or a pipe; - for standard input."`
}

// zone is written as in an app's settings.
type zone struct{ *time.Location }

func (z *zone) UnmarshalText(text []byte) (err error) {
	if z.Location, err = store.ParseZone(string(text)); err != nil {
		return fmt.Errorf("%q is no zone: write an IANA name such as Asia/Shanghai, or an offset from UTC such as +08:00", text)
	}
	return nil
}

// checked is what is printed as JSON.
type checked struct {
	Fixed        *fixed         `json:"fixed,omitempty"`     // of the file as it was; the rest is of the mended copy
	ErrorFile    string         `json:"errorFile,omitempty"` // that was written
	TotalRows    int            `json:"totalRows"`
	AcceptedRows int            `json:"acceptedRows"`
	RejectedRows int            `json:"rejectedRows"`
	Repeats      int            `json:"repeats"`
	Broken       []trade.Broken `json:"broken"`
	Findings     []finding      `json:"findings"`
	More         int            `json:"more"` // findings that are not listed
}

// fixed is what was mended.
type fixed struct {
	File   string         `json:"file"` // the mended copy
	Total  int            `json:"total"`
	Broken []trade.Broken `json:"broken"` // what was, by rule
	Mends  []mend         `json:"mends"`
	More   int            `json:"more"` // mends that are not listed
}

type mend struct {
	Line    int    `json:"line"`
	Column  string `json:"column,omitempty"`
	Was     string `json:"was,omitempty"`
	Is      string `json:"is,omitempty"`
	Removed bool   `json:"removed,omitempty"` // the whole line
}

type finding struct {
	Rule    string `json:"rule"`
	Line    int    `json:"line,omitempty"`
	Column  string `json:"column,omitempty"`
	Value   string `json:"value,omitempty"`
	Wrong   string `json:"wrong"`
	Fix     string `json:"fix"`
	Warning bool   `json:"warning,omitempty"`
}

func (c checkCmd) Validate() error {
	switch {
	case c.Most < 0 || c.Most > 1000:
		return errors.New("--most is a number from 0 to 1000")
	case c.Fix == "-" && c.Errors == "-":
		return errors.New("only one of --fix and --errors can be standard output: name a file for the other")
	}
	return nil
}

func (checkCmd) Help() string {
	return "It ends with exit code 0 when the server would take the file, as far as the file alone shows that, with 1 when the file has errors, " +
		"and with 2 when it could not be checked, because it cannot be read, for example."
}

func (c checkCmd) Run(ctx context.Context, con console) error {
	refused, err := c.check(ctx, con)
	if err != nil {
		return unjudged{err}
	}
	return refused
}

// check tells in refused that the file has errors.
func (c checkCmd) check(ctx context.Context, con console) (refused, err error) {
	out := con.out
	if c.Fix == "-" || c.Errors == "-" {
		out = con.err
	}
	if c.JSON {
		con.err = io.Discard // no bar
	}
	src, err := c.open(ctx, con)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = src.bar.Finish() // where nothing was printed yet
		err = errors.Join(err, src.Close())
	}()
	var mended *fixed
	if c.Fix != "" {
		is, done, err := c.fix(ctx, con, src)
		if err != nil {
			return nil, err
		}
		mended = c.mends(done)
		if src, err = src.another(is); err != nil {
			return nil, err
		}
	}
	res, err := trade.Check(src, c.settings(), trade.Known{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	if c.Errors != "" {
		if err := written(ctx, con, c.Errors, func(w io.Writer) error { return trade.WriteErrorFile(w, src, res, true) }); err != nil {
			return nil, err
		}
	}
	_ = src.bar.Finish()
	is := c.findings(res)
	is.Fixed, is.ErrorFile = mended, c.Errors
	if c.JSON {
		err = printJSON(out, is)
	} else {
		err = c.print(out, is, res)
	}
	file, hint := "the file", ""
	if c.Fix != "" {
		file = nameOf(c.Fix)
	}
	if res.Mendable > 0 {
		hint = "--fix FILE writes a copy in which what is certain is mended"
	}
	switch {
	case len(res.FileProblems) > 0:
		refused = hinted{fmt.Errorf("%s would be refused as a whole", file), hint}
	case is.RejectedRows > 0:
		refused = hinted{fmt.Errorf("%d of %d rows are bad: %s would be refused, unless the app is set to take the good ones", is.RejectedRows, is.TotalRows, file), hint}
	}
	return refused, err
}

// open has the file in a form that can be read several times.
func (c checkCmd) open(ctx context.Context, con console) (src *watchedSource, err error) {
	f := (*os.File)(nil)
	if c.File == "-" {
		f, err = spooled(ctx, con, con.in)
	} else if f, err = os.Open(c.File); err == nil {
		if _, once := f.Seek(0, io.SeekCurrent); once != nil { // a pipe is read once only
			pipe := f
			f, err = spooled(ctx, con, pipe)
			err = errors.Join(err, pipe.Close())
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	readings := int64(2) // what Check takes
	if c.Fix != "" {
		readings += 2
	}
	if c.Errors != "" {
		readings++
	}
	return &watchedSource{File: f, ctx: ctx, bar: bar(con.err, "checking", readings*info.Size()), size: info.Size()}, nil
}

// spooled is a copy of what can be read once only.
func spooled(ctx context.Context, con console, from io.Reader) (*os.File, error) {
	f, err := scratch()
	if err != nil {
		return nil, err
	}
	bar := bar(con.err, "reading", -1)
	_, err = io.Copy(interruptible{ctx, io.MultiWriter(f, bar)}, from)
	_ = bar.Finish()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// scratch is a file without a name: it lasts as long as it is open.
func scratch() (*os.File, error) {
	f, err := os.CreateTemp("", "infinia-check-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fix writes the mended copy, and gives it to be checked.
func (c checkCmd) fix(ctx context.Context, con console, src *watchedSource) (is *os.File, done *trade.Fixed, err error) {
	if is, err := src.Stat(); err == nil {
		if out, err := os.Stat(c.Fix); err == nil && os.SameFile(is, out) {
			return nil, nil, hinted{fmt.Errorf("%s is the file itself", c.Fix), "name another file for the mended copy"}
		}
	}
	if c.Fix == "-" {
		if is, err = scratch(); err != nil {
			return nil, nil, err
		}
		con.out = io.MultiWriter(con.out, is)
	}
	if err = written(ctx, con, c.Fix, func(w io.Writer) error {
		done, err = trade.Fix(w, src, c.settings())
		return err
	}); err == nil && is == nil {
		is, err = os.Open(c.Fix)
	}
	return is, done, err
}

// written makes a file that is not there yet, or writes to standard output. It leaves no part of a file behind.
func written(ctx context.Context, con console, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(interruptible{ctx, con.out})
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return hinted{fmt.Errorf("%s is there already", name), "name another file"}
	}
	if err != nil {
		return err
	}
	if err = errors.Join(write(interruptible{ctx, f}), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func (c checkCmd) settings() trade.Settings {
	return trade.Settings{Zone: c.Zone.Location}
}

func (c checkCmd) mends(done *trade.Fixed) *fixed {
	is := &fixed{File: c.Fix, Total: done.Total, Broken: done.Broken, Mends: []mend{}}
	for _, p := range done.Problems[:min(c.Most, len(done.Problems))] {
		is.Mends = append(is.Mends, mend{p.Line, p.Column, p.Value, p.Mend, p.Remove})
	}
	is.More = is.Total - len(is.Mends)
	return is
}

func (c checkCmd) findings(res *trade.Result) checked {
	is := checked{TotalRows: res.Total, AcceptedRows: res.Accepted, RejectedRows: res.Rejected, Repeats: res.Repeats, Broken: res.Broken, Findings: []finding{}, More: res.More}
	all := append(append([]trade.Problem{}, res.FileProblems...), res.Problems...)
	slices.SortStableFunc(all, func(a, b trade.Problem) int { // errors before warnings
		switch {
		case a.Warning == b.Warning:
			return 0
		case a.Warning:
			return 1
		}
		return -1
	})
	for i, p := range all {
		if i == c.Most {
			is.More += len(all) - i
			break
		}
		is.Findings = append(is.Findings, finding{p.Rule, p.Line, p.Column, p.Value, p.Wrong, p.Fix, p.Warning})
	}
	return is
}

// print is for people.
func (c checkCmd) print(w io.Writer, is checked, res *trade.Result) error {
	if is.Fixed != nil {
		if err := is.Fixed.print(w, c.File, is.wrong()); err != nil {
			return err
		}
	}
	if len(is.Findings) > 0 {
		if err := printTable(w, "line column value finding", is.Findings, func(f finding) []any {
			line, text := any(f.Line), f.Wrong+"; "+f.Fix
			if f.Line == 0 {
				line = "file"
			}
			if f.Warning {
				text = "warning: " + text
			}
			return []any{line, f.Column, shown(f.Value), text}
		}); err != nil {
			return err
		}
		if is.More > 0 {
			fmt.Fprintf(w, "and %d more\n", is.More)
		}
		fmt.Fprintln(w)
	}
	if len(is.Findings)+is.More > len(is.Broken) {
		if err := printBroken(w, "rule", is.Broken); err != nil {
			return err
		}
	}
	if is.AcceptedRows > 0 && is.RejectedRows == 0 {
		sums := map[money.Currency]int64{}
		for _, p := range res.Parts {
			sum, err := money.Add(sums[p.Currency], p.Shipped)
			if err == nil {
				sum, err = money.Add(sum, p.Unshipped)
			}
			if err != nil {
				return err
			}
			sums[p.Currency] = sum
		}
		if err := printTable(w, "currency filed", slices.Sorted(maps.Keys(sums)), func(c money.Currency) []any {
			return []any{c, money.Amount{Minor: sums[c], Currency: c}}
		}); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if _, err := fmt.Fprintf(w, "%d rows: %d would be accepted, %d rejected; whether sellers are bound, and what was filed before, only the server knows\n",
		is.TotalRows, is.AcceptedRows, is.RejectedRows); err != nil || is.ErrorFile == "" {
		return err
	}
	next := "mend the cells and send that file: the three columns that were added are ignored"
	switch {
	case res.Unread():
		next = "what is wrong with the whole file has to be mended first: until then no row is judged"
	case len(res.FileProblems) > 0:
		next = "mend what is wrong with the whole file and the cells, and send that file: the three columns that were added are ignored"
	case is.RejectedRows == 0:
		next = "none has an error"
	}
	_, err := fmt.Fprintf(w, "%s has all rows, each with what is wrong with it; %s\n", nameOf(is.ErrorFile), next)
	return err
}

// shown is the beginning of a value, in quotes where blanks around it would not be seen.
func shown(value string) string {
	short := fmt.Sprintf("%.30s", value)
	if strings.TrimSpace(value) != value {
		return `"` + short + `"`
	}
	return short
}

// wrong tells whether there are errors.
func (is checked) wrong() bool {
	return slices.ContainsFunc(is.Broken, func(b trade.Broken) bool { return !b.Warning })
}

// print says what was mended; wrong tells whether errors are left.
func (f *fixed) print(w io.Writer, file string, wrong bool) error {
	if f.Total == 0 {
		why := "nothing needs mending"
		if wrong {
			why = "no error is certain enough to be mended"
		}
		_, err := fmt.Fprintf(w, "%s: %s is a plain copy\n\n", why, nameOf(f.File))
		return err
	}
	if err := printTable(w, "line column was is", f.Mends, func(m mend) []any {
		if m.Removed {
			return []any{m.Line, "", "", "the line is removed"}
		}
		return []any{m.Line, m.Column, shown(m.Was), shown(m.Is)}
	}); err != nil {
		return err
	}
	if f.More > 0 {
		fmt.Fprintf(w, "and %d more\n", f.More)
	}
	fmt.Fprintln(w)
	if err := printBroken(w, "mended", f.Broken); err != nil {
		return err
	}
	if file == "-" {
		file = "what was read"
	}
	_, err := fmt.Fprintf(w, "%d mended; the lines above are those of %s, all below is of %s\n\n", f.Total, file, nameOf(f.File))
	return err
}

// nameOf is what a file that was written is called.
func nameOf(file string) string {
	if file == "-" {
		return "what was written"
	}
	return file
}

// printBroken counts by rule.
func printBroken(w io.Writer, head string, broken []trade.Broken) error {
	err := printTable(w, head+" count lines", broken, func(b trade.Broken) []any {
		return []any{b.Rule, b.Count, linesOf(b)}
	})
	fmt.Fprintln(w)
	return err
}

// linesOf is where a rule is broken.
func linesOf(b trade.Broken) string {
	lines := strings.Trim(fmt.Sprint(b.Lines), "[]")
	if b.Count > len(b.Lines) && len(b.Lines) > 0 {
		lines += " ..."
	}
	return lines
}
