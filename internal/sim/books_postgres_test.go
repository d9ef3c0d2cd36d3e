package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// postgresBooks is a database in a server. Each node opens it by itself, on a way of its own, which may be cut.
type postgresBooks struct {
	t        *testing.T
	database string
	nodes    [nodesMany]struct {
		db  *store.DB
		way *storetest.Proxy
	}
	armed *storetest.Proxy // nil: no commit is going to fail
	met   <-chan struct{}  // closed when it has
}

func (b *postgresBooks) open(ctx context.Context, node int, cfg store.Config) (_ *store.DB, err error) {
	n := &b.nodes[node]
	n.way, cfg.Database = storetest.StartProxy(b.t, b.database)
	n.db, err = store.Open(ctx, cfg)
	return n.db, err
}

func (b *postgresBooks) stop() error {
	var all []error
	for _, n := range b.nodes {
		all = append(all, n.db.Close())
		n.way.Close()
	}
	return errors.Join(all...)
}

// kill cuts a node off; only then it is closed.
func (b *postgresBooks) kill(node int) error {
	b.nodes[node].way.Close()
	return b.nodes[node].db.Close()
}

func (b *postgresBooks) mayBeKilled() bool { return true }

func (b *postgresBooks) killAll() error {
	var all []error
	for i := range b.nodes {
		all = append(all, b.kill(i))
	}
	return errors.Join(all...)
}

// killInCommit ends the node alone, before the server has heard of the commit or after it has carried it out. The node's
// store looks for its database for a while, on a way that is closed for good; nobody waits for it.
func (b *postgresBooks) killInCommit(node int, lost bool, _ float64, run func()) (down []int, isLost bool, err error) {
	n, harm := b.nodes[node], storetest.CutAfter
	if lost {
		harm = storetest.CutBefore
	}
	n.way.Refuse(true)
	met := n.way.HarmNext("COMMIT", harm)
	go func() {
		run()
		n.db.Close()
	}()
	<-met
	n.way.Close()
	return []int{node}, lost, nil
}

// failCommit has the connection on which a node writes be cut, when it commits or, now and then, when it begins; both may be
// one batch. What has begun only is begun anew by the store.
func (b *postgresBooks) failCommit(rng *rand.Rand) {
	statement, harm := "COMMIT", storetest.CutBefore
	if rng.IntN(4) == 0 {
		statement = "BEGIN"
	}
	if rng.IntN(2) == 0 {
		harm = storetest.CutAfter
	}
	b.armed = b.nodes[rng.IntN(nodesMany)].way
	b.met = b.armed.HarmNth(1+rng.IntN(4), statement, harm)
}

func (b *postgresBooks) spare() {
	if b.armed != nil {
		b.armed.Spare()
		b.armed = nil
	}
}

func (b *postgresBooks) failed() (failed, stands bool) {
	select {
	case <-b.met:
		return true, b.armed.Stood()
	default:
		return false, false
	}
}

func (b *postgresBooks) side() (driver, source string) { return "pgx", b.database }
