package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type depositCmd struct {
	Add     depositAdd     `cmd:"" help:"Book money that arrived at the bank."`
	List    depositList    `cmd:"" help:"List deposits, newest first."`
	Show    depositShow    `cmd:"" help:"Show a deposit."`
	Reverse depositReverse `cmd:"" help:"Take a wrong deposit back, whole and once."`
}

type depositAdd struct {
	AppID         string `arg:"" help:"The app whose money it is."`
	Amount        string `required:"" env:"-" placeholder:"DECIMAL" help:"Such as 5000.00."`
	Currency      string `required:"" env:"-" placeholder:"CODE" help:"Three letters, such as CNH."`
	BankReference string `required:"" env:"-" placeholder:"TEXT" help:"The bank's own number of the payment; one deposit has it in a currency."`
	ValueDate     string `required:"" env:"-" placeholder:"DATE" help:"The bank's value date, yyyy-mm-dd."`
	Payer         string `required:"" env:"-" placeholder:"TEXT" help:"Who paid."`
	actor
}

func (c depositAdd) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Deposit, error) {
		return api.AddDeposit(ctx, admin.NewDeposit{Act: a, AppID: c.AppID, Amount: c.Amount, Currency: c.Currency,
			BankReference: c.BankReference, ValueDate: c.ValueDate, Payer: c.Payer})
	})
}

type depositList struct {
	App      string `env:"-" placeholder:"APP" help:"Only this app's."`
	Currency string `env:"-" placeholder:"CODE" help:"Only in this currency."`
	paging
	operator
}

func (c depositList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Deposit], error) {
		return api.Deposits(ctx, admin.DepositsFilter{Page: c.page(), AppID: c.App, Currency: c.Currency})
	}, "id appId currency amount valueDate bookedAt reversedAt bankReference payer", func(d admin.Deposit) []any {
		return []any{d.ID, d.AppID, d.Currency, d.Amount, d.ValueDate, d.BookedAt, d.ReversedAt, d.BankReference, d.Payer}
	})
}

type depositShow struct {
	ID admin.ID `arg:"" help:"The deposit."`
	operator
}

func (c depositShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.Deposit, error) { return api.Deposit(ctx, c.ID) })
}

type depositReverse struct {
	ID admin.ID `arg:"" help:"The deposit."`
	actor
}

func (c depositReverse) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Deposit, error) { return api.ReverseDeposit(ctx, c.ID, a) })
}
