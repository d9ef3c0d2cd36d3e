package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// checkCmd judges a trade file as the server would, without one. What only a server knows, it cannot say: which sellers are
// bound, and what was filed before.
type checkCmd struct {
	Zone   time.Duration `default:"8h" env:"-" placeholder:"OFFSET" help:"The app's zone, in which times without one are read, as an offset from UTC; default 8h."`
	Errors string        `env:"-" placeholder:"FILE" help:"Write the error file, with all rows, that can be mended and sent again."`
	Most   int           `default:"50" env:"-" placeholder:"N" help:"How many findings to show, at most 1000; default 50."`
	JSON   bool          `name:"json" env:"-" help:"Print the findings as JSON."`
	File   string        `arg:"" help:"The file; - for standard input."`
}

// checked is what is printed as JSON.
type checked struct {
	TotalRows    int       `json:"totalRows"`
	AcceptedRows int       `json:"acceptedRows"`
	RejectedRows int       `json:"rejectedRows"`
	Repeats      int       `json:"repeats"`
	Findings     []finding `json:"findings"`
	More         int       `json:"more"` // findings that are not listed
}

type finding struct {
	Line    int    `json:"line,omitempty"`
	Column  string `json:"column,omitempty"`
	Value   string `json:"value,omitempty"`
	Wrong   string `json:"wrong"`
	Fix     string `json:"fix"`
	Warning bool   `json:"warning,omitempty"`
}

func (c checkCmd) Run(ctx context.Context, con console) (err error) {
	src, err := c.open(ctx, con.in)
	if err != nil {
		return err
	}
	defer src.Close()
	res, err := trade.Check(interruptibleSource{ctx, src}, trade.Settings{Zone: time.FixedZone("", int(c.Zone.Seconds()))}, trade.Known{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	if c.Errors != "" {
		if err := c.writeErrors(ctx, src, res); err != nil {
			return err
		}
	}
	is := c.findings(res)
	if c.JSON {
		err = printJSON(con.out, is)
	} else {
		err = c.print(con.out, is, res.Parts)
	}
	switch {
	case len(res.FileProblems) > 0:
		err = errors.Join(err, errors.New("the file would be refused as a whole"))
	case is.RejectedRows > 0:
		err = errors.Join(err, fmt.Errorf("%d of %d rows are bad: the file would be refused, unless the app is set to take the good ones", is.RejectedRows, is.TotalRows))
	}
	return err
}

// open has the file in a form that can be read twice.
func (c checkCmd) open(ctx context.Context, in io.Reader) (*os.File, error) {
	if c.File != "-" {
		return os.Open(c.File)
	}
	f, err := os.CreateTemp("", "infinia-check-*")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(interruptible{ctx, f}, in)
	if err := errors.Join(err, os.Remove(f.Name())); err != nil { // it lasts as long as it is open
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (c checkCmd) writeErrors(ctx context.Context, src io.ReadSeeker, res *trade.Result) error {
	f, err := os.OpenFile(c.Errors, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return hinted{fmt.Errorf("%s is there already", c.Errors), "name another file"}
	}
	if err != nil {
		return err
	}
	return errors.Join(trade.WriteErrorFile(interruptible{ctx, f}, src, res, true), f.Close())
}

func (c checkCmd) findings(res *trade.Result) checked {
	is := checked{TotalRows: res.Total, AcceptedRows: res.Accepted, RejectedRows: res.Rejected, Repeats: res.Repeats, Findings: []finding{}, More: res.More}
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
		is.Findings = append(is.Findings, finding{p.Line, p.Column, p.Value, p.Rule, p.Fix, p.Warning})
	}
	return is
}

func (c checkCmd) print(w io.Writer, is checked, parts []trade.Part) error {
	if len(is.Findings) > 0 {
		if err := printTable(w, "line column value finding", is.Findings, func(f finding) []any {
			line, text := any(f.Line), f.Wrong+"; "+f.Fix
			if f.Line == 0 {
				line = "file"
			}
			if f.Warning {
				text = "warning: " + text
			}
			return []any{line, f.Column, fmt.Sprintf("%.30s", f.Value), text}
		}); err != nil {
			return err
		}
		if is.More > 0 {
			fmt.Fprintf(w, "and %d more\n", is.More)
		}
		fmt.Fprintln(w)
	}
	if is.AcceptedRows > 0 && is.RejectedRows == 0 {
		sums := map[money.Currency]int64{}
		for _, p := range parts {
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
	_, err := fmt.Fprintf(w, "%d rows: %d would be accepted, %d rejected; whether sellers are bound, and what was filed before, only the server knows\n",
		is.TotalRows, is.AcceptedRows, is.RejectedRows)
	return err
}

// interruptibleSource is a file whose reading stops when the command does.
type interruptibleSource struct {
	ctx context.Context
	io.ReadSeeker
}

func (i interruptibleSource) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.ReadSeeker.Read(p)
}
