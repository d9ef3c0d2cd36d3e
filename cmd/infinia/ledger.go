package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

type ledgerCmd struct {
	Accounts ledgerAccounts `cmd:"" help:"List accounts with their balances, newest first."`
	Postings ledgerPostings `cmd:"" help:"List postings, newest first."`
	Verify   ledgerVerify   `cmd:"" help:"Check all books; every fault is printed, and any makes the command fail."`
}

type ledgerAccounts struct {
	App      string `env:"-" placeholder:"APP" help:"Only this app's."`
	Kind     string `env:"-" placeholder:"KIND" help:"Only external, platform, seller, fees, evidence, filed-shipped, filed-unshipped or used ones."`
	Seller   string `env:"-" placeholder:"SELLER" help:"Only this seller's."`
	Currency string `env:"-" placeholder:"CODE" help:"Only in this currency."`
	paging
	operator
}

func (c ledgerAccounts) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Account], error) {
		return api.Accounts(ctx, admin.AccountsFilter{Page: c.page(), AppID: c.App, Kind: c.Kind, SellerID: c.Seller, Currency: c.Currency})
	}, "id appId kind currency balance held available lastNo lastAt sellerId", func(a admin.Account) []any {
		return []any{a.ID, a.AppID, a.Kind, a.Currency, a.Balance, a.Held, a.Available, a.LastNo, a.LastAt, a.SellerID}
	})
}

type ledgerPostings struct {
	Account admin.ID `env:"-" placeholder:"ID" help:"Only this account's."`
	paging
	operator
}

func (c ledgerPostings) Run(ctx context.Context, con console) error {
	f := admin.PostingsFilter{Page: c.page()}
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Posting], error) {
		if c.Account != "" {
			return api.PostingsOfAccount(ctx, c.Account, f)
		}
		return api.Postings(ctx, f)
	}, "id at appId purpose recordId currency amount from to", func(p admin.Posting) []any {
		return []any{p.ID, p.At, p.AppID, p.Purpose, p.RecordID, p.Currency, p.Amount, side(p.From), side(p.To)}
	})
}

// side is an account's part of a posting: which account, its own number of the posting, and its balance afterwards.
func side(s admin.Side) string {
	account := s.Kind
	if s.SellerID != "" {
		account += " " + s.SellerID
	}
	return fmt.Sprintf("%s #%d = %s", account, s.No, s.Balance)
}

type ledgerVerify struct {
	DB string `name:"db" env:"-" placeholder:"FILE-OR-URL" help:"Check this SQLite file or postgres:// database without a server. Of a file a copy is checked, made in the folder for temporary files; nothing is changed."`
	operator
}

func (c ledgerVerify) Run(ctx context.Context, con console) error {
	v, err := c.verify(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(con.out, v)
	} else {
		err = printVerdict(con.out, v)
	}
	if err == nil && !v.Sound {
		err = fmt.Errorf("the books are not sound, faults: %d", len(v.Faults))
	}
	return err
}

func printVerdict(w io.Writer, v admin.Verification) error {
	printFaults(w, v)
	_, err := fmt.Fprintln(w, verdict(v))
	return err
}

func printFaults(w io.Writer, v admin.Verification) {
	for _, fault := range v.Faults {
		fmt.Fprintln(w, "fault:", clean(fault))
	}
}

func verdict(v admin.Verification) string {
	word := "sound"
	if !v.Sound {
		word = "not sound"
	}
	return fmt.Sprintf("%s: accounts %d, postings %d, shares %d, requests %d, trade rows %d", word, v.Accounts, v.Postings, v.Shares, v.Requests, v.Rows)
}

func (c ledgerVerify) verify(ctx context.Context) (v admin.Verification, err error) {
	if c.DB == "" {
		return asked(c.connection, func(api *admin.Client) (admin.Verification, error) { return api.Verify(ctx) })
	}
	if store.IsPostgres(c.DB) {
		var r ledger.Report
		err := store.ReadPostgres(ctx, c.DB, func(q *pgdb.Queries) (err error) { r, err = ledger.Verify(ctx, q); return err })
		return verification(r), err
	}
	dir, err := os.MkdirTemp("", "infinia-verify-")
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "infinia.db")
	if err := store.Copy(ctx, c.DB, path); err != nil {
		return v, fmt.Errorf("%s: %w", c.DB, err)
	}
	db, err := store.Open(ctx, store.Config{Database: path}) // a copy from an earlier version gets the tables of this one
	if err != nil {
		return v, err
	}
	if err := db.Close(); err != nil {
		return v, err
	}
	return verifyCopy(ctx, path)
}

// verifyCopy checks a file that nobody writes to, for damage and its books.
func verifyCopy(ctx context.Context, path string) (admin.Verification, error) {
	var r ledger.Report
	err := store.ReadCopy(ctx, path, func(q *pgdb.Queries) (err error) { r, err = ledger.Verify(ctx, q); return err })
	return verification(r), err
}

func verification(r ledger.Report) admin.Verification {
	return admin.Verification{Sound: len(r.Faults) == 0, Faults: append([]string{}, r.Faults...), Accounts: r.Accounts, Postings: r.Postings,
		Shares: r.Shares, Requests: r.Requests, Rows: r.Rows}
}
