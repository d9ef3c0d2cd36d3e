package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// operatorAct is what an operator did, to be done again.
type operatorAct struct {
	method, path string
	body         map[string]any
}

// operate does an act through the operator's API. do is what the model makes of it, if its reference is new; then it may
// look at the answer.
func (s *sim) operate(a operatorAct, do func() int, then func(answer []byte)) {
	text, err := json.Marshal(a.body)
	s.must("act", err)
	status, body := s.node().act(s.ctx, a.method, a.path, a.body)
	reference := a.body["reference"].(string)
	lost := s.fired() && status >= 500
	if lost && s.engine == storetest.SQLite { // it may not even have begun, see open
		s.noAnswer(a.path+" "+reference, false)
		return
	}
	want, repeated := s.m.act(reference, a.method+a.path+string(text), do)
	if lost { // what is repeated or refused leaves no evidence
		s.noAnswer(a.path+" "+reference, want == http.StatusOK && !repeated)
		return
	}
	s.say("%s %s = %d", a.path, text, status)
	s.same(a.path, status, want)
	s.counts[fmt.Sprintf("  acts answered %d", status)]++
	if status != http.StatusOK {
		return
	}
	if repeated {
		s.counts["  acts repeated"]++
		s.same("the answer of an act that is repeated", string(body), s.m.acts[reference].answer)
		return
	}
	s.m.acts[reference].answer = string(body)
	s.acts = append(s.acts, a)
	if then != nil {
		then(body)
	}
}

func (s *sim) newAct(method, path string, members map[string]any) operatorAct {
	body := map[string]any{"reference": s.number("A"), "reason": "simulated"}
	maps.Copy(body, members)
	return operatorAct{method, path, body}
}

func (s *sim) deposit() {
	a := s.app()
	currency := s.currency(a)
	amount := 1 + s.rng.Int64N(300_000)
	reference := s.number("BANK")
	if len(s.m.deposits) > 0 && s.chance(10) {
		d := recent(s, s.m.deposits)
		reference, currency = d.reference, d.currency
	}
	act := s.newAct(http.MethodPost, "/deposits", map[string]any{"appId": a.name, "currency": currency, "amount": decimal(amount, currency),
		"bankReference": reference, "valueDate": "2026-03-01", "payer": "Platform Ltd."})
	var made *modelDeposit
	s.operate(act, func() int {
		var ok bool
		if made, ok = s.m.deposit(a, currency, reference, amount); !ok {
			return http.StatusConflict
		}
		return http.StatusOK
	}, func(answer []byte) { made.id = s.idIn(answer) })
}

func (s *sim) idIn(answer []byte) int64 {
	var a struct{ ID string }
	s.must("answer", json.Unmarshal(answer, &a))
	id, err := strconv.ParseInt(a.ID, 10, 64)
	s.must("id", err)
	return id
}

func (s *sim) reverse() {
	if len(s.m.deposits) == 0 {
		return
	}
	d := recent(s, s.m.deposits)
	s.operate(s.newAct(http.MethodPost, fmt.Sprintf("/deposits/%d/reverse", d.id), nil), func() int {
		s.m.touchedPurses = append(s.m.touchedPurses, touched{d.app, "", d.currency})
		return okOr409(s.m.reverse(d))
	}, nil)
}

func okOr409(ok bool) int {
	if ok {
		return http.StatusOK
	}
	return http.StatusConflict
}

// decide is an operator's word on a binding, mostly one that waits for it.
func (s *sim) decide() {
	a := s.app()
	if len(a.bindings) == 0 {
		return
	}
	b, verb := recent(s, a.bindings), "approve"
	for range 20 {
		if b.state == "AWAITING_REVIEW" {
			break
		}
		b = recent(s, a.bindings)
	}
	switch s.rng.IntN(12) {
	case 0:
		verb = "reject"
	case 1:
		b, verb = recent(s, a.bindings), "revoke"
	}
	s.operate(s.newAct(http.MethodPost, fmt.Sprintf("/bindings/%d/%s", b.id, verb), nil), func() int { return okOr409(s.m.decide(b, verb)) }, nil)
}

// freeze stops a seller or lets one go on, through the operator's API.
func (s *sim) freeze() {
	a := s.app()
	seller, verb, status := s.toFreeze(a)
	s.operate(s.newAct(http.MethodPost, "/apps/"+a.name+"/sellers/"+verb, map[string]any{"sellerId": seller}),
		func() int { return s.m.setStatus(a, seller, status) }, nil)
}

func (s *sim) toFreeze(a *modelApp) (seller, verb, status string) {
	seller = s.sellerAgain(a)
	for range 5 { // mostly there is one to resume, so that few are frozen at a time
		if a.seller(seller).status != "FROZEN" {
			seller = s.seller(a)
		}
	}
	if (a.seller(seller).status == "FROZEN") != s.chance(10) {
		return seller, "resume", "ACTIVE"
	}
	return seller, "freeze", "FROZEN"
}

