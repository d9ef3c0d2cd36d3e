package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type faultCmd struct {
	Add   faultAdd   `cmd:"" help:"Put a fault on the next calls."`
	List  faultList  `cmd:"" help:"List the faults that are still to come."`
	Clear faultClear `cmd:"" help:"Take all faults back."`
}

type faultAdd struct {
	Operation string `env:"-" placeholder:"NAME" help:"Only on calls of this operation, such as revenue-sharing/request."`
	Code      string `env:"-" placeholder:"CODE" help:"Do not carry the call out; answer with this code, such as SYS-008."`
	LoseReply bool   `env:"-" help:"Carry the call out, then break the connection instead of answering."`
	Delay     string `env:"-" placeholder:"TIME" help:"Wait so long before anything else, such as 2s."`
	Times     int    `default:"1" env:"-" placeholder:"N" help:"How many calls it meets; default 1."`
	operator
}

func (c faultAdd) Run(ctx context.Context, con console) error {
	return faults(con, c.operator, func(api *admin.Client) (admin.List[admin.Fault], error) {
		return api.AddFault(ctx, admin.Fault{Operation: c.Operation, Code: c.Code, LoseReply: c.LoseReply, Delay: c.Delay, Times: c.Times})
	})
}

type faultList struct{ operator }

func (c faultList) Run(ctx context.Context, con console) error {
	return faults(con, c.operator, func(api *admin.Client) (admin.List[admin.Fault], error) { return api.Faults(ctx) })
}

type faultClear struct{ operator }

func (c faultClear) Run(ctx context.Context, con console) error {
	return faults(con, c.operator, func(api *admin.Client) (admin.List[admin.Fault], error) { return api.ClearFaults(ctx) })
}

func faults(con console, o operator, ask func(*admin.Client) (admin.List[admin.Fault], error)) error {
	return list(con, o, func(api *admin.Client) (admin.List[admin.Fault], error) {
		all, err := ask(api)
		return all, onlySandbox(err)
	}, "operation code loseReply delay times", func(f admin.Fault) []any {
		return []any{f.Operation, f.Code, f.LoseReply, f.Delay, f.Times}
	})
}
