package admin

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

func TestSellers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{CallbackURL: "http://127.0.0.1:9/"})
		const odd = "S/1 ?%2F\u5546"
		r.confirmed("B-1", odd)
		r.confirmed("B-2", "S2")
		was := must(r, r.Sellers, SellersFilter{SellerID: odd}).Items[0]
		a := SellerAct{r.act(), odd}
		is := must2(r, r.FreezeSeller, testApp, a)
		if is.Status != "FROZEN" || is.SellerID != odd {
			t.Errorf("frozen: %+v", is)
		}
		r.audited("seller.freeze", was, is)
		if again := must2(r, r.FreezeSeller, testApp, a); again != is {
			t.Errorf("the same act again: %+v", again)
		}
		if n := len(must(r, r.Deliveries, DeliveriesFilter{}).Items); n != 1 {
			t.Errorf("%d webhooks after one freeze", n)
		}
		_, err := r.FreezeSeller(r.Context(), testApp, SellerAct{a.Act, "S2"})
		r.refused(err, 409, "reference")
		_, err = r.FreezeSeller(r.Context(), testApp, SellerAct{r.act(), odd})
		r.refused(err, 409)
		_, err = r.ResumeSeller(r.Context(), testApp, SellerAct{r.act(), "S3"})
		r.refused(err, 404, "sellerId")
		_, err = r.ResumeSeller(r.Context(), "third", SellerAct{r.act(), odd})
		r.refused(err, 404)
		_, err = r.ResumeSeller(r.Context(), testApp, SellerAct{Act: r.act()})
		r.refused(err, 422, "sellerId")
		if frozen := must(r, r.Sellers, SellersFilter{AppID: testApp, Status: "FROZEN"}).Items; len(frozen) != 1 || frozen[0] != is {
			t.Errorf("list of frozen: %+v", frozen)
		}
		_, err = r.Sellers(r.Context(), SellersFilter{Status: "BLUE"})
		r.refused(err, 422, "status")
		if is = must2(r, r.ResumeSeller, testApp, SellerAct{r.act(), odd}); is.Status != "ACTIVE" {
			t.Errorf("resumed: %+v", is)
		}
	})
}

func TestBindings(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		id := r.confirmed("B-1", "S1")
		d := must(r, r.Binding, id)
		if d.State != op.BindingAwaitingReview || d.Consent == nil || d.Consent.Address != "192.0.2.7" || d.SellerCertNo != "CERT-S1" {
			t.Fatalf("in review: %+v", d)
		}
		a := r.act()
		is := must2(r, r.ApproveBinding, id, a)
		if is.State != op.BindingSuccess || is.BoundAt.IsZero() {
			t.Errorf("approved: %+v", is)
		}
		r.audited("binding.approve", d.Binding, is)
		if again := must2(r, r.ApproveBinding, id, a); again != is {
			t.Errorf("the same act again: %+v", again)
		}
		_, err := r.RejectBinding(r.Context(), id, a)
		r.refused(err, 409, "reference")
		for _, refuse := range []func(context.Context, ID, Act) (Binding, error){r.ApproveBinding, r.RejectBinding} {
			_, err := refuse(r.Context(), id, r.act())
			r.refused(err, 409)
			_, err = refuse(r.Context(), "999999", r.act())
			r.refused(err, 404)
		}
		was := is
		if is = must2(r, r.RevokeBinding, id, r.act()); is.State != op.BindingRevoked || is.FailReason != "revoked: because of the test" {
			t.Errorf("revoked: %+v", is)
		}
		r.audited("binding.revoke", was, is)
		_, err = r.RevokeBinding(r.Context(), id, r.act())
		r.refused(err, 409)

		second := r.confirmed("B-2", "S2")
		if is = must2(r, r.RejectBinding, second, r.act()); is.State != op.BindingFailed || is.FailReason != "rejected: because of the test" {
			t.Errorf("rejected: %+v", is)
		}
		if got := must(r, r.Bindings, BindingsFilter{AppID: testApp, SellerID: "S2", State: "FAILED"}).Items; len(got) != 1 || got[0] != is {
			t.Errorf("list: %+v", got)
		}
		r.verify()
	})
}

