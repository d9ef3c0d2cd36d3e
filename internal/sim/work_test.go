package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/trade"
)

// dueTasks reads a queue's due tasks and holds them against the model: all that are due, and none else.
func (s *sim) dueTasks(n *node, queue string, most int) []pgdb.Task {
	tasks, err := n.due(s.ctx, queue, int32(most))
	s.must("read "+queue, err)
	s.same("due tasks of "+queue, len(tasks), min(most, s.m.due(queue)))
	for _, t := range tasks {
		if s.m.find(queue, t.RecordID, t.DueAt) == nil {
			s.fail("task %d of %s for record %d, due at %d, is not in the model", t.ID, queue, t.RecordID, t.DueAt)
		}
	}
	return tasks
}

// many is how many tasks a node reads at once.
func (s *sim) many(usually int) int {
	if s.calm {
		return 200
	}
	return usually
}

// readSettlements has a node read what is due and not do it yet; another may do the same, or have done it meanwhile.
func (s *sim) readSettlements() {
	n := s.node()
	n.hand["settle"] = append(n.hand["settle"], s.dueTasks(n, "settle", 1+s.rng.IntN(60))...)
	s.say("%d in hand", len(n.hand["settle"]))
}

// settleShares has a node do some of what it has read, in any order, at once.
func (s *sim) settleShares() {
	n := s.node()
	if len(n.hand["settle"]) == 0 {
		n.hand["settle"] = s.dueTasks(n, "settle", s.many(1+s.rng.IntN(60)))
	}
	hand := n.hand["settle"]
	s.rng.Shuffle(len(hand), func(i, j int) { hand[i], hand[j] = hand[j], hand[i] })
	many := len(hand)
	if many > 0 && !s.calm {
		many = 1 + s.rng.IntN(many)
	}
	tasks := slices.Clone(hand[:many])
	n.hand["settle"] = hand[many:]
	errs := n.engine.Settle(s.ctx, tasks)
	failed := s.fired()
	for i, t := range tasks {
		share := s.shares[t.RecordID]
		if failed && s.open(errs[i]) {
			if s.noAnswer("settle "+share.requestNo, false); !s.stands {
				s.m.touch(share)
				continue
			}
		} else {
			s.must("settle "+share.requestNo, errs[i])
		}
		if mine := s.m.find("settle", t.RecordID, t.DueAt); mine != nil {
			s.m.drop("settle", mine)
		} else {
			s.counts["  settlements that another node did"]++
		}
		s.m.settle(share)
		s.say("%s %s %s;", share.requestNo, share.state, share.failCode)
		s.counts["  settle "+share.state+" "+share.failCode]++
	}
}

// expire has a node end bindings that no seller confirmed, now and then one that another node has ended.
func (s *sim) expire() {
	n := s.node()
	for _, t := range s.dueTasks(n, "binding-expiry", s.many(5)) {
		mine := s.m.find("binding-expiry", t.RecordID, t.DueAt)
		for range 1 + s.rng.IntN(5)/4 {
			err := n.engine.ExpireBinding(s.ctx, t)
			if s.lost(err) {
				if s.noAnswer("expiry of "+mine.binding.requestNo, false); !s.stands {
					continue
				}
			} else {
				s.must("expire", err)
			}
			s.m.drop("binding-expiry", mine)
			s.m.expire(mine.binding)
			s.say("%s %s;", mine.binding.requestNo, mine.binding.state)
		}
	}
}

// upload is a trade file as an app sent it.
type upload struct {
	app       *modelApp
	requestNo string
	path      string
	text      []byte
	lines     []line
	broken    bool
}

