package server

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

func (r *rig) wantShare(requestNo, amount string, status infinia.ShareStatus, refusal string) {
	r.t.Helper()
	gotStatus, gotRefusal := r.share(requestNo, amount)
	if gotStatus != status || gotRefusal != refusal {
		r.t.Errorf("share %s of %s: %q %q, want %q %q", requestNo, amount, gotStatus, gotRefusal, status, refusal)
	}
}

func TestShareIsHeldThenSettled(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{SettleDelayMillis: time.Hour.Milliseconds()})
		r.fund("2000.00", "5000.00")
		equal(t, "balance before", r.balance(), "5000.00 0.00")
		equal(t, "available before", r.available(), "2000.00 2000.00 0.00 0.00 0.00")
		r.wantShare("RSR-1", "1500.5", infinia.ShareProcessing, "")
		equal(t, "balance held", r.balance(), "3499.50 1500.50")
		equal(t, "available held", r.available(), "499.50 2000.00 0.00 1500.50 0.00")
		r.verify()
		r.DB.Clock.Advance(time.Hour)
		end := r.ended("RSR-1")
		equal(t, "status", end.Status, infinia.ShareSuccess)
		equal(t, "amount", end.Amount, "1500.50")
		equal(t, "balance after", r.balance(), "3499.50 0.00")
		equal(t, "available after", r.available(), "499.50 2000.00 1500.50 0.00 0.00")
		r.verify()
	})
}

func TestShareIsRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.wantShare("RSR-unbound", "1.00", "", "BIZ-003 sellerId")
		r.fund("2000.00", "1000.00")
		r.wantShare("RSR-balance", "1000.01", "", "BIZ-006 amount")
		r.wantShare("RSR-trades", "2000.01", "", "BIZ-005 amount")
		must(r.Admin.FreezeSeller(t.Context(), r.File.AppID, admin.SellerAct{Act: r.act(), SellerID: seller}))(t)
		r.wantShare("RSR-frozen", "1.00", "", "BIZ-004 sellerId")
		must(r.Admin.ResumeSeller(t.Context(), r.File.AppID, admin.SellerAct{Act: r.act(), SellerID: seller}))(t)
		equal(t, "balance", r.balance(), "1000.00 0.00")
		equal(t, "available", r.available(), "2000.00 2000.00 0.00 0.00 0.00")
		equal(t, "number of shares", len(r.shares()), 0)
		r.wantShare("RSR-good", "1000.00", infinia.ShareProcessing, "")
		equal(t, "status", r.ended("RSR-good").Status, infinia.ShareSuccess)
		r.verify()
	})
}

// A refusal is final: what it was refused for may be mended, the requestNo stays refused.
func TestRefusedShareStaysRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.fund("2000.00", "100.00")
		r.wantShare("RSR-1", "500.00", "", "BIZ-006 amount")
		r.deposit("1000.00")
		r.wantShare("RSR-1", "500.00", "", "BIZ-006 amount")
		rep := must(r.Client.RevenueSharingQuery(t.Context(), infinia.RevenueSharingQueryRequest{RequestNo: "RSR-1"}))(t)
		equal(t, "status", rep.Status, infinia.ShareFailed)
		equal(t, "failCode", rep.FailCode, infinia.OverBalance)
		equal(t, "balance", r.balance(), "1100.00 0.00")
		r.wantShare("RSR-2", "500.00", infinia.ShareProcessing, "")
		r.ended("RSR-2")
		r.verify()
	})
}

func TestFrozenBetweenAcceptanceAndSettlement(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{SettleDelayMillis: time.Hour.Milliseconds()})
		r.fund("2000.00", "1000.00")
		r.wantShare("RSR-1", "300.00", infinia.ShareProcessing, "")
		must(r.Admin.FreezeSeller(t.Context(), r.File.AppID, admin.SellerAct{Act: r.act(), SellerID: seller}))(t)
		r.DB.Clock.Advance(time.Hour)
		end := r.ended("RSR-1")
		equal(t, "status", end.Status, infinia.ShareFailed)
		equal(t, "failCode", end.FailCode, infinia.SellerFrozen)
		equal(t, "balance", r.balance(), "1000.00 0.00")
		equal(t, "available", r.available(), "2000.00 2000.00 0.00 0.00 0.00")
		must(r.Admin.ResumeSeller(t.Context(), r.File.AppID, admin.SellerAct{Act: r.act(), SellerID: seller}))(t)
		r.wantShare("RSR-1", "300.00", infinia.ShareFailed, "") // accepted once, ended for good
		equal(t, "balance after the repeat", r.balance(), "1000.00 0.00")
		r.verify()
	})
}

