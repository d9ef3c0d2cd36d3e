package op

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// drawn reads the arrows of a state drawing, the comment that begins with title in file.
func drawn(t *testing.T, file, title string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "// "+title) // the rest of its line follows
	if !ok {
		t.Fatalf("%s has no drawing %q", file, title)
	}
	arrows := map[string]bool{}
	for line := range strings.Lines("//" + after) {
		if !strings.HasPrefix(line, "//") {
			break
		}
		if m := regexp.MustCompile(`//\t(\w+) -> (\w+)`).FindStringSubmatch(line); m != nil {
			arrows[m[1]+" -> "+m[2]] = true
		}
	}
	return arrows
}

func compareArrows(t *testing.T, drawn, seen map[string]bool) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(drawn)), slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("drawn (-) and seen (+):\n%s", diff)
	}
}

// TestBindingStates tries every act on a binding in every state; the changes seen are those that are drawn.
func TestBindingStates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		acts := map[string]func(b pgdb.Binding, link string){
			"confirm": func(_ pgdb.Binding, link string) { _, _ = r.e.Confirm(t.Context(), link, Consent{}) },
			"decline": func(_ pgdb.Binding, link string) { _, _ = r.e.Decline(t.Context(), link) },
			"approve": func(b pgdb.Binding, _ string) {
				r.tryBinding(b, func(v *store.View, b pgdb.Binding) error { _, err := Approve(v, b); return err })
			},
			"reject": func(b pgdb.Binding, _ string) {
				r.tryBinding(b, func(v *store.View, b pgdb.Binding) error { return Reject(v, b, "no") })
			},
			"revoke": func(b pgdb.Binding, _ string) {
				r.tryBinding(b, func(v *store.View, b pgdb.Binding) error { return Revoke(v, b, "no") })
			},
			"supersede": func(b pgdb.Binding, _ string) {
				r.call(infinia.OpAccountBinding, bindingOf("later-"+b.RequestNo, b.SellerID, b.Currency))
			},
			"expire": func(b pgdb.Binding, _ string) {
				r.now = r.now.Add(8 * 24 * time.Hour)
				r.expire()
			},
		}
		reach := map[string][]string{
			BindingAwaitingSeller: nil, BindingAwaitingReview: {"confirm"}, BindingSuccess: {"confirm", "approve"},
			BindingFailed: {"decline"}, BindingRevoked: {"confirm", "approve", "revoke"},
		}
		seen := map[string]bool{}
		for state, path := range reach {
			for name, act := range acts {
				number := fmt.Sprintf("%s-%s", state, name)
				rep := must[infinia.AccountBindingReply](r, infinia.OpAccountBinding, bindingOf(number, number, "CNH"))
				link := rep.RedirectURL[len("http://127.0.0.1/b/"):]
				for _, step := range path {
					acts[step](r.binding(number), link)
				}
				before := r.binding(number)
				if before.State != state {
					t.Fatalf("%s: binding is %s", number, before.State)
				}
				act(before, link)
				if after := r.binding(number); after.State != before.State {
					seen[before.State+" -> "+after.State] = true
				}
			}
		}
		compareArrows(t, drawn(t, "binding.go", "The states of a binding:"), seen)
	})
}

func (r *rig) binding(requestNo string) (b pgdb.Binding) {
	r.Helper()
	if err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) error {
		req, err := q.GetRequest(r.Context(), pgdb.GetRequestParams{AppID: testApp, Operation: string(infinia.OpAccountBinding), RequestNo: requestNo})
		if err != nil {
			return err
		}
		b, err = q.GetBinding(r.Context(), req.RecordID)
		return err
	}); err != nil {
		r.Fatal(err)
	}
	return b
}

// tryBinding acts on a binding; the act may be refused.
func (r *rig) tryBinding(b pgdb.Binding, act func(*store.View, pgdb.Binding) error) {
	_ = r.e.DB.Do(r.Context(), store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{{AppID: testApp, SellerID: b.SellerID}}},
		Judge: func(v *store.View) error { return act(v, b) }})
}

func (r *rig) expire() {
	r.Helper()
	var tasks []pgdb.Task
	if err := r.e.DB.Read(r.Context(), func(q *pgdb.Queries) (err error) {
		tasks, err = q.ListDueTasks(r.Context(), pgdb.ListDueTasksParams{Queue: ExpiryQueue, Now: store.Millis(r.now), Most: 1000})
		return err
	}); err != nil {
		r.Fatal(err)
	}
	for _, t := range tasks {
		if err := r.e.ExpireBinding(r.Context(), t); err != nil {
			r.Fatal(err)
		}
	}
}

// TestShareStates settles shares under every condition, and again afterwards.
func TestShareStates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.deposit("CNH", 100_00)
		seen := map[string]bool{}
		state := func(requestNo string) (s pgdb.Share) {
			if err := r.e.DB.Read(t.Context(), func(q *pgdb.Queries) error {
				req, err := q.GetRequest(t.Context(), pgdb.GetRequestParams{AppID: testApp, Operation: string(sharing), RequestNo: requestNo})
				if err != nil {
					return err
				}
				s, err = q.GetShare(t.Context(), req.RecordID)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return s
		}
		for _, seller := range []string{"fine", "frozen"} {
			r.bind(seller, "CNH")
			r.file(seller, "CNH", 50_00, 0)
			must[infinia.RevenueSharingReply](r, sharing, shareOf(seller, seller, "CNH", "10"))
			before := state(seller)
			if seller == "frozen" {
				r.setSeller(seller, infinia.SellerIsFrozen)
			}
			r.settle()
			after := state(seller)
			seen[before.State+" -> "+after.State] = true
			// A settlement that is done a second time changes nothing.
			if err := errors.Join(r.e.Settle(t.Context(), []pgdb.Task{{ID: 1 << 40, Queue: SettleQueue, RecordID: after.ID}})...); err != nil {
				t.Fatal(err)
			}
			if again := state(seller); again != after {
				t.Errorf("settled twice: %+v, then %+v", after, again)
			}
		}
		compareArrows(t, drawn(t, "revenue_sharing.go", "The states of a share:"), seen)
		r.verify()
	})
}

// TestSellerStates freezes and resumes in every state.
func TestSellerStates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := newRig(t, engine, store.Settings{})
		r.bind("S", "CNH")
		k := store.SellerKey{AppID: testApp, SellerID: "S"}
		seen := map[string]bool{}
		for _, state := range []infinia.SellerStatus{infinia.SellerActive, infinia.SellerIsFrozen} {
			for _, to := range []infinia.SellerStatus{infinia.SellerActive, infinia.SellerIsFrozen} {
				var before, after pgdb.Seller
				r.do(store.Unit{Keys: store.Keys{Apps: []string{testApp}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}}, Judge: func(v *store.View) error {
					before, _ = v.Sellers.Get(k)
					before.Status = string(state)
					v.Sellers.Put(k, before)
					_ = SetSellerStatus(v, k, to) // refused where it is so already
					after, _ = v.Sellers.Get(k)
					return nil
				}})
				if before.Status != after.Status {
					seen[before.Status+" -> "+after.Status] = true
				}
			}
		}
		compareArrows(t, drawn(t, "seller.go", "The states of a seller,"), seen)
	})
}
