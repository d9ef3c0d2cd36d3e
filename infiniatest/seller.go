package infiniatest

import (
	"context"

	"github.com/openinfinia/infinia"
)

// BindSeller has the app ask for a binding, the seller confirm it on the hosted page, and the operator approve it. The
// sellerID serves as number of the certificate too, in every currency.
func (s *Sandbox) BindSeller(sellerID, currency string) {
	s.t.Helper()
	reply, err := s.Client.AccountBinding(context.Background(), infinia.AccountBindingRequest{
		RequestNo:    s.number(),
		SellerID:     sellerID,
		SellerCertNo: sellerID,
		SellerName:   "Acme Trading Ltd.",
		StoreName:    "Acme Official Store",
		StoreURL:     "https://store.example.com/acme",
		EntityType:   "Corporate",
		Country:      "CHN",
		Currency:     currency,
	})
	s.must("bind "+sellerID, err)
	if reply.RedirectURL == "" { // it is bound already
		return
	}
	s.Confirm(reply.RedirectURL)
	if s.status(reply.RequestNo) == infinia.BindingProcessing {
		s.Approve(sellerID, currency)
	}
	if status := s.status(reply.RequestNo); status != infinia.BindingSuccess {
		s.t.Fatalf("bind %s: the binding is %s", sellerID, status)
	}
}

func (s *Sandbox) status(requestNo string) infinia.BindingStatus {
	s.t.Helper()
	reply, err := s.Client.AccountBindingQuery(context.Background(), infinia.AccountBindingQueryRequest{RequestNo: requestNo})
	s.must("ask for a binding", err)
	return reply.Status
}

// Confirm does what the seller's browser does: it opens the hosted page behind a RedirectURL and confirms the binding.
func (s *Sandbox) Confirm(redirectURL string) {
	s.t.Helper()
	s.answer(redirectURL, "confirm")
}

// Decline opens the hosted page and declines the binding.
func (s *Sandbox) Decline(redirectURL string) {
	s.t.Helper()
	s.answer(redirectURL, "decline")
}

func (s *Sandbox) answer(redirectURL, action string) {
	s.t.Helper()
	s.must(action+" a binding as the seller", s.box.AnswerBinding(context.Background(), redirectURL, action))
	s.drain()
}
