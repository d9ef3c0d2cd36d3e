package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/gate"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
)

// Sandbox is what only a sandbox lets an operator do. These verbs serve tests, not auditors: they carry no reference.
type Sandbox struct {
	Clock  *store.Clock
	Moved  func() error // keeps where the clock stands, after it was moved
	Faults *gate.Faults
	Reset  func(ctx context.Context) error // nil: there is no such verb
}

// ClockTime is what the sandbox's clock shows.
type ClockTime struct {
	Now time.Time `json:"now"`
}

// ClockAdvance moves the clock forward; everything that waits for a time follows.
type ClockAdvance struct {
	Advance string `json:"advance" minLength:"1" doc:"a duration such as 48h, 90m or 1.5s"`
}

// Fault is put on the next calls of an operation, to see what a client does then. Either the call is not carried out and
// answered with code, or it is carried out and the connection breaks instead of the answer.
type Fault struct {
	Operation string `json:"operation,omitempty" doc:"such as revenue-sharing/request; empty: any"`
	Code      string `json:"code,omitempty" doc:"the answer, such as SYS-008"`
	LoseReply bool   `json:"loseReply,omitempty" doc:"carry the call out, then break the connection"`
	Delay     string `json:"delay,omitempty" doc:"a duration such as 2s, before anything else"`
	Times     int    `json:"times,omitempty" minimum:"1" maximum:"1000" default:"1" doc:"how many calls it meets"`
}

// Resolve checks what the schema cannot.
func (f *Fault) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	bad := &faults{at: at.String()}
	if f.Operation != "" && !op.Known(f.Operation) {
		bad.add("operation", "is not an operation")
	}
	if f.Code != "" && (!infinia.Code(f.Code).Known() || infinia.Code(f.Code) == infinia.Success) {
		bad.add("code", "is not a failure's code")
	}
	if d, err := time.ParseDuration(f.Delay); f.Delay != "" && (err != nil || d < 0 || d > time.Minute) {
		bad.add("delay", "must be a duration such as 2s, at most one minute")
	}
	if (f.Code == "") == !f.LoseReply && f.Delay == "" {
		bad.add("code", "or loseReply or delay must be given")
	}
	return bad.errs
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
			return ClockTime{clock.Now()}, s.cfg.Sandbox.Moved()
		})
	handle(s, http.MethodGet, "/sandbox/faults", "list-faults", "Faults that are still to come", func(context.Context, *struct{}) (List[Fault], error) {
		return s.faults(), nil
	})
	handle(s, http.MethodPost, "/sandbox/faults", "add-fault", "Put a fault on the next calls", func(_ context.Context, in *body[Fault]) (List[Fault], error) {
		f := gate.Fault{Operation: infinia.Operation(in.Body.Operation), Code: infinia.Code(in.Body.Code), LoseReply: in.Body.LoseReply, Times: max(in.Body.Times, 1)}
		if in.Body.Delay != "" {
			var err error
			if f.Delay, err = time.ParseDuration(in.Body.Delay); err != nil {
				return List[Fault]{}, err
			}
		}
		s.cfg.Sandbox.Faults.Add(f)
		return s.faults(), nil
	})
	handle(s, http.MethodDelete, "/sandbox/faults", "clear-faults", "Remove all faults", func(context.Context, *struct{}) (List[Fault], error) {
		s.cfg.Sandbox.Faults.Clear()
		return s.faults(), nil
	})
	if reset := s.cfg.Sandbox.Reset; reset != nil {
		handle(s, http.MethodPost, "/sandbox/reset", "reset-sandbox", "Begin anew with an empty sandbox",
			func(ctx context.Context, _ *struct{}) (ClockTime, error) {
				err := reset(ctx)
				return ClockTime{clock.Now()}, err
			})
	}
}

func (s *server) faults() List[Fault] {
	l := List[Fault]{Items: []Fault{}}
	for _, f := range s.cfg.Sandbox.Faults.List() {
		shown := Fault{Operation: string(f.Operation), Code: string(f.Code), LoseReply: f.LoseReply, Times: f.Times}
		if f.Delay > 0 {
			shown.Delay = f.Delay.String()
		}
		l.Items = append(l.Items, shown)
	}
	return l
}
