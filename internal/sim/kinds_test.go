package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// kinds are the steps, each as often as its weight says.
var kinds = []struct {
	name   string
	weight int
	do     func(*sim)
}{
	{"share", 1200, func(s *sim) { s.make(s.newShare()) }},
	{"group of calls", 160, (*sim).group},
	{"call again", 280, func(s *sim) { s.make(s.again()) }},
	{"wrong call", 40, (*sim).spoiled},
	{"bind", 240, func(s *sim) { s.make(s.newBinding()) }},
	{"hosted page", 200, (*sim).page},
	{"decide on a binding", 180, (*sim).decide},
	{"freeze or resume", 60, (*sim).freeze},
	{"deposit", 90, (*sim).deposit},
	{"reverse a deposit", 48, (*sim).reverse},
	{"act again", 40, (*sim).actAgain},
	{"settings", 12, (*sim).settings},
	{"upload", 100, (*sim).sendFile},
	{"import", 128, (*sim).importFile},
	{"write results", 60, (*sim).writeResults},
	{"read settlements", 120, (*sim).readSettlements},
	{"settle", 240, (*sim).settleShares},
	{"expire bindings", 48, (*sim).expire},
	{"sweep contents", 24, (*sim).sweep},
	{"deliver webhooks", 80, (*sim).deliver},
	{"send a webhook again", 16, (*sim).replay},
	{"query", 520, (*sim).query},
	{"endpoint breaks or is mended", 3, (*sim).breakEndpoint},
	{"clock jump", 30, (*sim).jump},
	{"new seller", 8, (*sim).newSeller},
	{"a commit will fail", 24, (*sim).armCommit},
	{"node crashes", 2, (*sim).crashNode},
	{"all stop and start", 1, (*sim).restart},
	{"all are killed", 1, (*sim).crashAll},
	{"killed in a commit", 2, (*sim).crashInCommit},
}

// armCommit has one of the next commits fail.
func (s *sim) armCommit() {
	if !s.armed {
		s.armed = true
		s.books.failCommit(s.rng)
	}
}

func (s *sim) disarm() {
	s.armed = false
	s.books.spare()
}

// fired says whether the commit that was to fail has failed since the last call; s.stands, whether it stands all the same.
func (s *sim) fired() (failed bool) {
	if !s.armed {
		return false
	}
	if failed, s.stands = s.books.failed(); failed {
		s.armed = false
		s.counts["  commits that failed"]++
	}
	return failed
}

// lost says whether a unit's error comes from the commit that was to fail.
func (s *sim) lost(err error) bool { return s.fired() && s.open(err) }

// open says whether an error leaves it open what became of a unit. On SQLite the commit that fails may also be the one by
// which the store draws ids, before the unit has begun.
func (s *sim) open(err error) bool {
	return errors.Is(err, store.ErrUnknown) || s.engine == storetest.SQLite && errors.Is(err, store.ErrDatabase)
}

// noAnswer notes that nobody was told what became of a unit. Where it has left evidence the store finds out.
func (s *sim) noAnswer(what string, evidence bool) {
	s.say("%s = lost, stands=%t;", what, s.stands)
	if evidence {
		s.fail("%s has no answer, although what became of it can be looked up", what)
	}
	s.counts[fmt.Sprintf("  no answer, stands=%t", s.stands)]++
}

// crashNode loses what one node has read and not done, and what it carries. Its successor finds the same secrets.
func (s *sim) crashNode() {
	s.disarm()
	i := s.rng.IntN(len(s.nodes))
	s.say("node %d with %d tasks in hand", i, len(s.nodes[i].hand["settle"]))
	s.must("kill", s.books.kill(i))
	s.forget(i)
	s.must("start", s.startAll())
}

func (s *sim) restart() {
	s.disarm()
	s.must("stop", s.stop())
	s.must("start", s.startAll())
}

// crashAll ends all nodes without a close. Whatever was answered has to be there.
func (s *sim) crashAll() {
	if !s.books.mayBeKilled() {
		s.restart()
		return
	}
	s.disarm()
	s.must("kill", s.books.killAll())
	for i := range s.nodes {
		s.forget(i)
	}
	s.must("start", s.startAll())
}

// crashInCommit ends nodes while a call is being committed, so that nobody gets an answer. What is lost must not be there,
// not even in half; whoever asks again gets the answer that was under way.
func (s *sim) crashInCommit() {
	s.restart() // so that SQLite's log begins anew and no checkpoint comes between
	if !s.books.mayBeKilled() {
		return
	}
	c, i := s.newShare(), s.rng.IntN(len(s.nodes))
	u, _, err := operation(c.op).Prepare(s.nodes[i].engine, c.app.name, members(c.fields))
	s.must(c.String(), err)
	db := s.nodes[i].db
	down, lost, err := s.books.killInCommit(i, s.chance(2), s.rng.Float64(), func() { _ = db.Do(context.Background(), u) })
	s.must("kill", err)
	for _, i := range down {
		s.forget(i)
	}
	s.must("start", s.startAll())
	_, err = operation("revenue-sharing/query").Run(s.ctx, s.node().engine, pgdb.App{AppID: c.app.name}, members(map[string]string{"requestNo": c.fields["requestNo"]}))
	is, _ := s.outcome(c, nil, err)
	s.say("%s lost=%t;", c, lost)
	s.same("a call whose commit was lost", is.code == "BIZ-002", lost)
	s.counts[fmt.Sprintf("  killed in a commit, lost=%t", lost)]++
	if lost {
		s.calls = append(s.calls, c) // its app will send it again
		return
	}
	rep, err := operation(c.op).Run(s.ctx, s.node().engine, pgdb.App{AppID: c.app.name}, members(c.fields))
	s.apply(c, rep, err, false)
}
