package sim

import "strings"

// bind is Account Binding. What it answers may hold a link, which the caller has to keep in the binding.
func (m *model) bind(a *modelApp, f map[string]string) answer {
	r, ans, known := m.again(a, bindingOp, f)
	s := a.seller(f["sellerId"])
	switch {
	case known && ans.code != "":
		return ans
	case known:
		return m.bindingAnswer(r.binding, r.binding.state == "AWAITING_SELLER" && m.now < r.binding.confirmBy)
	}
	a.requests[bindingOp+" "+f["requestNo"]] = r
	switch bound := s.bound(f["currency"]); {
	case !a.usable(f["currency"]):
		r.code = "BIZ-007"
	case s.boundUnderOther(f["sellerCertNo"]):
		r.code = "BIZ-008"
	case bound != nil:
		r.binding = bound
		return m.bindingAnswer(bound, false)
	}
	if r.code != "" {
		return answer{code: r.code}
	}
	for _, b := range s.bindings {
		if b.currency == f["currency"] && (b.state == "AWAITING_SELLER" || b.state == "AWAITING_REVIEW") {
			b.linkDead = true
			m.endBinding(b, "FAILED")
		}
	}
	if s.status == "" {
		s.status = "ACTIVE"
	}
	r.binding = &modelBinding{app: a, seller: f["sellerId"], currency: f["currency"], requestNo: f["requestNo"], cert: f["sellerCertNo"],
		state: "AWAITING_SELLER", confirmBy: m.now + a.set.confirmDays*86400_000}
	s.bindings = append(s.bindings, r.binding)
	a.bindings = append(a.bindings, r.binding)
	m.addTask("binding-expiry", &modelTask{due: r.binding.confirmBy, binding: r.binding})
	return m.bindingAnswer(r.binding, true)
}

// bindingAnswer tells the binding's state; with a fresh link, which kills the older one.
func (m *model) bindingAnswer(b *modelBinding, link bool) answer {
	m.touchedBindings = append(m.touchedBindings, b)
	text := b.seller + " " + bindingStatus(b.state)
	if link {
		text += " link"
		b.linkUntil = min(m.now+b.app.set.linkMinutes*60_000, b.confirmBy)
	}
	return answer{done, text}
}

func bindingStatus(state string) string {
	if strings.HasPrefix(state, "AWAITING") {
		return "PROCESSING"
	}
	return state
}

func (m *model) endBinding(b *modelBinding, state string) {
	b.state = state
	b.once = b.once || state == "SUCCESS"
	m.touchedBindings = append(m.touchedBindings, b)
	m.notify(b.app, b.seller, "binding", "")
}

// onPage is the seller's answer on the hosted page behind a link: confirm, or decline.
func (m *model) onPage(b *modelBinding, link string, confirm bool) string {
	switch {
	case b.linkDead || b.link != link:
		return "dead"
	case b.state != "AWAITING_SELLER":
		return "state"
	case m.now >= b.linkUntil:
		return "expired"
	case !confirm:
		m.endBinding(b, "FAILED")
		return "ok"
	}
	b.state = "AWAITING_REVIEW"
	m.touchedBindings = append(m.touchedBindings, b)
	if b.app.set.autoApprove {
		m.decide(b, "approve")
	}
	return "ok"
}

// decide is what an operator does to a binding; false when its state does not allow it.
func (m *model) decide(b *modelBinding, verb string) bool {
	from, to := "AWAITING_REVIEW", "SUCCESS"
	switch verb {
	case "reject":
		to = "FAILED"
	case "revoke":
		from, to = "SUCCESS", "REVOKED"
	}
	if b.state != from {
		return false
	}
	if verb == "approve" && b.app.seller(b.seller).boundUnderOther(b.cert) {
		to = "FAILED"
	}
	m.endBinding(b, to)
	return true
}

// expire ends a binding whose seller let the time pass.
func (m *model) expire(b *modelBinding) {
	if b.state == "AWAITING_SELLER" {
		b.linkDead = true
		m.endBinding(b, "FAILED")
	}
}
