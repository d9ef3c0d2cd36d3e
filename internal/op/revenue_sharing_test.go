package op

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

const sharing = infinia.OpRevenueSharing

func (r *rig) shareStatus(requestNo string) infinia.RevenueSharingQueryReply {
	r.Helper()
	return must[infinia.RevenueSharingQueryReply](r, infinia.OpRevenueSharingQuery, map[string]string{"requestNo": requestNo})
}

func (r *rig) setSeller(seller string, status infinia.SellerStatus) {
	r.Helper()
	k := store.SellerKey{AppID: testApp, SellerID: seller}
	r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
		Judge: func(v *store.View) error { return SetSellerStatus(v, k, status) }})
}

func TestSharing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.bind("S1", "CNH")
		r.deposit("CNH", 100_00)
		r.file("S1", "CNH", 60_00, 40_00)

		rep := must[infinia.RevenueSharingReply](r, sharing, shareOf("A", "S1", "CNH", "30"))
		if rep.Status != infinia.ShareProcessing || rep.Amount != "30.00" {
			t.Fatalf("accepted share: %+v", rep)
		}
		balance := must[infinia.AccountBalanceReply](r, infinia.OpAccountBalance, map[string]string{"currency": "CNH"})
		if balance != (infinia.AccountBalanceReply{Currency: "CNH", AvailableBalance: "70.00", FrozenBalance: "30.00", TotalBalance: "100.00"}) {
			t.Fatalf("balance while held: %+v", balance)
		}
		r.settle()
		if q := r.shareStatus("A"); q.Status != infinia.ShareSuccess || q.FinishTime == "" {
			t.Fatalf("settled share: %+v", q)
		}
		if again := must[infinia.RevenueSharingReply](r, sharing, shareOf("A", "S1", "CNH", "30.00")); again.Status != infinia.ShareSuccess {
			t.Fatalf("same content again: %+v", again)
		}
		r.refused(infinia.RequestNoReused, "amount", sharing, shareOf("A", "S1", "CNH", "31"))
		may := must[infinia.AvailableRevenueReply](r, infinia.OpAvailableRevenue, map[string]string{"sellerId": "S1", "currency": "CNH"})
		if may.AvailableAmount != "70.00" || may.TradeAmount != "100.00" || may.SharedAmount != "30.00" || may.ProcessingAmount != "0.00" {
			t.Fatalf("available: %+v", may)
		}
		r.verify()
	})
}

func TestSharingRefusals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{Currencies: []string{"CNH", "JPY"}, LimitPerShare: map[string]string{"CNH": "50"},
			LimitPerSellerDay: map[string]string{"CNH": "70"}, LimitPerDay: map[string]string{"CNH": "90"}})
		r.refused(infinia.CurrencyNotUsable, "currency", sharing, shareOf("1", "S1", "USD", "1"))
		r.refused(infinia.SellerNotBound, "sellerId", sharing, shareOf("2", "S1", "CNH", "1"))
		r.bind("S1", "CNH")
		r.bind("S2", "CNH")
		r.setSeller("S1", infinia.SellerIsFrozen)
		r.refused(infinia.SellerFrozen, "sellerId", sharing, shareOf("3", "S1", "CNH", "1"))
		r.setSeller("S1", infinia.SellerActive)
		r.refused(infinia.OverLimit, "amount", sharing, shareOf("4", "S1", "CNH", "50.01"))
		r.refused(infinia.OverAvailableShare, "amount", sharing, shareOf("5", "S1", "CNH", "1"))
		r.file("S1", "CNH", 1000_00, 0)
		r.file("S2", "CNH", 1000_00, 0)
		r.refused(infinia.OverBalance, "amount", sharing, shareOf("6", "S1", "CNH", "1"))
		r.deposit("CNH", 1000_00)
		r.refused(infinia.OverBalance, "amount", sharing, shareOf("6", "S1", "CNH", "1")) // a refusal is final
		if q := r.shareStatus("6"); q.Status != infinia.ShareFailed || q.FailCode != infinia.OverBalance {
			t.Fatalf("refused share: %+v", q)
		}
		must[infinia.RevenueSharingReply](r, sharing, shareOf("7", "S1", "CNH", "50"))
		r.refused(infinia.OverLimit, "amount", sharing, shareOf("8", "S1", "CNH", "20.01"))
		must[infinia.RevenueSharingReply](r, sharing, shareOf("9", "S1", "CNH", "20"))
		r.refused(infinia.OverLimit, "amount", sharing, shareOf("10", "S2", "CNH", "20.01"))
		must[infinia.RevenueSharingReply](r, sharing, shareOf("11", "S2", "CNH", "20"))
		r.settle()
		r.now = r.now.Add(24 * time.Hour)
		must[infinia.RevenueSharingReply](r, sharing, shareOf("12", "S2", "CNH", "50"))
		r.refused(infinia.NotFound, "requestNo", infinia.OpRevenueSharingQuery, map[string]string{"requestNo": "never"})
		r.settle()
		r.verify()
	})
}

func TestSettlementJudgesAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{SettleDelayMillis: 1000})
		r.deposit("CNH", 100_00)
		for _, s := range []string{"frozen", "revoked", "fine"} {
			r.bind(s, "CNH")
			r.file(s, "CNH", 10_00, 0)
			must[infinia.RevenueSharingReply](r, sharing, shareOf("share-"+s, s, "CNH", "10"))
		}
		r.settle() // nothing is due yet
		if q := r.shareStatus("share-fine"); q.Status != infinia.ShareProcessing {
			t.Fatalf("before its time: %+v", q)
		}
		r.setSeller("frozen", infinia.SellerIsFrozen)
		var bound pgdb.Binding
		if err := r.e.DB.Read(t.Context(), func(q *pgdb.Queries) error {
			all, err := q.ListBindingsOfSeller(t.Context(), pgdb.ListBindingsOfSellerParams{AppID: testApp, SellerID: "revoked"})
			bound = all[0]
			return err
		}); err != nil {
			t.Fatal(err)
		}
		r.onBinding(bound.ID, func(v *store.View, b pgdb.Binding) error { return Revoke(v, b, "wrong account") })
		r.file("fine", "CNH", -5_00, 0) // a return does not stop what is held
		r.now = r.now.Add(time.Minute)
		r.settle()
		for share, want := range map[string]infinia.RevenueSharingQueryReply{
			"share-frozen":  {Status: infinia.ShareFailed, FailCode: infinia.SellerFrozen},
			"share-revoked": {Status: infinia.ShareFailed, FailCode: infinia.SellerNotBound},
			"share-fine":    {Status: infinia.ShareSuccess},
		} {
			if q := r.shareStatus(share); q.Status != want.Status || q.FailCode != want.FailCode {
				t.Errorf("%s: %+v, want %+v", share, q, want)
			}
		}
		may := must[infinia.AvailableRevenueReply](r, infinia.OpAvailableRevenue, map[string]string{"sellerId": "fine", "currency": "CNH"})
		if may.AvailableAmount != "0.00" || may.OverSharedAmount != "5.00" {
			t.Errorf("after a return: %+v", may)
		}
		r.refused(infinia.OverAvailableShare, "amount", sharing, shareOf("more", "fine", "CNH", "0.01"))
		balance := must[infinia.AccountBalanceReply](r, infinia.OpAccountBalance, map[string]string{"currency": "CNH"})
		if balance.AvailableBalance != "90.00" || balance.FrozenBalance != "0.00" {
			t.Errorf("balance: %+v", balance)
		}
		r.verify()
	})
}

func TestConcurrentSharesOverABalance(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.bind("S1", "CNH")
		r.deposit("CNH", 100_00)
		r.file("S1", "CNH", 1000_00, 0)
		var accepted, over int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				_, err := r.try(sharing, shareOf(fmt.Sprintf("S-%d", i), "S1", "CNH", "1"))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					accepted++
				} else if e, ok := err.(*infinia.Error); ok && e.Code == infinia.OverBalance {
					over++
				} else {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if accepted != 100 || over != 100 {
			t.Errorf("%d accepted and %d over the balance, want 100 and 100", accepted, over)
		}
		r.settle()
		r.verify()
	})
}