// sendFile uploads a trade file: a new one, the same again, or another under a number that was used.
func (s *sim) sendFile() {
	a := s.app()
	rows := 1 + s.rng.IntN(7)
	if s.chance(60) {
		rows = 180 + s.rng.IntN(90) // more than go into one unit
	}
	u := upload{app: a, requestNo: s.number("F")}
	if len(s.uploads) > 0 && s.chance(6) {
		was := recent(s, s.uploads)
		u.app, u.requestNo = was.app, was.requestNo
		if s.chance(2) {
			u = was
		}
	}
	if u.text == nil {
		sellers := []string{s.seller(u.app), s.seller(u.app)}
		for i, seller := range sellers {
			if len(u.app.seller(seller).bindings) == 0 {
				sellers[i] = s.seller(u.app)
			}
		}
		u.text, u.lines, u.broken = s.clerk.file(u.app, sellers, rows, s.chance(3))
		u.path = filepath.Join("uploads", s.number("U"))
		s.must("upload", os.WriteFile(u.path, u.text, 0o600))
	}
	sum := sha256.Sum256(u.text)
	digest := hex.EncodeToString(sum[:])
	err := s.node().importer.Receive(s.ctx, u.app.name, u.requestNo, u.path, int64(len(u.text)), digest)
	if s.lost(err) {
		// What is new leaves evidence, so that this was one of its chunks; of the others only what is refused changes anything.
		if s.noAnswer(u.requestNo, false); !s.stands || s.m.wants(u.app, u.requestNo, digest) {
			return
		}
	} else {
		s.must("upload", err)
	}
	s.m.receive(u.app, u.requestNo, digest, u.path, u.lines, u.broken)
	s.uploads = append(s.uploads, u)
	s.say("%s %s %d rows, %s", u.app.name, u.requestNo, len(u.lines), digest[:8])
	s.compareFile(u.app.files[u.requestNo])
}

// importFile judges the next file of an app; now and then another node has read the same task.
func (s *sim) importFile() {
	n, a := s.node(), s.app()
	queue := "file/" + a.name
	for _, t := range s.dueTasks(n, queue, 1) {
		mine := s.m.find(queue, t.RecordID, t.DueAt)
		f := mine.file
		err := n.importer.Import(s.ctx, t)
		if s.lost(err) {
			if s.noAnswer(f.requestNo, false); s.remains(t) {
				return
			}
		} else {
			s.must("import", err)
		}
		s.m.drop(queue, mine)
		s.m.judge(f)
		s.say("%s %s %s of %d rows %d wrong", a.name, f.requestNo, f.state, f.total, f.rejected)
		s.counts["  files "+f.state]++
		s.compareFile(f)
		if s.chance(10) {
			if err := s.node().importer.Import(s.ctx, t); !s.fired() {
				s.must("import again", err)
			}
			s.compareFile(f)
		}
	}
}

// writeResults has a node write what an app finds of its file.
func (s *sim) writeResults() {
	n, a := s.node(), s.app()
	queue := "file-result/" + a.name
	for _, t := range s.dueTasks(n, queue, s.many(3)) {
		mine := s.m.find(queue, t.RecordID, t.DueAt)
		err := n.importer.WriteResults(s.ctx, t)
		f := mine.file
		if s.lost(err) {
			if s.noAnswer("results of "+f.requestNo, false); s.remains(t) {
				continue
			}
		} else {
			s.must("results", err)
		}
		s.m.drop(queue, mine)
		if !s.m.putResults(f) {
			continue
		}
		s.compareSummary(n, f)
		s.say("%s %s;", f.requestNo, f.state)
	}
}

// deliver has a node try the due webhooks of an app.
func (s *sim) deliver() {
	n, a := s.node(), pick(s, s.m.apps)
	if s.calm {
		a = s.app()
	}
	for _, t := range s.dueTasks(n, "webhook/"+a.name, s.many(4)) {
		s.try(n, a, t, !s.calm && s.chance(8))
	}
}