func TestDeliveries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{CallbackURL: "http://127.0.0.1:9/"})
		r.confirmed("B-1", "S1")
		freeze := func() ID {
			must2(r, r.FreezeSeller, testApp, SellerAct{r.act(), "S1"})
			return must(r, r.Deliveries, DeliveriesFilter{AppID: testApp, SellerID: "S1"}).Items[0].ID
		}
		id := freeze()
		_, err := r.ReplayDelivery(r.Context(), id, r.act()) // it is still to be sent
		r.refused(err, 409)
		hooks := outbox.NewWebhooks(r.e.DB, outbox.WebhookConfig{AllowPrivate: true, RetryAfter: nil})
		for range 6 { // without a client key each try fails
			r.due(outbox.WebhookQueue(testApp), outbox.Each(hooks.Deliver))
			r.e.DB.Clock.Advance(hours(6))
		}
		dead := must(r, r.Delivery, id)
		if dead.State != outbox.Dead || len(dead.Tries) != 6 || dead.Tries[0].Fault == "" {
			t.Fatalf("dead: %+v", dead)
		}
		var content map[string]string
		if err := json.Unmarshal(dead.Content, &content); err != nil || content["status"] != "FROZEN" {
			t.Errorf("content: %s", dead.Content)
		}
		a := r.act()
		is := must2(r, r.ReplayDelivery, id, a)
		if is.State != outbox.Pending || is.RequestNo != dead.RequestNo {
			t.Errorf("replayed: %+v", is)
		}
		r.audited("delivery.replay", dead.Delivery, is)
		if diff := cmp.Diff(is, must2(r, r.ReplayDelivery, id, a)); diff != "" {
			t.Errorf("the same act again: %s", diff)
		}
		must2(r, r.ResumeSeller, testApp, SellerAct{r.act(), "S1"})
		_, err = r.ReplayDelivery(r.Context(), id, r.act()) // superseded
		r.refused(err, 409)
		_, err = r.Delivery(r.Context(), "999999")
		r.refused(err, 404)
		_, err = r.ReplayDelivery(r.Context(), "999999", r.act())
		r.refused(err, 404)
	})
}

func TestAudit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		bob := NewClient(r.url, "token-of-bob", nil)
		if _, err := bob.DisableApp(r.Context(), testApp, Act{Reference: "BOB-1", Reason: "no more"}); err != nil {
			t.Fatal(err)
		}
		got := must(r, r.Audits, AuditsFilter{AppID: testApp, Act: "app.disable"}).Items
		if len(got) != 1 || got[0].Actor != "bob" || got[0].Reference != "BOB-1" || got[0].Reason != "no more" || got[0].Subject != "app demo" {
			t.Errorf("audit: %+v", got)
		}
		if all := must(r, r.Audits, AuditsFilter{}).Items; len(all) != 2 || all[1].Act != "app.add" {
			t.Errorf("all: %+v", all)
		}
	})
}

func TestCalls(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		if err := r.e.DB.Do(r.Context(), store.Unit{Judge: func(v *store.View) error {
			for _, no := range []string{"R-1", "R-2"} {
				v.AddCall(pgdb.Call{ID: v.NextID(), TraceID: "t", AppID: testApp, Operation: "revenue-sharing/request", RequestNo: no, Code: "SUC-200", TookUS: 7, At: v.Now()})
			}
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		got := must(r, r.Calls, CallsFilter{AppID: testApp, RequestNo: "R-2", Code: string(infinia.Success), Operation: "revenue-sharing/request"}).Items
		if len(got) != 1 || got[0].RequestNo != "R-2" || got[0].TookMicros != 7 || got[0].At.IsZero() {
			t.Errorf("calls: %+v", got)
		}
	})
}
