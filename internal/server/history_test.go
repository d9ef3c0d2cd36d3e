package server

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/openinfinia/infinia"
)

// history is what clients asked and were answered, and when. It is right when all of it could have happened one at a time,
// each act at a moment between its call and its return.
//
// A client repeats a call whose answer did not come, under the same number, until one does. All its tries are one act, from
// the first call to the last return: whichever of them was carried out, the others were not. An act that is never answered
// has no return, and happens some time or never.
type history struct {
	began    time.Time
	answered atomic.Int64

	mu   sync.Mutex
	acts []porcupine.Operation // guarded by mu
}

const never = math.MaxInt64

// ask is what was asked; not every verb has all of it.
type ask struct {
	verb   verb
	no     int // of the share; its requestNo is made from it
	seller int
	amount int64
}

type verb string

const (
	doShare     verb = "share"
	doQuery     verb = "query" // a share's state
	doBalance   verb = "balance"
	doAvailable verb = "available" // a seller's available share
	doDeposit   verb = "deposit"
	doFreeze    verb = "freeze"
	doResume    verb = "resume"
	doRelease   verb = "release" // nobody asked for it: a settlement that found the seller frozen
)

// answer is what came back. The zero value is the answer that did not come.
type answer struct {
	came      bool
	code      infinia.Code        // of a refusal; a query tells it too
	status    infinia.ShareStatus // of a share
	available int64
	held      int64
	settled   int64 // of a seller
}

// accepted is the status of a share whose state another act tells.
const accepted infinia.ShareStatus = "accepted"

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(client int, call, back int64, q ask, a answer) {
	h.mu.Lock()
	h.acts = append(h.acts, porcupine.Operation{ClientId: client, Input: q, Call: call, Output: a, Return: back})
	h.mu.Unlock()
	if a.came {
		h.answered.Add(1)
	}
}

// close gives an act that was never answered the end that the last acts have found: it was not carried out, and goes, or it
// was carried out by then and had the outcome that its number tells for ever. An open act is right without this too, but to
// try all its ends takes the checker ages.
func (h *history) close(ended int64) {
	outcome := map[int]answer{}
	for _, act := range h.acts {
		q, a := act.Input.(ask), act.Output.(answer)
		if q.verb == doQuery && act.Call >= ended {
			if outcome[q.no] = (answer{came: true, code: a.code}); a.code == "" {
				outcome[q.no] = answer{came: true, status: accepted}
			}
		}
	}
	h.acts = slices.DeleteFunc(h.acts, func(act porcupine.Operation) bool {
		return act.Return == never && outcome[act.Input.(ask).no].code == infinia.NotFound
	})
	for i := range h.acts {
		if act := &h.acts[i]; act.Return == never {
			act.Return, act.Output = ended, outcome[act.Input.(ask).no]
		}
	}
}

// check fails the test when the history is not right, and leaves a page that shows where.
func (h *history) check(t testing.TB, opening books) {
	t.Helper()
	began := time.Now()
	model := modelOf(opening)
	result := porcupine.CheckOperationsTimeout(model, h.acts, 2*time.Minute)
	t.Logf("%d acts checked in %s", len(h.acts), time.Since(began).Round(time.Millisecond))
	if result == porcupine.Ok {
		return
	}
	_, info := porcupine.CheckOperationsVerbose(model, h.acts, 10*time.Second) // this one remembers how far it came
	page := filepath.Join(t.ArtifactDir(), "history.html")
	if err := porcupine.VisualizePath(model, info, page); err != nil {
		t.Error(err)
	}
	t.Errorf("no order of the acts explains the answers (%s); %s shows them, and stays with -artifacts", result, page)
}

