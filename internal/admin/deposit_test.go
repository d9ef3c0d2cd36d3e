package admin

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

func (r *rig) newDeposit(bankReference, amount string) NewDeposit {
	return NewDeposit{Act: r.act(), AppID: testApp, Currency: "CNH", Amount: amount, BankReference: bankReference, ValueDate: "2026-02-28", Payer: "Acme Ltd."}
}

func TestDeposits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		n := r.newDeposit("BANK 1", "100")
		d := must(r, r.AddDeposit, n)
		want := Deposit{ID: d.ID, AppID: testApp, Currency: "CNH", Amount: "100.00", BankReference: "BANK 1", ValueDate: "2026-02-28", Payer: "Acme Ltd.",
			BookedAt: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
		if diff := cmp.Diff(want, d); diff != "" {
			t.Error(diff)
		}
		r.audited("deposit.add", nil, d)
		n.Amount = "100.00" // the same amount is the same content
		if diff := cmp.Diff(d, must(r, r.AddDeposit, n)); diff != "" {
			t.Errorf("the same act again: %s", diff)
		}
		n.Amount = "101"
		_, err := r.AddDeposit(r.Context(), n)
		r.refused(err, 409, "reference")
		_, err = r.AddDeposit(r.Context(), r.newDeposit("BANK 1", "100"))
		r.refused(err, 409, "bankReference")
		dollars := r.newDeposit("BANK 1", "7.50")
		dollars.Currency = "USD"
		must(r, r.AddDeposit, dollars)
		foreign := r.newDeposit("BANK 2", "1")
		foreign.AppID = "third"
		_, err = r.AddDeposit(r.Context(), foreign)
		r.refused(err, 404)
		_, err = r.AddDeposit(r.Context(), NewDeposit{Currency: "CNH", Amount: "1.001", BankReference: " x", ValueDate: "2026-02-30"})
		r.refused(err, 422, "reference", "reason", "amount", "bankReference", "valueDate", "payer")
		_, err = r.AddDeposit(r.Context(), NewDeposit{Act: r.act(), AppID: testApp, BankReference: "x", ValueDate: "2026-02-28", Payer: "x"})
		r.refused(err, 422, "currency", "amount")
		for _, amount := range []string{"0", "-1", "1e3", "1234567890123"} {
			_, err = r.AddDeposit(r.Context(), r.newDeposit("BANK 3", amount))
			r.refused(err, 422, "amount")
		}

		if got := must(r, r.Deposits, DepositsFilter{AppID: testApp, Currency: "CNH"}).Items; len(got) != 1 || got[0] != d {
			t.Errorf("list: %+v", got)
		}
		if got := must(r, r.Deposit, d.ID); got != d {
			t.Errorf("get: %+v", got)
		}
		_, err = r.Deposit(r.Context(), "999999")
		r.refused(err, 404)
		r.verify()
	})
}

func TestOneReferenceActsOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		n := r.newDeposit("BANK 1", "100")
		var same sync.Map
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				d, err := r.AddDeposit(r.Context(), n)
				if err != nil {
					t.Error(err)
				}
				same.Store(d, true)
			})
		}
		callers.Wait()
		answers := 0
		same.Range(func(any, any) bool { answers++; return true })
		if postings := must(r, r.Postings, PostingsFilter{}).Items; answers != 1 || len(postings) != 1 {
			t.Errorf("%d answers, %d postings", answers, len(postings))
		}
		r.verify()
	})
}

func TestReversal(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		d := must(r, r.AddDeposit, r.newDeposit("BANK 1", "60"))
		must(r, r.AddDeposit, r.newDeposit("BANK 2", "40"))
		r.confirmed("B-1", "S1")
		r.trades("T-1", "S1", "50.00")
		call[infinia.RevenueSharingReply](r, infinia.OpRevenueSharing, map[string]string{"requestNo": "R-1", "sellerId": "S1", "currency": "CNH", "amount": "50"})
		_, err := r.ReverseDeposit(r.Context(), d.ID, r.act()) // 100 less 50 held is less than 60
		if e := r.refused(err, 409); !strings.Contains(e.Detail, "shared or held already") {
			t.Errorf("refusal: %v", e)
		}
		must(r, r.AddDeposit, r.newDeposit("BANK 3", "10"))
		a := r.act()
		is, err := r.ReverseDeposit(r.Context(), d.ID, a)
		if err != nil || is.ReversedAt.IsZero() || is.Amount != "60.00" {
			t.Fatalf("reversed: %+v %v", is, err)
		}
		r.audited("deposit.reverse", d, is)
		if again, err := r.ReverseDeposit(r.Context(), d.ID, a); err != nil || again != is {
			t.Errorf("the same act again: %+v %v", again, err)
		}
		_, err = r.ReverseDeposit(r.Context(), d.ID, r.act())
		r.refused(err, 409)
		_, err = r.ReverseDeposit(r.Context(), "999999", r.act())
		r.refused(err, 404)
		last := must(r, r.Postings, PostingsFilter{Page{Most: 1}}).Items[0]
		if last.Purpose != "deposit-reversal" || last.RecordID != d.ID || last.From.Kind != "platform" || last.To.Kind != "external" || last.From.Balance != "50.00" {
			t.Errorf("posting: %+v", last)
		}
		r.verify()
	})
}

func TestLedger(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		for _, bank := range []string{"A", "B", "C", "D", "E"} {
			must(r, r.AddDeposit, r.newDeposit(bank, "10"))
		}
		accounts := must(r, r.Accounts, AccountsFilter{AppID: testApp, Kind: "platform"}).Items
		if len(accounts) != 1 || accounts[0].Balance != "50.00" || accounts[0].Available != "50.00" || accounts[0].Held != "0.00" || accounts[0].LastNo != 5 {
			t.Fatalf("accounts: %+v", accounts)
		}
		var numbers []int64
		page := Page{Most: 2}
		for {
			l := must2(r, r.PostingsOfAccount, accounts[0].ID, PostingsFilter{page})
			for _, p := range l.Items {
				numbers = append(numbers, p.To.No)
				if p.Currency != "CNH" || p.Amount != "10.00" || p.From.Kind != "external" || p.AppID != testApp {
					t.Errorf("posting: %+v", p)
				}
			}
			if page.Before = l.Next; l.Next == "" {
				break
			}
		}
		if diff := cmp.Diff([]int64{5, 4, 3, 2, 1}, numbers); diff != "" {
			t.Error(diff)
		}
		_, err := r.PostingsOfAccount(r.Context(), "999999", PostingsFilter{})
		r.refused(err, 404)
		if all := must(r, r.Postings, PostingsFilter{}).Items; len(all) != 5 || all[0].To.No != 5 {
			t.Errorf("postings: %+v", all)
		}
		v, err := r.Verify(r.Context())
		if err != nil || !v.Sound || v.Postings != 5 || v.Accounts != 2 {
			t.Errorf("verification: %+v %v", v, err)
		}
	})
}
