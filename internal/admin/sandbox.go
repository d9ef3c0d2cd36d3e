package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia/internal/store"
)

// Sandbox is what only a sandbox lets an operator do. These verbs serve tests, not auditors: they carry no reference.
type Sandbox struct {
	Clock *store.Clock
	Reset func(ctx context.Context) error // nil: there is no such verb
}

// ClockTime is what the sandbox's clock shows.
type ClockTime struct {
	Now time.Time `json:"now"`
}

// ClockAdvance moves the clock forward; everything that waits for a time follows.
type ClockAdvance struct {
	Advance string `json:"advance" minLength:"1" doc:"a duration such as 48h, 90m or 1.5s"`
}

const advanceMost = 10 * 365 * 24 * time.Hour

// Resolve checks what the schema cannot.
func (a *ClockAdvance) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	f := &faults{at: at.String()}
	if d, err := time.ParseDuration(a.Advance); a.Advance != "" && (err != nil || d <= 0 || d > advanceMost) {
		f.add("advance", "must be a duration such as 48h, above zero and at most ten years")
	}
	return f.errs
}

func sandbox(s *server) {
	clock := s.cfg.Sandbox.Clock
	handle(s, http.MethodGet, "/sandbox/clock", "get-clock", "The sandbox's clock", func(context.Context, *struct{}) (ClockTime, error) {
		return ClockTime{clock.Now()}, nil
	})
	handle(s, http.MethodPost, "/sandbox/clock", "advance-clock", "Move the sandbox's clock forward",
		func(_ context.Context, in *body[ClockAdvance]) (ClockTime, error) {
			d, err := time.ParseDuration(in.Body.Advance)
			if err != nil {
				return ClockTime{}, err
			}
			clock.Advance(d)
			return ClockTime{clock.Now()}, nil
		})
	if reset := s.cfg.Sandbox.Reset; reset != nil {
		handle(s, http.MethodPost, "/sandbox/reset", "reset-sandbox", "Begin anew with an empty sandbox",
			func(ctx context.Context, _ *struct{}) (ClockTime, error) {
				err := reset(ctx)
				return ClockTime{clock.Now()}, err
			})
	}
}
