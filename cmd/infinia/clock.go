package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/openinfinia/infinia/internal/admin"
)

type clockCmd struct {
	Show    clockShow    `cmd:"" help:"Show the sandbox's time."`
	Advance clockAdvance `cmd:"" help:"Move the sandbox's time forward; what waits for a time follows."`
}

type clockShow struct{ operator }

func (c clockShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.ClockTime, error) {
		now, err := api.Clock(ctx)
		return now, onlySandbox(err)
	})
}

type clockAdvance struct {
	By time.Duration `arg:"" help:"How far, such as 48h, 90m or 1.5s."`
	operator
}

func (c clockAdvance) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.ClockTime, error) {
		now, err := api.AdvanceClock(ctx, c.By)
		return now, onlySandbox(err)
	})
}

// onlySandbox explains why a server of production has no such call.
func onlySandbox(err error) error {
	if e, ok := errors.AsType[*admin.Error](err); ok && e.Status == http.StatusNotFound {
		return hinted{err, "only a sandbox has this verb"}
	}
	return err
}
