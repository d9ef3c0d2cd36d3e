package main

import (
	"context"

	"github.com/openinfinia/infinia/internal/admin"
)

// resetCmd empties a sandbox.
type resetCmd struct{ operator }

func (c resetCmd) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.ClockTime, error) {
		now, err := api.ResetSandbox(ctx)
		return now, onlySandbox(err)
	})
}