// try has a node try a webhook; what becomes of it is drawn. With meets, another node that has read the same task tries it
// while this one waits for the endpoint.
func (s *sim) try(n *node, a *modelApp, t pgdb.Task, meets bool) {
	queue := "webhook/" + a.name
	mine := s.m.find(queue, t.RecordID, t.DueAt)
	d := mine.delivery
	began, pending, called, taken := d.attempts, d.state == "PENDING", false, false
	ctx, crash := context.WithCancel(s.ctx)
	defer crash()
	fate := "taken"
	if !s.calm {
		fate = pick(s, []string{"taken", "taken", "taken", "taken", "taken", "status", "body", "refused", "hangs", "heard, no answer",
			"changes meanwhile, taken", "changes meanwhile, refused", "crash", "heard, crash"})
	}
	if s.down[a] && !s.calm {
		fate = pick(s, []string{"status", "body", "refused", "hangs", "heard, no answer"})
	}
	s.inFlight = d
	s.fate = func(hear func() *http.Response) (*http.Response, error) {
		called = true
		if meets {
			s.try(pick(s, s.nodes), a, t, false)
			s.inFlight = d
			s.counts["  webhooks that two nodes tried at once"]++
		}
		heardIt := func() *http.Response { taken = true; return hear() }
		if strings.HasPrefix(fate, "changes meanwhile") && d.event == "seller-status" {
			s.flip(a, d.seller)
		}
		switch fate {
		case "taken", "changes meanwhile, taken":
			return heardIt(), nil
		case "status":
			return &http.Response{StatusCode: http.StatusBadGateway, Body: io.NopCloser(strings.NewReader("SUCCESS"))}, nil
		case "body":
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("success\n"))}, nil
		case "hangs":
			return nil, os.ErrDeadlineExceeded
		case "heard, no answer":
			hear()
		case "crash":
			crash()
		case "heard, crash":
			hear()
			crash()
		}
		return nil, errors.New("connection reset")
	}
	err := n.webhooks.Deliver(ctx, t)
	crashed := ctx.Err() != nil
	s.same("a webhook is sent", called, pending)
	if crashed {
		s.say("%s %s lost;", d.event, fate)
		s.counts["  webhooks lost on the way"]++
		return
	}
	if s.lost(err) {
		if s.noAnswer(d.event+" "+fate, false); !s.stands {
			return
		}
	} else {
		s.must("deliver", err)
	}
	s.m.drop(queue, mine)
	if pending {
		s.m.tried(d, began, taken)
		s.counts["  webhook "+fate]++
	}
	s.say("%s %s %s %s;", d.event, d.seller, fate, d.state)
	s.counts["  webhook is "+d.state]++
}

// sweep has a node remove contents that nothing refers to and rows that no file names; now and then another has read the same
// task.
func (s *sim) sweep() {
	for _, queue := range []string{content.Queue, trade.RunQueue} {
		n := s.node()
		tasks, err := n.due(s.ctx, queue, int32(s.many(6)))
		s.must("read "+queue, err)
		for _, t := range tasks {
			for range 1 + s.rng.IntN(5)/4 {
				n, err := s.node(), error(nil)
				if queue == content.Queue {
					err = content.Sweep(s.ctx, n.db, t)
				} else {
					err = n.importer.SweepRun(s.ctx, t)
				}
				if s.lost(err) {
					s.noAnswer("sweep", false)
				} else {
					s.must("sweep", err)
				}
			}
		}
		s.say("%d", len(tasks))
		s.counts["  swept of "+queue] += len(tasks)
	}
}

// remains says whether a task whose work got no answer is still to be done. It is over only if the commit that failed stands.
func (s *sim) remains(t pgdb.Task) (there bool) {
	s.read(func(q *pgdb.Queries) error {
		tasks, err := q.ListDueTasks(s.ctx, pgdb.ListDueTasksParams{Queue: t.Queue, Now: t.DueAt, Most: math.MaxInt32})
		there = slices.ContainsFunc(tasks, func(is pgdb.Task) bool { return is.ID == t.ID })
		return err
	})
	if !there && !s.stands {
		s.fail("task %d of %s is gone with a commit that was lost", t.ID, t.Queue)
	}
	return there
}

// breakEndpoint takes an app's endpoint down until it is mended, which may be longer than a webhook is retried.
func (s *sim) breakEndpoint() {
	a := pick(s, s.m.apps)
	s.down[a] = !s.down[a]
	s.say("%s down=%t", a.name, s.down[a])
}