func TestSameRequestNoTwice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{SettleDelayMillis: time.Hour.Milliseconds()})
		r.fund("2000.00", "1000.00")
		r.wantShare("RSR-1", "300.00", infinia.ShareProcessing, "")
		r.wantShare("RSR-1", "300", infinia.ShareProcessing, "") // the same amount
		r.wantShare("RSR-1", "300.01", "", "BIZ-001 amount")
		equal(t, "balance", r.balance(), "700.00 300.00")
		r.DB.Clock.Advance(time.Hour)
		r.ended("RSR-1")
		r.wantShare("RSR-1", "300.00", infinia.ShareSuccess, "")
		r.wantShare("RSR-1", "299.99", "", "BIZ-001 amount")
		equal(t, "balance after", r.balance(), "700.00 0.00")
		equal(t, "number of shares", len(r.shares()), 1)
		r.verify()
	})
}

func TestReturnAfterTheShareWasUsed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.fund("1000.00", "5000.00")
		r.wantShare("RSR-1", "800.00", infinia.ShareProcessing, "")
		r.ended("RSR-1")
		equal(t, "file", r.file("TDU-return", sale(seller, "ORDER-fund", "-500.00")).Status, infinia.FileSuccess)
		equal(t, "available", r.available(), "0.00 500.00 800.00 0.00 300.00")
		r.wantShare("RSR-2", "0.01", "", "BIZ-005 amount")
		r.file("TDU-more", sale(seller, "ORDER-2", "300.00"))
		equal(t, "available when just covered", r.available(), "0.00 800.00 800.00 0.00 0.00")
		r.wantShare("RSR-3", "0.01", "", "BIZ-005 amount")
		r.file("TDU-yet-more", sale(seller, "ORDER-3", "0.01"))
		r.wantShare("RSR-4", "0.01", infinia.ShareProcessing, "")
		r.ended("RSR-4")
		r.verify()
	})
}

func TestManySharesOverABalanceThatCoversHalf(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.fund("2000.00", "1000.00")
		const calls = 200
		errs := make(chan error, calls)
		var callers sync.WaitGroup
		for i := range calls {
			callers.Go(func() {
				_, err := r.Client.RevenueSharing(t.Context(), infinia.RevenueSharingRequest{RequestNo: fmt.Sprintf("RSR-%d", i), SellerID: seller,
					Currency: currency, Amount: "10.00"})
				errs <- err
			})
		}
		callers.Wait()
		count := map[string]int{}
		for range calls {
			count[code(t, <-errs)]++
		}
		if count[""] != 100 || count["BIZ-006 amount"] != 100 {
			t.Errorf("refusals: %v, want half of the calls refused for the balance", count)
		}
		r.allEnded()
		equal(t, "balance", r.balance(), "0.00 0.00")
		equal(t, "available", r.available(), "1000.00 2000.00 1000.00 0.00 0.00")
		equal(t, "number of shares", len(r.shares()), 100)
		r.verify()
	})
}

func TestDepositIsReversedOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		r.fund("2000.00", "1000.00")
		wrong := r.deposit("500.00")
		r.wantShare("RSR-1", "1200.00", infinia.ShareProcessing, "")
		r.ended("RSR-1")
		if _, err := r.Admin.ReverseDeposit(t.Context(), wrong.ID, r.act()); !isStatus(err, 409) {
			t.Errorf("a reversal over the balance: %v", err)
		}
		equal(t, "balance", r.balance(), "300.00 0.00")
		r.deposit("200.00")
		must(r.Admin.ReverseDeposit(t.Context(), wrong.ID, r.act()))(t)
		equal(t, "balance after", r.balance(), "0.00 0.00")
		if _, err := r.Admin.ReverseDeposit(t.Context(), wrong.ID, r.act()); !isStatus(err, 409) {
			t.Errorf("a second reversal: %v", err)
		}
		r.verify()
	})
}
