package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/money"
)

var stress = flag.Duration("stress", 0, "how long TestStress begins new rounds on each engine; 0: one round")

const (
	stressClients = 6
	stressKills   = 4
	stressDeposit = 15000
)

var (
	stressSellers = []string{"SELLER-1", "SELLER-2", "SELLER-3"}
	stressTrades  = []int64{800, 40000, 40000} // some shares are refused for them, others because the money is gone
)

// TestStress has clients share, ask, deposit and freeze at once while the servers are killed and started again, one server
// on SQLite, two over one database on PostgreSQL. Then every answer that came has to fit one order of all acts, and the books
// have to add up.
func TestStress(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		for began, round := time.Now(), uint64(0); round == 0 || time.Since(began) < *stress && !t.Failed(); round++ {
			t.Run(fmt.Sprintf("seed=%d", seedOf()+round), func(t *testing.T) {
				stressed(t, engine, seedOf()+round)
			})
		}
	})
}

func stressed(t *testing.T, engine storetest.Engine, seed uint64) {
	t.Logf("repeat with -seed %d", seed)
	s := &site{t: t, history: history{began: time.Now()}}
	s.setUp(engine)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for i := range s.nodes {
		s.start(i)
	}
	var working sync.WaitGroup
	defer func() { s.enough.Store(true); working.Wait() }()
	for i := range stressClients {
		c := s.client(ctx, i, rand.New(rand.NewPCG(seed, uint64(i+1))))
		if i == 0 {
			working.Go(c.operate)
		} else {
			working.Go(c.work)
		}
	}
	answers := func(n int64) {
		t.Helper()
		n += s.answered.Load()
		storetest.Until(t, "more answers", func() bool { return s.answered.Load() >= n || t.Failed() })
	}
	for range stressKills {
		answers(20 + random.Int64N(60))
		<-time.After(time.Duration(random.IntN(20000)) * time.Microsecond)
		s.restart(random)
	}
	answers(60)
	s.enough.Store(true)
	working.Wait()
	if t.Failed() {
		return
	}
	s.end(s.client(ctx, stressClients, random))
}

// site is what the clients work at: servers over one database, and the shares that they have asked for.
type site struct {
	history
	t        testing.TB
	database string
	nodes    []*stressNode
	enough   atomic.Bool // the clients stop

	asking sync.Mutex
	shares []ask // guarded by asking; by number
}

type stressNode struct {
	data string
	at   atomic.Pointer[rig] // the server, or one that was killed
	kill func()
}

// setUp makes the app with its sellers. A node has a folder of its own, and all have the app's keys in common.
func (s *site) setUp(engine storetest.Engine) {
	s.t.Helper()
	cfg := testConfig(s.t, engine, store.Settings{SettleDelayMillis: 50})
	s.database = cfg.Database
	s.nodes = []*stressNode{{data: cfg.Data}}
	if engine == storetest.Postgres {
		s.nodes = append(s.nodes, &stressNode{data: s.t.TempDir()})
	}
	r := startConfig(s.t, cfg)
	var rows []string
	for i, seller := range stressSellers {
		r.bind(seller)
		rows = append(rows, sale(seller, "ORDER-"+seller, amountOf(stressTrades[i])))
	}
	equal(s.t, "trade file", r.file("TDU-stress", rows...).Status, infinia.FileSuccess)
	r.deposit(amountOf(stressDeposit))
	r.stop()
	for _, n := range s.nodes[1:] {
		if err := os.CopyFS(filepath.Join(n.data, "keys"), os.DirFS(filepath.Join(cfg.Data, "keys"))); err != nil {
			s.t.Fatal(err)
		}
	}
}

// restart kills one server, or all, and starts them again.
func (s *site) restart(random *rand.Rand) {
	s.t.Helper()
	first, many := random.IntN(len(s.nodes)), 1
	if random.IntN(4) == 0 {
		many = len(s.nodes)
	}
	for i := range many {
		s.nodes[(first+i)%len(s.nodes)].kill()
	}
	for i := range many {
		s.start((first + i) % len(s.nodes))
	}
}

func (s *site) start(i int) {
	s.t.Helper()
	r, kill := startElsewhere(s.t, s.nodes[i].data, s.database)
	s.nodes[i].kill = kill
	s.nodes[i].at.Store(r)
}

// end waits until nothing is in process any more, looks at everything once more through every node, and judges.
func (s *site) end(c *stressClient) {
	s.t.Helper()
	r := s.nodes[0].at.Load()
	r.allEnded()
	ended := s.now()
	for n := range s.nodes {
		c.first = n
		c.balance()
		for seller := range stressSellers {
			c.available(seller)
		}
	}
	for no, q := range s.shares {
		c.first = no
		c.query(q)
	}
	s.close(ended)
	balance, kept := s.found(r, ended)
	for _, act := range s.acts {
		q, a := act.Input.(ask), act.Output.(answer)
		if q.verb == doDeposit {
			balance += q.amount
		}
		if q.verb == doShare && a.code == "" && !kept[q.no] {
			s.t.Errorf("%s was acknowledged and is lost", requestNo(q.no))
		}
	}
	equal(s.t, "balance", r.balance(), amountOf(balance)+" 0.00")
	for _, n := range s.nodes {
		n.at.Load().verify()
	}
	s.check(s.t, s.opening())
	s.report(kept)
}