// flip changes a seller's status while a webhook of it is under way.
func (s *sim) flip(a *modelApp, seller string) {
	verb, status := "freeze", "FROZEN"
	if a.seller(seller).status == "FROZEN" {
		verb, status = "resume", "ACTIVE"
	}
	s.operate(s.newAct(http.MethodPost, "/apps/"+a.name+"/sellers/"+verb, map[string]any{"sellerId": seller}),
		func() int { return s.m.setStatus(a, seller, status) }, nil)
}

// hear is an app's handling of a notification, once for each number. The last word about a seller has to be the newest.
func (s *sim) hear(a *modelApp, n infinia.Notification) {
	d := s.inFlight
	if n.Event != "" {
		s.same("event", n.Event, d.event)
		return
	}
	s.same("notification", n.SellerID+" "+string(n.Status), d.seller+" "+d.status)
	if last := s.heard[a.name+" "+n.SellerID]; last != nil && last.number > d.number {
		s.fail("%s hears an old event of %s after a newer one", a.name, n.SellerID)
	} else if last != nil && last.number == d.number {
		s.fail("%s hears an event of %s twice", a.name, n.SellerID)
	}
	s.heard[a.name+" "+n.SellerID] = d
}

// replay has an operator send a webhook again.
func (s *sim) replay() {
	a := pick(s, s.m.apps)
	if len(a.deliveries) == 0 {
		return
	}
	d := recent(s, a.deliveries)
	s.operate(s.newAct(http.MethodPost, fmt.Sprintf("/deliveries/%d/replay", d.id), nil), func() int { return okOr409(s.m.replay(d)) }, nil)
}

// jump lets time pass: minutes, hours, days.
func (s *sim) jump() {
	d := time.Duration(1+s.rng.IntN(60)) * time.Minute
	switch s.rng.IntN(6) {
	case 0:
		d = time.Duration(1+s.rng.IntN(20)) * time.Hour
	case 1:
		d = time.Duration(1+s.rng.IntN(3)) * 24 * time.Hour
	}
	s.advance(d)
	s.say("%s", d)
}

// settleDown ends all faults and lets everything that waits be done; then every app must know how its sellers stand.
func (s *sim) settleDown() {
	s.calm = true
	s.disarm()
	for ; ; s.round++ {
		left := 0
		for _, tasks := range s.m.tasks {
			left += len(tasks)
		}
		dead := s.deadNewest()
		if left == 0 && len(dead) == 0 {
			break
		}
		if s.round > 100_000 {
			s.fail("%d tasks are never done", left)
		}
		for _, d := range dead {
			s.do("send again", func(s *sim) {
				s.operate(s.newAct(http.MethodPost, fmt.Sprintf("/deliveries/%d/replay", d.id), nil), func() int { return okOr409(s.m.replay(d)) }, nil)
			})
		}
		for _, work := range []func(*sim){(*sim).settleShares, (*sim).expire, (*sim).importFile, (*sim).writeResults, (*sim).deliver} {
			s.do("settle down", work)
		}
		s.advance(3 * time.Hour)
	}
	s.advance(48 * time.Hour) // contents are kept for a day
	for more := true; more; {
		s.do("settle down", func(s *sim) {
			s.sweep()
			more = false
			for _, queue := range []string{content.Queue, trade.RunQueue} {
				tasks, err := s.node().due(s.ctx, queue, 1)
				s.must("read "+queue, err)
				more = more || len(tasks) > 0
			}
		})
	}
	for _, a := range s.m.apps {
		for id, seller := range a.sellers {
			if len(seller.events) == 0 {
				continue
			}
			if last := s.heard[a.name+" "+id]; last == nil || last.status != seller.status {
				s.fail("%s has not heard that %s is %s", a.name, id, seller.status)
			}
		}
	}
}

// deadNewest are the last words about sellers that no retry will bring any more.
func (s *sim) deadNewest() (dead []*modelDelivery) {
	for _, a := range s.m.apps {
		for _, d := range a.deliveries {
			if d.state == "DEAD" && d.event == "seller-status" {
				dead = append(dead, d)
			}
		}
	}
	return dead
}
