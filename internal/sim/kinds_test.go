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
	rep, err := operation(c.op).Run(s.ctx, s.nodes[0].engine, c.app.name, members(c.fields))
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
		_, err := operation("revenue-sharing/query").Run(s.ctx, s.node().engine, c.app.name, members(map[string]string{"requestNo": c.fields["requestNo"]}))
		is, _, _ := s.outcome(c, nil, err, false)
		s.same("a call whose commit was torn", is.code, "BIZ-002")
		s.calls = append(s.calls, c) // its app will send it again
		return
	}
	s.apply(c, rep, err, false)
}