func (s *site) opening() books {
	b := books{deposits: stressDeposit, shares: strings.Repeat(string(noShare), len(s.shares))}
	for i, trades := range stressTrades {
		b.sellers[i].allowed = trades
	}
	return b
}

// found takes the released shares that the end finds into the history, and returns what is left of the first deposit, and
// which shares there are.
func (s *site) found(r *rig, ended int64) (balance int64, kept map[int]bool) {
	s.t.Helper()
	balance, kept = stressDeposit, map[int]bool{}
	for _, share := range r.shares() {
		var q ask
		if _, err := fmt.Sscanf(share.RequestNo, "RSR-%d", &q.no); err == nil && q.no < len(s.shares) {
			q = s.shares[q.no]
		}
		if kept[q.no] || share.RequestNo != requestNo(q.no) || share.Amount != amountOf(q.amount) || share.SellerID != stressSellers[q.seller] {
			s.t.Errorf("a share that nobody asked for, or once more: %+v", share)
		}
		kept[q.no] = true
		switch share.State {
		case op.ShareSettled:
			balance -= q.amount
		case op.ShareReleased:
			q.verb = doRelease
			s.add(stressClients, 0, ended, q, answer{came: true})
		}
	}
	return balance, kept
}

// report says what the round has shown, which has to be something.
func (s *site) report(kept map[int]bool) {
	s.t.Helper()
	count := map[string]int{}
	for _, act := range s.acts {
		switch q, a := act.Input.(ask), act.Output.(answer); {
		case q.verb == doRelease:
			count["released"]++
		case q.verb == doShare && a.code != "":
			count[string(a.code)]++
		case q.verb == doShare:
			count["accepted"]++
		}
	}
	s.t.Logf("%d of %d shares were accepted; all answers to shares: %v", len(kept), len(s.shares), count)
	if count["accepted"] == 0 || count[string(infinia.OverAvailableShare)]+count[string(infinia.OverBalance)] == 0 {
		s.t.Error("this round has shown nothing")
	}
}

// stressClient makes one call after the other, each at any node, and the next try of it at the next.
type stressClient struct {
	*site
	ctx    context.Context
	id     int
	random *rand.Rand
	first  int // the node of the next call's first try
}

func (s *site) client(ctx context.Context, id int, random *rand.Rand) *stressClient {
	return &stressClient{site: s, ctx: ctx, id: id, random: random}
}

// work shares and asks.
func (c *stressClient) work() {
	for c.goOn() {
		switch what := c.random.IntN(100); {
		case what < 40:
			c.share(c.fresh(), c.random.IntN(20) == 0)
		case what < 50: // the same share at two nodes at once
			q := c.fresh()
			double := &stressClient{site: c.site, ctx: c.ctx, id: c.id + stressClients + 1, first: c.first + 1}
			var at sync.WaitGroup
			at.Go(func() { double.share(q, false) })
			c.share(q, false)
			at.Wait()
		case what < 60:
			if q, ok := c.earlier(); ok {
				c.share(q, false)
			}
		case what < 75:
			c.balance()
		case what < 90:
			c.available(c.seller())
		default:
			if q, ok := c.earlier(); ok {
				c.query(q)
			}
		}
	}
}

// operate deposits a little, and freezes a seller for a while.
func (c *stressClient) operate() {
	for n := 0; c.goOn(); n++ {
		act := func(what string) admin.Act {
			return admin.Act{Reference: fmt.Sprintf("stress-%s-%d", what, n), Reason: "test"}
		}
		c.do(ask{verb: doDeposit, amount: 500}, false, func(r *rig) (answer, error) {
			_, err := r.Admin.AddDeposit(c.ctx, admin.NewDeposit{Act: act("deposit"), AppID: r.File.AppID, Currency: currency, Amount: amountOf(500),
				BankReference: act("bank").Reference, ValueDate: "2026-02-03", Payer: "Demo Marketplace"})
			return answer{}, err
		})
		c.look()
		seller := c.seller()
		c.do(ask{verb: doFreeze, seller: seller}, false, func(r *rig) (answer, error) {
			_, err := r.Admin.FreezeSeller(c.ctx, r.File.AppID, admin.SellerAct{Act: act("freeze"), SellerID: stressSellers[seller]})
			return answer{}, err
		})
		c.available(seller)
		c.look()
		c.do(ask{verb: doResume, seller: seller}, false, func(r *rig) (answer, error) {
			_, err := r.Admin.ResumeSeller(c.ctx, r.File.AppID, admin.SellerAct{Act: act("resume"), SellerID: stressSellers[seller]})
			return answer{}, err
		})
		c.look()
	}
}