func modelOf(opening books) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return opening },
		Step: func(state, input, output any) (bool, any) {
			return state.(books).step(input.(ask), output.(answer))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %v", input, output) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

func (q ask) String() string {
	switch q.verb {
	case doBalance:
		return string(q.verb)
	case doDeposit:
		return fmt.Sprintf("%s %s", q.verb, amountOf(q.amount))
	case doAvailable, doFreeze, doResume:
		return fmt.Sprintf("%s %d", q.verb, q.seller)
	}
	return fmt.Sprintf("%s %s: %s to %d", q.verb, requestNo(q.no), amountOf(q.amount), q.seller)
}

func (a answer) String() string {
	switch {
	case !a.came:
		return "no answer"
	case a.code != "" || a.status != "":
		return string(a.code) + string(a.status)
	}
	return fmt.Sprintf("available %s, held %s, settled %s", amountOf(a.available), amountOf(a.held), amountOf(a.settled))
}

func requestNo(no int) string { return fmt.Sprintf("RSR-%d", no) }

func amountOf(minor int64) string { return fmt.Sprintf("%d.%02d", minor/100, minor%100) }

// books is the state that the acts go by. It is comparable, so that the checker sees when it has come to the same state by
// another way.
//
// Nobody says when a share is settled. But what was accepted and not released is committed, settled or not, and it alone
// decides what is available; and what is settled never becomes less.
type books struct {
	deposits int64
	settled  int64 // at least
	sellers  [3]sellerBooks
	shares   string // one letter for each share by its number: one of those below, or the last digit of its refusal
}

type sellerBooks struct {
	allowed   int64
	committed int64
	settled   int64 // at least, by the seller's own figures
	ended     int64 // of single shares that were seen to be settled
	frozen    bool
}

const (
	noShare       = ' '
	shareHeld     = 'h' // or settled, and nobody has seen it
	shareSettled  = 's'
	shareReleased = 'r'
)

func (b books) committed() (sum int64) {
	for _, s := range b.sellers {
		sum += s.committed
	}
	return sum
}

func (s sellerBooks) settledLeast() int64 { return max(s.settled, s.ended) }

func (b books) settledLeast() (sum int64) {
	for _, s := range b.sellers {
		sum += s.settledLeast()
	}
	return max(sum, b.settled)
}

func (b books) write(no int, letter byte) books {
	b.shares = b.shares[:no] + string(letter) + b.shares[no+1:]
	return b
}

// step carries an act out and says whether it can have had that answer.
func (b books) step(q ask, a answer) (bool, books) {
	s := &b.sellers[q.seller]
	switch q.verb {
	case doShare:
		return b.share(q, a)
	case doQuery:
		return b.tell(q, a)
	case doBalance:
		b.settled = max(b.settledLeast(), b.committed()-a.held)
		return a.available == b.deposits-b.committed() && a.held >= 0 && b.settled == b.committed()-a.held, b
	case doAvailable:
		s.settled = max(s.settledLeast(), a.settled)
		return a.available == s.allowed-s.committed && a.held >= 0 && s.settled == a.settled && a.settled+a.held == s.committed, b
	case doDeposit:
		b.deposits += q.amount
	case doFreeze:
		s.frozen = true
	case doResume:
		s.frozen = false
	case doRelease:
		s.committed -= q.amount
		return s.frozen && b.shares[q.no] == shareHeld, b.write(q.no, shareReleased)
	}
	return true, b
}

// share judges as the contract has it. A requestNo acts once: later its answer is what became of it.
func (b books) share(q ask, a answer) (bool, books) {
	if b.shares[q.no] != noShare {
		if !a.came {
			return true, b
		}
		return b.tell(q, a)
	}
	s := &b.sellers[q.seller]
	var refusal infinia.Code
	switch {
	case s.frozen:
		refusal = infinia.SellerFrozen
	case q.amount > s.allowed-s.committed:
		refusal = infinia.OverAvailableShare
	case q.amount > b.deposits-b.committed():
		refusal = infinia.OverBalance
	}
	if refusal != "" {
		return !a.came || a.code == refusal, b.write(q.no, refusal[len(refusal)-1])
	}
	s.committed += q.amount
	return !a.came || a.code == "" && (a.status == infinia.ShareProcessing || a.status == accepted), b.write(q.no, shareHeld)
}

// tell compares what is told of a share with what is known of it.
func (b books) tell(q ask, a answer) (bool, books) {
	switch letter := b.shares[q.no]; letter {
	case noShare:
		return a.code == infinia.NotFound, b
	case shareHeld:
		if a.status == infinia.ShareSuccess {
			b.sellers[q.seller].ended += q.amount
			return a.code == "", b.write(q.no, shareSettled)
		}
		return a.code == "" && (a.status == infinia.ShareProcessing || a.status == accepted), b
	case shareSettled:
		return a.code == "" && (a.status == infinia.ShareSuccess || a.status == accepted), b
	case shareReleased:
		return a.code == "" && (a.status == infinia.ShareFailed || a.status == accepted), b
	default:
		return strings.HasPrefix(string(a.code), "BIZ-") && a.code[len(a.code)-1] == letter, b
	}
}

// at is an act from call to return, in a history that a test tells.
func at(call, back int64, q ask, a answer) porcupine.Operation {
	return porcupine.Operation{Call: call, Return: back, Input: q, Output: a}
}

// TestHistoryIsJudged shows what the model lets through and what it does not. Two sellers may have 100.00 each, the
// platform has 150.00.
func TestHistoryIsJudged(t *testing.T) {
	opening := books{deposits: 15000, shares: strings.Repeat(" ", 4)}
	opening.sellers[0].allowed, opening.sellers[1].allowed = 10000, 10000
	share := func(no, seller int, amount int64) ask {
		return ask{verb: doShare, no: no, seller: seller, amount: amount}
	}
	query := func(no int, amount int64) ask { return ask{verb: doQuery, no: no, amount: amount} }
	balance, deposit := ask{verb: doBalance}, ask{verb: doDeposit, amount: 1000}
	freeze, resume, release := ask{verb: doFreeze}, ask{verb: doResume}, ask{verb: doRelease, no: 0, amount: 1000}
	available := func(seller int) ask { return ask{verb: doAvailable, seller: seller} }
	has := func(available, held, settled int64) answer {
		return answer{came: true, available: available, held: held, settled: settled}
	}
	is := func(s infinia.ShareStatus) answer { return answer{came: true, status: s} }
	refused := func(c infinia.Code) answer { return answer{came: true, code: c} }
	accepting, success, failed := is(infinia.ShareProcessing), is(infinia.ShareSuccess), is(infinia.ShareFailed)
	done := answer{came: true}
	for _, c := range []struct {
		name  string
		right bool
		acts  []porcupine.Operation
	}{
		{"one after the other", true, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, balance, has(14000, 1000, 0)),
			at(4, 5, available(0), has(9000, 0, 1000)), at(6, 7, query(0, 1000), success), at(8, 9, balance, has(14000, 0, 0)),
			at(10, 11, deposit, done), at(12, 13, balance, has(15000, 0, 0))}},
		{"a read beside a share may come first", true, []porcupine.Operation{at(0, 9, share(0, 0, 1000), accepting), at(1, 2, balance, has(15000, 0, 0)),
			at(3, 4, balance, has(14000, 1000, 0))}},
		{"a lost share", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, balance, has(15000, 0, 0))}},
		{"a lost share that the seller misses", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, available(0), has(10000, 0, 0))}},
		{"a lost share that is not found", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, query(0, 1000), refused(infinia.NotFound))}},
		{"a lost update", false, []porcupine.Operation{at(0, 5, share(0, 0, 1000), accepting), at(0, 5, share(1, 1, 1000), accepting),
			at(6, 7, balance, has(14000, 1000, 0))}},
		{"a doubled share", false, []porcupine.Operation{at(0, 5, share(0, 0, 1000), accepting), at(0, 5, share(0, 0, 1000), accepting),
			at(6, 7, balance, has(13000, 2000, 0))}},
		{"a share asked twice at once", true, []porcupine.Operation{at(0, 5, share(0, 0, 1000), accepting), at(0, 5, share(0, 0, 1000), accepting),
			at(6, 7, balance, has(14000, 1000, 0))}},
		{"a stale balance after an acknowledged share", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, balance, has(15000, 0, 0)),
			at(4, 5, balance, has(14000, 1000, 0))}},
		{"a balance from before one that was read", false, []porcupine.Operation{at(0, 9, share(0, 0, 1000), accepting), at(1, 2, balance, has(14000, 1000, 0)),
			at(3, 4, balance, has(15000, 0, 0))}},
		{"a stale balance after an acknowledged deposit", false, []porcupine.Operation{at(0, 1, deposit, done), at(2, 3, balance, has(15000, 0, 0))}},
		{"the platform sees a share that the seller does not", false, []porcupine.Operation{at(0, 9, share(0, 0, 1000), accepting),
			at(1, 2, balance, has(14000, 1000, 0)), at(3, 4, available(0), has(10000, 0, 0))}},
		{"a settled share in process again", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, query(0, 1000), success),
			at(4, 5, query(0, 1000), accepting)}},
		{"a settled share on the balance still held", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, query(0, 1000), success),
			at(4, 5, balance, has(14000, 1000, 0))}},
		{"a settlement taken back", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, balance, has(14000, 0, 0)),
			at(4, 5, balance, has(14000, 1000, 0))}},
		{"refused as due", true, []porcupine.Operation{at(0, 1, share(0, 0, 9000), accepting), at(2, 3, share(1, 0, 1001), refused(infinia.OverAvailableShare)),
			at(4, 5, share(2, 1, 6001), refused(infinia.OverBalance)), at(6, 7, query(2, 6001), refused(infinia.OverBalance))}},
		{"more than the seller may have", false, []porcupine.Operation{at(0, 5, share(0, 0, 9000), accepting), at(0, 5, share(1, 0, 1001), accepting)}},
		{"more than the platform has", false, []porcupine.Operation{at(0, 5, share(0, 0, 9000), accepting), at(0, 5, share(1, 1, 6001), accepting)}},
		{"refused without need", false, []porcupine.Operation{at(0, 1, share(0, 0, 9000), refused(infinia.OverBalance))}},
		{"refused, then accepted", false, []porcupine.Operation{at(0, 1, share(0, 0, 10001), refused(infinia.OverAvailableShare)), at(2, 3, share(0, 0, 10001), accepting)}},
		{"unanswered and done", true, []porcupine.Operation{at(0, never, share(0, 0, 1000), answer{}), at(2, 3, balance, has(14000, 1000, 0))}},
		{"unanswered and done later", true, []porcupine.Operation{at(0, never, share(0, 0, 1000), answer{}), at(2, 3, balance, has(15000, 0, 0)),
			at(4, 5, balance, has(14000, 1000, 0))}},
		{"unanswered and never done", true, []porcupine.Operation{at(0, never, share(0, 0, 1000), answer{}), at(2, 3, balance, has(15000, 0, 0)),
			at(4, 5, query(0, 1000), refused(infinia.NotFound))}},
		{"unanswered, done and undone", false, []porcupine.Operation{at(0, never, share(0, 0, 1000), answer{}), at(2, 3, balance, has(14000, 1000, 0)),
			at(4, 5, balance, has(15000, 0, 0))}},
		{"unanswered and done twice", false, []porcupine.Operation{at(0, never, share(0, 0, 1000), answer{}), at(2, 3, share(0, 0, 1000), accepting),
			at(4, 5, balance, has(13000, 2000, 0))}},
		{"unanswered, repeated, and settled meanwhile", true, []porcupine.Operation{at(0, 9, share(0, 0, 1000), is(accepted)), at(8, 9, query(0, 1000), success),
			at(10, 11, balance, has(14000, 0, 0))}},
		{"accepted while frozen", false, []porcupine.Operation{at(0, 1, freeze, done), at(2, 3, share(0, 0, 1000), accepting)}},
		{"accepted beside a freeze, and released by it", true, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 9, freeze, done),
			at(0, never, release, done), at(4, 5, balance, has(15000, 0, 0)), at(6, 7, query(0, 1000), failed), at(10, 11, resume, done)}},
		{"released without a freeze", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(0, never, release, done),
			at(2, 3, query(0, 1000), failed)}},
		{"released before the freeze", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(0, never, release, done),
			at(2, 3, balance, has(15000, 0, 0)), at(4, 5, freeze, done)}},
		{"settled and released", false, []porcupine.Operation{at(0, 1, share(0, 0, 1000), accepting), at(2, 3, query(0, 1000), success),
			at(4, 9, freeze, done), at(0, never, release, done)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			equal(t, "right", porcupine.CheckOperations(modelOf(opening), c.acts), c.right)
		})
	}
}