// freezeUnit is the same act as a unit, to be in a group with calls.
func (s *sim) freezeUnit() (u store.Unit, then func(err error, lost bool)) {
	a := s.app()
	seller, _, status := s.toFreeze(a)
	k := store.SellerKey{AppID: a.name, SellerID: seller}
	u = store.Unit{Name: "freeze", Keys: store.Keys{Apps: []string{a.name}, Sellers: []store.SellerKey{k}, Events: []store.SellerKey{k}},
		Judge: func(v *store.View) error { return op.SetSellerStatus(v, k, infinia.SellerStatus(status)) }}
	return u, func(err error, lost bool) {
		if lost {
			if s.noAnswer(seller+" "+status, false); s.stands {
				s.m.setStatus(a, seller, status)
			}
			return
		}
		is := http.StatusOK
		switch _, refused := errors.AsType[*infinia.Error](err); {
		case refused:
			is = http.StatusNotFound
		case errors.Is(err, op.ErrState):
			is = http.StatusConflict
		default:
			s.must("freeze", err)
		}
		s.say("%s %s %s = %d;", a.name, seller, status, is)
		s.same("freeze in a group", is, s.m.setStatus(a, seller, status))
	}
}

// actAgain is an act that was done before under its reference, with the same content or another.
func (s *sim) actAgain() {
	if len(s.acts) == 0 {
		return
	}
	was := recent(s, s.acts)
	a := operatorAct{was.method, was.path, maps.Clone(was.body)}
	if s.chance(3) {
		a.body["reason"] = "another"
	}
	s.operate(a, func() int { s.fail("the reference is new"); return 0 }, nil)
}

// settings is an operator's change of what an app may do; the calls and files that follow are judged by it.
func (s *sim) settings() {
	a := s.app()
	set := a.set
	switch s.rng.IntN(5) {
	case 0:
		set.cap = pick(s, []int64{10000, 10000, 8000, 7777, 5000})
	case 1:
		set.autoApprove = !set.autoApprove
	case 2:
		set.partial = !set.partial
	case 3:
		set.ignoreUnshipped = !set.ignoreUnshipped
	case 4:
		set.delay = pick(s, []int64{0, 1000, 60_000})
	}
	s.operate(s.newAct(http.MethodPut, "/apps/"+a.name+"/settings", map[string]any{"settings": set.stored()}),
		func() int { a.set = set; return http.StatusOK }, nil)
}

// stored is the settings as the product has them.
func (set modelSettings) stored() store.Settings {
	texts := func(limits map[string]int64) map[string]string {
		out := map[string]string{}
		for currency, limit := range limits {
			out[currency] = decimal(limit, currency)
		}
		return out
	}
	return store.Settings{Currencies: set.currencies, Zone: set.zone, CapBasisPoints: &set.cap, IgnoreUnshipped: set.ignoreUnshipped,
		AcceptPartial: set.partial, AutoApprove: set.autoApprove, LinkMinutes: set.linkMinutes, ConfirmDays: set.confirmDays,
		SettleDelayMillis: set.delay, LimitPerShare: texts(set.limitShare), LimitPerSellerDay: texts(set.limitSellerDay),
		LimitPerDay: texts(set.limitAppDay), CallbackURL: set.callback, Events: set.events}
}

// addApps makes the apps, each of another kind, with their first sellers.
func (s *sim) addApps() {
	for _, app := range []struct {
		name string
		set  modelSettings
	}{
		{"ape", modelSettings{zone: "", cap: 10000, linkMinutes: 30, confirmDays: 7, callback: "http://ape.example.com/hook"}},
		{"bee", modelSettings{zone: "America/New_York", cap: 8000, linkMinutes: 30, confirmDays: 2, delay: 2000, autoApprove: true, partial: true,
			ignoreUnshipped: true, limitShare: map[string]int64{"CNH": 50_000}, limitSellerDay: map[string]int64{"CNH": 60_000, "JPY": 20_000},
			limitAppDay: map[string]int64{"USD": 200_000, "CNH": 900_000}, callback: "http://bee.example.com/hook?token=1", events: []string{"file"}}},
		{"cat", modelSettings{zone: "-03:30", cap: 9999, linkMinutes: 5, confirmDays: 1, delay: 60_000, currencies: []string{"CNH"},
			limitSellerDay: map[string]int64{"CNH": 80_000}, callback: "http://cat.example.com/hook", events: []string{"binding", "share"}}},
	} {
		a := newModelApp(app.name, app.set)
		s.m.apps = append(s.m.apps, a)
		s.must("app", s.addApp(a.name, a.set.stored()))
		s.must("endpoint", s.endpoint(a.name, func(n infinia.Notification) { s.hear(a, n) }))
		for range 8 {
			s.sellers[a] = append(s.sellers[a], s.number("S"))
		}
	}
}

// newSeller takes the place of an active one, so that no seller's history grows for ever.
func (s *sim) newSeller() {
	a := s.app()
	i := s.rng.IntN(len(s.sellers[a]))
	old := s.sellers[a][i]
	s.past[a] = append(s.past[a], old)
	s.sellers[a][i] = s.number("S")
	s.say("%s %s for %s", a.name, s.sellers[a][i], old)
}
