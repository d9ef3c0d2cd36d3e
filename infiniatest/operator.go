package infiniatest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/op"
)

// Deposit books money on the platform's account, as after a bank transfer.
func (s *Sandbox) Deposit(currency, amount string) {
	s.t.Helper()
	act := s.act()
	_, err := s.box.Admin.AddDeposit(context.Background(), admin.NewDeposit{Act: act, AppID: s.AppID, Currency: currency, Amount: amount,
		BankReference: act.Reference, ValueDate: s.box.DB.Clock.Now().Format(time.DateOnly), Payer: "Demo Marketplace"})
	s.must(fmt.Sprintf("deposit %s %s", amount, currency), err)
}

// Freeze freezes a seller in all currencies and tells the app.
func (s *Sandbox) Freeze(sellerID string) {
	s.t.Helper()
	_, err := s.box.Admin.FreezeSeller(context.Background(), s.AppID, admin.SellerAct{Act: s.act(), SellerID: sellerID})
	s.must("freeze "+sellerID, err)
	s.drain()
}

// Resume ends a freeze and tells the app.
func (s *Sandbox) Resume(sellerID string) {
	s.t.Helper()
	_, err := s.box.Admin.ResumeSeller(context.Background(), s.AppID, admin.SellerAct{Act: s.act(), SellerID: sellerID})
	s.must("resume "+sellerID, err)
	s.drain()
}

// Approve ends the review of a seller's binding with SUCCESS. There are reviews with the setting ReviewBindings.
func (s *Sandbox) Approve(sellerID, currency string) {
	s.t.Helper()
	s.decide("approve", s.box.Admin.ApproveBinding, sellerID, currency, op.BindingAwaitingReview, "")
}

// Reject ends the review of a seller's binding with FAILED; the app can read the reason.
func (s *Sandbox) Reject(sellerID, currency, reason string) {
	s.t.Helper()
	s.decide("reject", s.box.Admin.RejectBinding, sellerID, currency, op.BindingAwaitingReview, reason)
}

// Revoke takes a seller's binding back; the app can read the reason.
func (s *Sandbox) Revoke(sellerID, currency, reason string) {
	s.t.Helper()
	s.decide("revoke", s.box.Admin.RevokeBinding, sellerID, currency, op.BindingSuccess, reason)
}

type decision func(context.Context, admin.ID, admin.Act) (admin.Binding, error)

func (s *Sandbox) decide(verb string, decide decision, sellerID, currency, state, reason string) {
	s.t.Helper()
	what := fmt.Sprintf("%s the binding of %s in %s", verb, sellerID, currency)
	found, err := s.box.Admin.Bindings(context.Background(), admin.BindingsFilter{AppID: s.AppID, SellerID: sellerID, State: state})
	s.must(what, err)
	for _, b := range found.Items {
		if b.Currency == currency {
			act := s.act()
			if reason != "" {
				act.Reason = reason
			}
			_, err := decide(context.Background(), b.ID, act)
			s.must(what, err)
			s.drain()
			return
		}
	}
	s.must(what, errors.New("none is "+state))
}

// Advance moves the clock forward. What falls due meanwhile has been done when it returns: shares settled, bindings expired,
// webhooks tried again, once.
func (s *Sandbox) Advance(d time.Duration) {
	s.t.Helper()
	_, err := s.box.Admin.AdvanceClock(context.Background(), d)
	s.must("advance the clock", err)
	s.drain()
}

// Fail has the next calls of an operation answered with code and not carried out. Each try of the client is a call; it tries
// again after [infinia.Unavailable] and [infinia.TooManyRequests].
func (s *Sandbox) Fail(operation infinia.Operation, code infinia.Code, calls int) {
	s.t.Helper()
	_, err := s.box.Admin.AddFault(context.Background(), admin.Fault{Operation: string(operation), Code: string(code), Times: calls})
	s.must("put a fault on "+string(operation), err)
}

// LoseReplies has the next calls of an operation carried out, and the connection broken instead of an answer. Each try of the
// client is a call.
func (s *Sandbox) LoseReplies(operation infinia.Operation, calls int) {
	s.t.Helper()
	_, err := s.box.Admin.AddFault(context.Background(), admin.Fault{Operation: string(operation), LoseReply: true, Times: calls})
	s.must("put a fault on "+string(operation), err)
}

// Verify has an independent check of all books, which fails the test when they do not add up.
func (s *Sandbox) Verify() {
	s.t.Helper()
	v, err := s.box.Admin.Verify(context.Background())
	if err == nil && !v.Sound {
		err = errors.New(strings.Join(v.Faults, "; "))
	}
	s.must("verify the books", err)
}

// act begins an act of the operator.
func (s *Sandbox) act() admin.Act { return admin.Act{Reference: s.number(), Reason: "part of a test"} }

// number makes a reference or a requestNo.
func (s *Sandbox) number() string { return "infiniatest-" + strconv.FormatInt(s.acts.Add(1), 10) }