func (c *stressClient) look() {
	for range c.random.IntN(6) {
		c.first = c.random.IntN(len(c.nodes))
		c.balance()
	}
}

func (c *stressClient) goOn() bool {
	c.first = c.random.IntN(len(c.nodes))
	return !c.enough.Load() && !c.t.Failed() && c.ctx.Err() == nil
}

// seller is any, the one with the fewest trades as often as the others together.
func (c *stressClient) seller() int { return max(0, c.random.IntN(len(stressSellers)+1)-1) }

func (c *stressClient) fresh() ask {
	q := ask{verb: doShare, seller: c.seller(), amount: 1 + c.random.Int64N(1200)}
	if c.random.IntN(10) == 0 {
		q.amount = 2 * stressDeposit
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	q.no = len(c.shares)
	c.shares = append(c.shares, q)
	return q
}

func (c *stressClient) earlier() (ask, bool) {
	c.asking.Lock()
	defer c.asking.Unlock()
	if len(c.shares) == 0 {
		return ask{}, false
	}
	return c.shares[c.random.IntN(len(c.shares))], true
}

// share asks for a share; one that gives up does not ask again when the answer does not come.
func (c *stressClient) share(q ask, givesUp bool) {
	c.do(q, givesUp, func(r *rig) (answer, error) {
		rep, err := r.Client.RevenueSharing(c.ctx, infinia.RevenueSharingRequest{RequestNo: requestNo(q.no), SellerID: stressSellers[q.seller],
			Currency: currency, Amount: amountOf(q.amount)})
		if network(err) && !errors.Is(err, infinia.ErrOutcomeUnknown) {
			c.t.Errorf("%v: %v, which does not say that the outcome is unknown", q, err)
		}
		return answer{status: rep.Status}, err
	})
}

func (c *stressClient) query(q ask) {
	q.verb = doQuery
	c.do(q, false, func(r *rig) (answer, error) {
		rep, err := r.Client.RevenueSharingQuery(c.ctx, infinia.RevenueSharingQueryRequest{RequestNo: requestNo(q.no)})
		if rep.Amount == "" { // it was refused
			return answer{code: rep.FailCode}, err
		}
		return answer{status: rep.Status}, err
	})
}

func (c *stressClient) balance() {
	c.do(ask{verb: doBalance}, false, func(r *rig) (answer, error) {
		rep, err := r.Client.AccountBalance(c.ctx, infinia.AccountBalanceRequest{Currency: currency})
		return answer{available: minor(rep.AvailableBalance), held: minor(rep.FrozenBalance)}, err
	})
}

func (c *stressClient) available(seller int) {
	c.do(ask{verb: doAvailable, seller: seller}, false, func(r *rig) (answer, error) {
		rep, err := r.Client.AvailableRevenue(c.ctx, infinia.AvailableRevenueRequest{SellerID: stressSellers[seller], Currency: currency})
		return answer{available: minor(rep.AvailableAmount), held: minor(rep.ProcessingAmount), settled: minor(rep.SharedAmount)}, err
	})
}

func minor(text string) int64 {
	a, err := money.Parse(text, currency)
	if err != nil {
		return -1 // no answer fits it
	}
	return a.Minor
}

// do tries until it is answered, and puts it into the history.
func (c *stressClient) do(q ask, givesUp bool, try func(r *rig) (answer, error)) {
	asked := c.now()
	for n := 0; ; n++ {
		call := c.now()
		a, err := try(c.nodes[(c.first+n)%len(c.nodes)].at.Load())
		if e, ok := errors.AsType[*infinia.Error](err); ok && strings.HasPrefix(string(e.Code), "BIZ-") {
			a.code, err = e.Code, nil
		}
		switch {
		case err == nil && n > 0 && a.code == "" && q.verb == doShare: // it was accepted at any of the tries, and found so at the last
			back := c.now()
			c.add(c.id, asked, back, q, answer{came: true, status: accepted})
			q.verb, a.came = doQuery, true
			c.add(c.id, call, back, q, a)
			return
		case err == nil && changes(q.verb):
			a.came = true
			c.add(c.id, asked, c.now(), q, a)
			return
		case err == nil:
			a.came = true
			c.add(c.id, call, c.now(), q, a)
			return
		case !unanswered(err):
			c.t.Errorf("%v: %v", q, err)
			return
		case givesUp:
			c.add(c.id, asked, never, q, answer{})
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-c.ctx.Done():
			c.t.Errorf("%v was never answered: %v", q, err)
			return
		}
	}
}

func changes(v verb) bool { return v == doShare || v == doDeposit || v == doFreeze || v == doResume }

// unanswered says that a call may have acted or not, and that this is nobody's fault while servers are killed.
func unanswered(err error) bool {
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		return e.Code == infinia.Unavailable
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return e.Status == http.StatusServiceUnavailable
	}
	return network(err)
}

func network(err error) bool {
	_, broken := errors.AsType[*url.Error](err)
	_, reading := errors.AsType[*net.OpError](err)
	return broken || reading || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}
