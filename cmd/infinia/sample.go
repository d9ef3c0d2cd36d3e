package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/openinfinia/infinia/internal/sample"
	"github.com/openinfinia/infinia/money"
)

// sampleCmd writes a trade file that nobody has to write by hand.
type sampleCmd struct {
	Rows     int              `default:"1000" env:"-" placeholder:"N" help:"Rows; default 1000."`
	Bad      float64          `env:"-" placeholder:"PERCENT" help:"Percentage of rows with a fault, such as 5 or 0.5; default 0."`
	Seed     uint64           `default:"1" env:"-" placeholder:"N" help:"Another number gives other orders; default 1."`
	Sellers  int              `default:"10" env:"-" placeholder:"N" help:"How many sellers, SELLER-000001 and on; default 10."`
	Seller   []string         `sep:"none" env:"-" placeholder:"ID" help:"A seller by sellerId, instead of these; may be repeated."`
	Currency []money.Currency `default:"CNH" env:"-" placeholder:"CODE" help:"What is sold in; may be repeated, and each seller sells in all of them; default CNH."`
	Encoding sample.Encoding  `enum:"utf-8,utf-8-bom,utf-16,gb18030" default:"utf-8" env:"-" placeholder:"NAME" help:"utf-8, utf-8-bom, utf-16 or gb18030; default utf-8."`
	Start    time.Time        `format:"2006-01-02" default:"2026-01-01" env:"-" placeholder:"DATE" help:"First of the 30 days of the sales; default 2026-01-01."`
	CRLF     bool             `name:"crlf" env:"-" help:"End lines as Windows does."`
	Force    bool             `env:"-" help:"Replace a file that is there already."`
	File     string           `arg:"" optional:"" help:"Where to write; standard output when it is - or left out."`
}

func (c sampleCmd) Run(ctx context.Context, con console) error {
	opt, err := c.options()
	if err != nil {
		return err
	}
	var sum sample.Summary
	if c.File == "" || c.File == "-" {
		sum, err = sample.Write(interruptible{ctx, con.out}, opt)
	} else {
		sum, err = c.writeFile(ctx, opt)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(con.err, "%d rows: %d to accept, %d to reject\n", sum.Rows, sum.Accepted, sum.Rejected)
	for _, f := range sum.Faults {
		where := f.Column
		if where == "" {
			where = "row"
		}
		fmt.Fprintf(con.err, "%8d  %s: %s\n", f.Rows, where, f.Name)
	}
	return nil
}

func (c sampleCmd) options() (sample.Options, error) {
	switch {
	case !(c.Bad >= 0 && c.Bad <= 100):
		return sample.Options{}, errors.New("--bad is a percentage, from 0 to 100")
	case c.Sellers <= 0:
		return sample.Options{}, errors.New("--sellers is a number above zero")
	}
	sellers := c.Seller
	if len(sellers) == 0 {
		sellers = sample.Sellers(c.Sellers)
	}
	return sample.Options{
		Rows:       c.Rows,
		Bad:        int(math.Round(c.Bad * sample.Million / 100)),
		Seed:       c.Seed,
		Sellers:    sellers,
		Currencies: c.Currency,
		Encoding:   c.Encoding,
		Start:      c.Start,
		CRLF:       c.CRLF,
	}, nil
}

// writeFile leaves no part of a file behind, unless it was told to write over one.
func (c sampleCmd) writeFile(ctx context.Context, opt sample.Options) (sample.Summary, error) {
	how := os.O_EXCL
	if c.Force {
		how = os.O_TRUNC
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|how, 0o644)
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			return sample.Summary{}, hinted{fmt.Errorf("%s is there already", c.File), "name another file, or replace it with --force"}
		}
		return sample.Summary{}, err
	}
	sum, err := sample.Write(interruptible{ctx, f}, opt)
	err = errors.Join(err, f.Close())
	if err != nil && !c.Force {
		err = errors.Join(err, os.Remove(c.File))
	}
	return sum, err
}

// interruptible is a writer that stops when the command does.
type interruptible struct {
	ctx context.Context
	w   io.Writer
}

func (i interruptible) Write(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.w.Write(p)
}
