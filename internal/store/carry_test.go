package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestCarriedRowsAreTheDatabases changes sellers, bindings and accounts at random, in groups with units that refuse, fail
// or poison the group, and units with queries of their own; what the next group would find loaded is what the database has.
func TestCarriedRowsAreTheDatabases(t *testing.T) { storetest.Each(t, carriedRows) }

func carriedRows(t *testing.T, engine storetest.Engine) {
	db := open(t, engine.New(t))
	if err := db.Do(t.Context(), Unit{Alone: func(ctx context.Context, v *View, q *pgdb.Queries) error {
		return q.InsertApp(ctx, pgdb.InsertAppParams{ID: v.NextID(), AppID: "demo"})
	}}); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	carried := 0
	for round := range 60 {
		units := make([]Unit, 1+random.IntN(24))
		for i := range units {
			units[i] = randomUnit(random)
		}
		if random.IntN(10) == 0 {
			units[0] = Unit{Judge: func(v *View) error { // a key that is there already
				v.Post(pgdb.Posting{ID: 1, ToNo: 1})
				v.Post(pgdb.Posting{ID: 1, ToNo: 2})
				return nil
			}}
		}
		if random.IntN(10) == 0 {
			units = append(units, Unit{Keys: Keys{Apps: []string{"demo"}}, Alone: func(ctx context.Context, _ *View, q *pgdb.Queries) error { return q.ResetSellers(ctx) }})
		}
		var all sync.WaitGroup
		for some := range slices.Chunk(units, 1+random.IntN(8)) { // what comes after the first is loaded beside its commit
			all.Go(func() { db.DoAll(t.Context(), some) })
		}
		all.Wait()
		carried += sameAsDatabase(t, db, round)
	}
	if carried == 0 {
		t.Error("nothing was carried over")
	}
}

func randomUnit(random *rand.Rand) Unit {
	seller := SellerKey{"demo", fmt.Sprint(random.IntN(12))}
	account := AccountKey{"demo", []string{"seller", "used"}[random.IntN(2)], seller.SellerID, "CNH"}
	amount, bind, refuse, fail := random.Int64N(100), random.IntN(3) == 0, random.IntN(4) == 0, random.IntN(6) == 0
	share := 1<<40 + random.Int64N(30)
	return Unit{Keys: Keys{Sellers: []SellerKey{seller}, Accounts: []AccountKey{account}, Shares: []int64{share}}, Judge: func(v *View) error {
		if s, ok := v.Shares.Get(share); !ok {
			v.Shares.Put(share, pgdb.Share{ID: share, Amount: amount, State: "HELD"})
		} else {
			s.State, s.FinishedAt = "ENDED", amount
			v.Shares.Put(share, s)
		}
		s, ok := v.Sellers.Get(seller)
		if !ok {
			s = pgdb.Seller{ID: v.NextID(), AppID: seller.AppID, SellerID: seller.SellerID}
		}
		s.ChangedAt = amount
		v.Sellers.Put(seller, s)
		a, ok := v.Accounts.Get(account)
		if !ok {
			a = pgdb.Account{ID: v.NextID(), AppID: account.AppID, Kind: account.Kind, SellerID: account.SellerID, Currency: account.Currency}
		}
		a.Balance += amount
		v.Accounts.Put(account, a)
		if bind {
			b := pgdb.Binding{ID: v.NextID(), AppID: seller.AppID, SellerID: seller.SellerID, State: "NEW", LinkHash: []byte{1}}
			v.Bindings.Put(b.ID, b)
		}
		for _, b := range v.BindingsOf(seller) {
			b.DecidedAt = amount
			b.State = fmt.Sprint(len(v.BindingsOf(seller)))
			v.Bindings.Put(b.ID, b)
		}
		if refuse {
			v.Reset()
		}
		if fail {
			return errors.New("no")
		}
		return nil
	}}
}

// sameAsDatabase compares every carried row and returns how many there are.
func sameAsDatabase(t *testing.T, db *DB, round int) (rows int) {
	t.Helper()
	var v *View
	switch e := db.engine.(type) {
	case *sqlite:
		v = e.carried
	case *postgres:
		v = e.carried
	}
	ctx := t.Context()
	if err := db.Read(ctx, func(q *pgdb.Queries) error {
		for k, known := range v.Sellers.asked {
			is, err := q.GetSeller(ctx, pgdb.GetSellerParams(k))
			if NotFound(err) != !known || known && !cmp.Equal(is, v.Sellers.rows[k]) {
				t.Errorf("round %d: seller %v is %+v, carried %v %+v", round, k, is, known, v.Sellers.rows[k])
			}
			rows++
		}
		for k, known := range v.Accounts.asked {
			is, err := q.GetAccount(ctx, pgdb.GetAccountParams(k))
			if NotFound(err) != !known || known && is != v.Accounts.rows[k] {
				t.Errorf("round %d: account %v is %+v, carried %v %+v", round, k, is, known, v.Accounts.rows[k])
			}
			rows++
		}
		for k, known := range v.Shares.asked {
			is, err := q.GetShare(ctx, k)
			if NotFound(err) != !known || known && is != v.Shares.rows[k] {
				t.Errorf("round %d: share %d is %+v, carried %v %+v", round, k, is, known, v.Shares.rows[k])
			}
			rows++
		}
		for k, ids := range v.bindings {
			are, err := q.ListBindingsOfSeller(ctx, pgdb.ListBindingsOfSellerParams(k))
			if err != nil {
				return err
			}
			var carried []pgdb.Binding
			for _, id := range ids {
				carried = append(carried, v.Bindings.rows[id])
			}
			if diff := cmp.Diff(are, carried); diff != "" {
				t.Errorf("round %d: bindings of %v in the database (-) and carried (+):\n%s", round, k, diff)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}
