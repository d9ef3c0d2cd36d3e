package sim

import (
	"os"
)

// kinds are the steps, each as often as its weight says.
var kinds = []struct {
	name   string
	weight int
	do     func(*sim)
}{
	{"share", 300, func(s *sim) { s.make(s.newShare()) }},
	{"group of calls", 40, (*sim).group},
	{"call again", 70, func(s *sim) { s.make(s.again()) }},
	{"wrong call", 10, (*sim).spoiled},
	{"bind", 60, func(s *sim) { s.make(s.newBinding()) }},
	{"hosted page", 50, (*sim).page},
	{"decide on a binding", 45, (*sim).decide},
	{"freeze or resume", 18, (*sim).freeze},
	{"deposit", 30, (*sim).deposit},
	{"reverse a deposit", 12, (*sim).reverse},
	{"act again", 10, (*sim).actAgain},
	{"settings", 3, (*sim).settings},
	{"upload", 25, (*sim).sendFile},
	{"import", 32, (*sim).importFile},
	{"write results", 15, (*sim).writeResults},
	{"read settlements", 30, (*sim).readSettlements},
	{"settle", 60, (*sim).settleShares},
	{"expire bindings", 12, (*sim).expire},
	{"deliver webhooks", 30, (*sim).deliver},
	{"send a webhook again", 4, (*sim).replay},
	{"query", 130, (*sim).query},
	{"clock jump", 5, (*sim).jump},
	{"new seller", 2, (*sim).newSeller},
	{"a commit will fail", 6, (*sim).armCommit},
	{"node crashes", 2, (*sim).crashNode},
	{"all stop and start", 1, (*sim).restart},
	{"all are killed", 1, (*sim).crashAll},
	{"killed in a commit", 1, (*sim).crashInCommit},
}

// armCommit has one of the next commits fail.
func (s *sim) armCommit() {
	if s.armed {
		return
	}
	s.armed = true
	failCommit.Store(1 + s.rng.Int64N(4))
}

func (s *sim) disarm() {
	s.armed = false
	failCommit.Store(0)
}

// crashNode loses what one node has read and not done. Its successor finds the same secrets.
func (s *sim) crashNode() {
	s.disarm()
	i := s.rng.IntN(len(s.nodes))
	s.say("node %d with %d tasks in hand", i, len(s.nodes[i].hand["settle"]))
	s.must("start", s.start(i))
}

func (s *sim) restart() {
	s.disarm()
	s.must("stop", s.stop())
	s.must("start", s.startAll())
}

// killedMost is how large a database may be to be copied for a crash.
const killedMost = 24 << 20

// crashAll ends all nodes without a close. Whatever was answered has to be there.
func (s *sim) crashAll() {
	s.disarm()
	if s.size() > killedMost {
		s.restart()
		return
	}
	s.must("kill", s.kill(nil))
}

// crashInCommit ends all nodes while a call is being committed: of the log, which SQLite appends to, either all has
// reached the disk or only a part, and nobody got an answer. What is torn must not be there, not even in half.
func (s *sim) crashInCommit() {
	s.restart() // so that the log begins anew and no checkpoint comes between
	if s.size() > killedMost {
		return
	}
	c := s.newShare()
	before, err := os.ReadFile(s.books + "-wal")
	s.must("log", err)
	rep, err := operation(c.op).Run(s.ctx, s.nodes[0].engine, c.app.name, content(c.fields))
	lost, part := s.chance(2), s.rng.Float64()
	s.must("kill", s.kill(func(log []byte) []byte {
		if lost = lost && len(log) > len(before); lost {
			log = log[:len(before)+int(part*float64(len(log)-len(before)))]
		}
		return log
	}))
	if lost {
		s.say("%s torn", c)
		s.counts["  commits torn"]++
		_, err := operation("revenue-sharing/query").Run(s.ctx, s.node().engine, c.app.name, content(map[string]string{"requestNo": c.fields["requestNo"]}))
		is, _, _ := s.outcome(c, nil, err, false)
		s.same("a call whose commit was torn", is.code, "BIZ-002")
		s.calls = append(s.calls, c) // its app will send it again
		return
	}
	s.apply(c, rep, err, false)
}
