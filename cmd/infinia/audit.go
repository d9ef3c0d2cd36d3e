package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

type auditCmd struct {
	List auditList `cmd:"" help:"List acts, newest first; --json has what was before and after each."`
}

type auditList struct {
	App string `env:"-" placeholder:"APP" help:"Only what concerned this app."`
	Act string `env:"-" placeholder:"ACT" help:"Only acts of this name, such as deposit.add."`
	paging
	operator
}

func (c auditList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.Audit], error) {
		return api.Audits(ctx, admin.AuditsFilter{Page: c.page(), AppID: c.App, Act: c.Act})
	}, "id at actor act appId reference subject reason", func(a admin.Audit) []any {
		return []any{a.ID, a.At, a.Actor, a.Act, a.AppID, a.Reference, a.Subject, a.Reason}
	})
}
