package op

import (
	"context"
	"fmt"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/ledger"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Settle ends shares that were accepted: each is judged again under lock and settled or released, exactly once, in the
// unit that removes its task. Returns, cap or limits that changed since the hold do not stop it.
func (e *Engine) Settle(ctx context.Context, tasks []pgdb.Task) []error {
	errs := make([]error, len(tasks))
	shares, err := e.sharesOf(ctx, tasks)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	var units []store.Unit
	var which []int
	for i, t := range tasks {
		s, ok := shares[t.RecordID]
		if !ok {
			errs[i] = fmt.Errorf("share %d is gone", t.RecordID)
			continue
		}
		which = append(which, i)
		units = append(units, settlement(t, s))
	}
	for i, err := range e.DB.DoAll(ctx, units) {
		errs[which[i]] = err
	}
	return errs
}

// sharesOf reads the shares that tasks name. Mostly the tasks are the first that are due, and one query finds all of them.
func (e *Engine) sharesOf(ctx context.Context, tasks []pgdb.Task) (map[int64]pgdb.Share, error) {
	shares := make(map[int64]pgdb.Share, len(tasks))
	last := int64(0)
	for _, t := range tasks {
		last = max(last, t.DueAt)
	}
	if err := e.DB.ReadOne(ctx, func(q *pgdb.Queries) error {
		rows, err := q.ListSharesOfDueTasks(ctx, pgdb.ListSharesOfDueTasksParams{Queue: SettleQueue, Now: last, Most: int32(len(tasks))})
		for _, s := range rows {
			shares[s.ID] = s
		}
		return err
	}); err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if _, ok := shares[t.RecordID]; ok {
			continue
		}
		if err := e.DB.ReadOne(ctx, func(q *pgdb.Queries) error {
			s, err := q.GetShare(ctx, t.RecordID)
			if err == nil {
				shares[s.ID] = s
			} else if !store.NotFound(err) {
				return fmt.Errorf("share %d: %w", t.RecordID, err)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return shares, nil
}

// settlement is the unit that settles a share; what it takes from s never changes.
func settlement(t pgdb.Task, s pgdb.Share) store.Unit {
	return store.Unit{
		Name: SettleQueue,
		Keys: store.Keys{
			Apps:    []string{s.AppID},
			Sellers: []store.SellerKey{{AppID: s.AppID, SellerID: s.SellerID}},
			Shares:  []int64{s.ID},
			Accounts: []store.AccountKey{
				ledger.PlatformAccount(s.AppID, s.Currency),
				ledger.SellerAccount(s.AppID, ledger.Seller, s.SellerID, s.Currency),
				ledger.SellerAccount(s.AppID, ledger.Evidence, s.SellerID, s.Currency),
				ledger.SellerAccount(s.AppID, ledger.Used, s.SellerID, s.Currency),
			},
		},
		Judge: func(v *store.View) error { return settle(v, t) },
	}
}

func settle(v *store.View, t pgdb.Task) error {
	s, ok := v.Shares.Get(t.RecordID)
	if !ok {
		return fmt.Errorf("share %d is gone", t.RecordID)
	}
	v.DropTask(t.ID)
	if s.State != ShareHeld {
		return nil
	}
	platform := ledger.PlatformAccount(s.AppID, s.Currency)
	used := ledger.SellerAccount(s.AppID, ledger.Used, s.SellerID, s.Currency)
	if err := ledger.Release(v, platform, s.Amount); err != nil {
		return err
	}
	if err := ledger.Release(v, used, s.Amount); err != nil {
		return err
	}
	s.FinishedAt = v.Now()
	binding, bound := v.Bindings.Get(s.BindingID)
	switch {
	case isFrozen(v, store.SellerKey{AppID: s.AppID, SellerID: s.SellerID}):
		s.State, s.FailCode = ShareReleased, string(infinia.SellerFrozen)
	case !bound || binding.State != BindingSuccess: // a later binding does not stand in for it
		s.State, s.FailCode = ShareReleased, string(infinia.SellerNotBound)
	default:
		s.State = ShareSettled
	}
	if s.State == ShareReleased {
		ledger.UncountDay(v, platform, s.Day, s.Amount)
		ledger.UncountDay(v, used, s.Day, s.Amount)
	} else {
		seller := ledger.SellerAccount(s.AppID, ledger.Seller, s.SellerID, s.Currency)
		if err := ledger.Post(v, ledger.ForShare, s.ID, platform, seller, s.Amount); err != nil {
			return err
		}
		evidence := ledger.SellerAccount(s.AppID, ledger.Evidence, s.SellerID, s.Currency)
		if err := ledger.Post(v, ledger.ForShare, s.ID, evidence, used, s.Amount); err != nil {
			return err
		}
	}
	v.Shares.Put(s.ID, s)
	return notifyShare(v, s)
}

// notifyShare tells the app that a share has ended, if it asked for such events.
func notifyShare(v *store.View, s pgdb.Share) error {
	set, err := v.SettingsOf(s.AppID)
	if err != nil {
		return err
	}
	return outbox.Notify(v, set, outbox.Event{AppID: s.AppID, SellerID: s.SellerID, Event: outbox.EventShare,
		Content: map[string]string{"sharingRequestNo": s.RequestNo, "sellerId": s.SellerID, "currency": s.Currency,
			"amount": amountText(s.Amount, s.Currency), "status": string(shareStatus(s.State))}})
}
