package sim

import (
	"errors"
	"slices"
	"strings"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

const (
	bindingOp = "account-binding/request"
	shareOp   = "revenue-sharing/request"
)

// call is a changing request of an app.
type call struct {
	app    *modelApp
	op     string
	fields map[string]string
}

func (c call) String() string {
	text := c.app.name
	for _, name := range []string{"requestNo", "sellerId", "currency", "amount", "sellerCertNo", "note"} {
		if c.fields[name] != "" {
			text += " " + c.fields[name]
		}
	}
	return text
}

func members(fields map[string]string) op.Content {
	c := op.Content{}
	for k, v := range fields {
		c[k] = &v
	}
	return c
}

func operation(name string) op.Operation {
	i := slices.IndexFunc(op.All, func(o op.Operation) bool { return string(o.Name) == name })
	return op.All[i]
}

// app is one that is busy more often than not; at the end, each in turn.
func (s *sim) app() *modelApp {
	if s.calm {
		return s.m.apps[s.round%len(s.m.apps)]
	}
	return s.m.apps[[]int{0, 0, 0, 0, 0, 0, 1, 1, 1, 2}[s.rng.IntN(10)]]
}

// node is mostly another one than that of the step before, which carries what it has loaded and does not know of this step.
func (s *sim) node() *node { return pick(s, s.nodes) }

// seller is mostly one who is active, now and then one who was, or nobody.
func (s *sim) seller(a *modelApp) string {
	switch s.rng.IntN(40) {
	case 0:
		if len(s.past[a]) > 0 {
			return pick(s, s.past[a])
		}
	case 1:
		return "nobody"
	}
	return pick(s, s.sellers[a])
}

// sellerAgain is often the one of the latest share, whom the node that made it knows as it left them.
func (s *sim) sellerAgain(a *modelApp) string {
	if s.latest[a] != "" && s.chance(3) {
		return s.latest[a]
	}
	return s.seller(a)
}

func (s *sim) currency(a *modelApp) string {
	if len(a.set.currencies) > 0 && !s.chance(20) {
		return pick(s, a.set.currencies)
	}
	return pick(s, []string{"CNH", "CNH", "USD", "JPY"})
}

func (s *sim) newShare() call {
	a := s.app()
	seller, currency := s.sellerAgain(a), s.currency(a)
	for range 4 { // rather one who can get something
		if _, _, _, _, available, _ := a.entitled(seller, currency); available == 0 || a.seller(seller).bound(currency) == nil {
			seller, currency = s.seller(a), s.currency(a)
		}
	}
	s.latest[a] = seller
	_, _, _, _, available, _ := a.entitled(seller, currency)
	amount := 1 + s.rng.Int64N(max(1, available/4))
	switch s.rng.IntN(12) {
	case 0:
		amount = max(1, available+s.rng.Int64N(3)-1) // around the edge
	case 1:
		amount = 1 + s.rng.Int64N(1_000_000)
	case 2, 3: // around the edge of a limit
		day := currency + " " + a.day(s.m.now)
		left := []int64{a.set.limitShare[currency], a.set.limitSellerDay[currency] - a.accepted[day+" "+seller], a.set.limitAppDay[currency] - a.accepted[day]}
		amount = max(1, min(pick(s, left), available)+s.rng.Int64N(2))
	}
	f := map[string]string{"requestNo": s.number("R"), "sellerId": seller, "currency": currency, "amount": decimal(amount, currency)}
	if s.chance(10) {
		f["note"] = "for March"
	}
	return call{a, shareOp, f}
}

func (s *sim) newBinding() call {
	a := s.app()
	seller, currency := s.seller(a), s.currency(a)
	for range 3 { // rather one who is not bound yet
		if a.seller(seller).bound(currency) != nil {
			seller, currency = s.seller(a), s.currency(a)
		}
	}
	f := map[string]string{"requestNo": s.number("B"), "sellerId": seller, "sellerCertNo": "CERT-" + seller, "sellerName": "Acme Trading Ltd.",
		"storeName": "Acme", "storeUrl": "https://store.example.com/acme", "entityType": "Corporate", "country": "CHN", "currency": currency}
	if s.chance(12) {
		f["sellerCertNo"] = "CERT-OTHER"
	}
	return call{a, bindingOp, f}
}

// again is an earlier call once more, the same or with another content under its number.
func (s *sim) again() call {
	if len(s.calls) == 0 {
		return s.newShare()
	}
	was := recent(s, s.calls)
	c := call{was.app, was.op, map[string]string{}}
	for k, v := range was.fields {
		c.fields[k] = v
	}
	switch s.rng.IntN(8) {
	case 0:
		c.fields["note"] = "another"
	case 1:
		c.fields["sellerId"] = s.seller(c.app)
	case 2:
		if c.op == shareOp { // the same amount in another form
			whole, part, _ := strings.Cut(c.fields["amount"], ".")
			if c.fields["amount"] = whole; strings.Trim(part, "0") != "" {
				c.fields["amount"] += "." + part
			}
		}
	case 3:
		if c.op == shareOp {
			c.fields["amount"] = decimal(minor(c.fields["amount"], c.fields["currency"])+1, c.fields["currency"])
		} else {
			c.fields["sellerCertNo"] += "0"
		}
	}
	return c
}

// outcome is how a call ended, in the model's words.
func (s *sim) outcome(c call, rep any, err error) (is answer, link string) {
	if err != nil {
		e, ok := errors.AsType[*infinia.Error](err)
		if !ok {
			s.fail("%s: %v", c, err)
		}
		is.code = string(e.Code)
		if is.code == "BIZ-001" {
			var names []string
			for _, f := range e.Fields {
				names = append(names, f.Field)
			}
			slices.Sort(names)
			is.text = strings.Join(names, ",")
		}
		return is, ""
	}
	is.code = done
	switch rep := rep.(type) {
	case infinia.AccountBindingReply:
		is.text = rep.SellerID + " " + string(rep.Status)
		if link = strings.TrimPrefix(rep.RedirectURL, publicURL+"/b/"); link != "" {
			is.text += " link"
		}
	case infinia.RevenueSharingReply:
		is.text = strings.Join([]string{rep.RequestNo, rep.SellerID, rep.Currency, rep.Amount, string(rep.Status)}, " ")
	}
	return is, link
}

// apply has the model carry out what the engine has answered, and compares the two. lost says that no answer came.
func (s *sim) apply(c call, rep any, err error, lost bool) {
	known := c.app.requests[c.op+" "+c.fields["requestNo"]] != nil
	if lost {
		if s.noAnswer(c.String(), !known && errors.Is(err, store.ErrUnknown)); !s.stands {
			return
		}
	}
	do := s.m.share
	if c.op == bindingOp {
		do = s.m.bind
	}
	s.calls = append(s.calls, c)
	want := do(c.app, c.fields)
	if lost {
		if strings.HasSuffix(want.text, " link") { // which replaces the one before, and nobody knows
			c.app.requests[c.op+" "+c.fields["requestNo"]].binding.link = ""
		}
		return
	}
	is, token := s.outcome(c, rep, err)
	s.say("%s = %s;", c, is)
	s.same(c.String(), is, want)
	s.counts["  answered "+is.code]++
	if token != "" {
		b := c.app.requests[c.op+" "+c.fields["requestNo"]].binding
		b.link = token
		s.links = append(s.links, link{b, token})
	}
}

// make carries one call out.
func (s *sim) make(c call) {
	n := s.node()
	rep, err := operation(c.op).Run(s.ctx, n.engine, pgdb.App{AppID: c.app.name}, members(c.fields))
	s.apply(c, rep, err, s.lost(err))
}

// group hands several calls in at once, with freezes between them and, now and then, one unit that cannot be saved, so that
// all the others have to run again.
func (s *sim) group() {
	n := s.node()
	var units []store.Unit
	var after []func(err error, lost bool)
	var mine []call
	for range 2 + s.rng.IntN(14) {
		var c call
		switch s.rng.IntN(20) {
		case 0, 1:
			c = s.newBinding()
		case 2, 3:
			c = s.again()
		case 4:
			u, then := s.freezeUnit()
			units, after = append(units, u), append(after, then)
			continue
		case 5:
			if s.chance(3) {
				a := s.app().name
				units = append(units, store.Unit{Name: "poisoned", Keys: store.Keys{Apps: []string{a}}, Judge: func(v *store.View) error {
					app, _ := v.Apps.Get(a)
					v.Apps.Put(a, app) // a group may not change an app
					return nil
				}})
				after = append(after, func(err error, _ bool) {
					if err == nil {
						s.fail("a unit that cannot be saved was saved")
					}
					s.say("poisoned;")
				})
				s.counts["  groups that ran again one by one"]++
				continue
			}
			c = s.newShare()
		case 6:
			c = s.newShare()
			if len(mine) > 0 { // what is in this very group already
				c = pick(s, mine)
			}
		default:
			c = s.newShare()
		}
		mine = append(mine, c)
		for range 1 + s.rng.IntN(8)/7 { // some twice in a row
			u, outcome, err := operation(c.op).Prepare(n.engine, c.app.name, members(c.fields))
			s.must(c.String(), err)
			units = append(units, u)
			after = append(after, func(err error, lost bool) {
				var rep any
				if err == nil {
					rep, err = outcome()
				}
				s.apply(c, rep, err, lost)
			})
		}
	}
	errs := n.db.DoAll(s.ctx, units)
	failed := s.fired()
	for i, then := range after {
		then(errs[i], failed && s.open(errs[i]))
	}
	s.counts["  units in groups"] += len(units)
}

// spoiled is a call that is wrong in itself: it changes nothing and leaves its number free.
func (s *sim) spoiled() {
	c := s.newShare()
	want := "SYS-006"
	switch s.rng.IntN(8) {
	case 0:
		c.fields["amount"] = "0.00"
	case 1:
		c.fields["currency"], c.fields["amount"] = "JPY", "1.5"
	case 2:
		c.fields["currency"] = "XYZ"
	case 3:
		delete(c.fields, "sellerId")
		want = "SYS-004"
	case 4:
		c.fields["amount"], want = "ten", "SYS-005"
	case 5:
		c.fields["requestNo"], want = "-", "SYS-005"
	case 6:
		c.fields["amount"], want = "", "SYS-004"
	case 7:
		c.fields["sellerCertNo"], want = "CERT", "SYS-002" // of another operation
	}
	_, err := operation(c.op).Run(s.ctx, s.node().engine, pgdb.App{AppID: c.app.name}, members(c.fields))
	is, _ := s.outcome(c, nil, err)
	s.say("%s = %s", c, is)
	s.same(c.String(), is.code, want)
}

// link is a binding's link as its app once got it.
type link struct {
	binding *modelBinding
	token   string
}

// page is a seller's answer on the hosted page.
func (s *sim) page() {
	if len(s.links) == 0 {
		return
	}
	l := recent(s, s.links)
	for range 20 {
		if l.binding.state != "AWAITING_SELLER" || l.token != l.binding.link {
			l = recent(s, s.links)
		}
	}
	confirm := !s.chance(8)
	n := s.node()
	var err error
	if confirm {
		_, err = n.engine.Confirm(s.ctx, l.token, op.Consent{TextVersion: "1", Language: "en"})
	} else {
		_, err = n.engine.Decline(s.ctx, l.token)
	}
	if s.lost(err) {
		if s.noAnswer("page of "+l.binding.requestNo, false); s.stands {
			s.m.onPage(l.binding, l.token, confirm)
		}
		return
	}
	is := "ok"
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		is = map[infinia.Code]string{infinia.NotFound: "dead", infinia.Expired: "expired"}[e.Code]
	} else if errors.Is(err, op.ErrState) {
		is = "state"
	} else {
		s.must("page", err)
	}
	s.say("%s confirm=%t = %s", l.binding.requestNo, confirm, is)
	s.same("page of "+l.binding.requestNo, is, s.m.onPage(l.binding, l.token, confirm))
	s.counts["  page "+is]++
}
