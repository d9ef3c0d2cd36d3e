package main

import (
	"context"
	"time"

	"github.com/openinfinia/infinia/internal/admin"
)

type callsCmd struct {
	List callsList `cmd:"" help:"List recorded calls, newest first; --json has their bodies where these are kept."`
}

type callsList struct {
	App       string `env:"-" placeholder:"APP" help:"Only this app's."`
	Operation string `env:"-" placeholder:"NAME" help:"Only of this operation, such as revenue-sharing/request."`
	RequestNo string `env:"-" placeholder:"NUMBER" help:"Only those with this requestNo."`
	Code      string `env:"-" placeholder:"CODE" help:"Only those answered with this code, such as BIZ-005."`
	paging
	operator
}

func (c callsList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Call], error) {
		return api.Calls(ctx, admin.CallsFilter{Page: c.page(), AppID: c.App, Operation: c.Operation, RequestNo: c.RequestNo, Code: c.Code})
	}, "id at appId operation requestNo code took address traceId detail", func(k admin.Call) []any {
		return []any{k.ID, k.At, k.AppID, k.Operation, k.RequestNo, k.Code, time.Duration(k.TookMicros) * time.Microsecond, k.Address, k.TraceID, k.Detail}
	})
}
