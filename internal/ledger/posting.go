package ledger

import (
	"fmt"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// What a posting is for.
const (
	ForDeposit  = "deposit"
	ForReversal = "deposit-reversal"
	ForShare    = "share"
	ForTrade    = "trade"
)

// Post moves amount, which is above zero, from one account to another of the same app, book and currency. Each account
// numbers its postings 1, 2, 3, and chains each to the one before it; a posting's time is never before either account's last. An account with a floor keeps at
// least what is held on it.
func Post(v *store.View, purpose string, recordID int64, from, to store.AccountKey, amount int64) error {
	if amount <= 0 {
		return fmt.Errorf("post %d for %s: an amount is above zero", amount, purpose)
	}
	if from.AppID != to.AppID || from.Currency != to.Currency || isMoney(from.Kind) != isMoney(to.Kind) || from == to {
		return fmt.Errorf("post for %s: %s and %s do not belong together", purpose, from.Kind, to.Kind)
	}
	a, b := Get(v, from), Get(v, to)
	var err error
	if a.Balance, err = money.Sub(a.Balance, amount); err != nil {
		return fmt.Errorf("post for %s: %w", purpose, err)
	}
	if hasFloor(a.Kind) && Available(a) < 0 {
		return fmt.Errorf("post for %s: %s: %w", purpose, a.Kind, ErrShort)
	}
	if b.Balance, err = money.Add(b.Balance, amount); err != nil {
		return fmt.Errorf("post for %s: %w", purpose, err)
	}
	at := max(v.Now(), a.LastAt, b.LastAt)
	a.LastNo, b.LastNo = a.LastNo+1, b.LastNo+1
	a.LastAt, b.LastAt = at, at
	id, beforeA, beforeB := v.NextID(), a.LastPostingID, b.LastPostingID
	a.LastPostingID, b.LastPostingID = id, id
	put(v, a)
	put(v, b)
	a, b = Get(v, from), Get(v, to) // with the ids that put gave them
	v.Post(pgdb.Posting{
		ID: id, Purpose: purpose, RecordID: recordID, Amount: amount, At: at,
		FromID: a.ID, FromNo: a.LastNo, FromBalance: a.Balance, FromBeforeID: beforeA,
		ToID: b.ID, ToNo: b.LastNo, ToBalance: b.Balance, ToBeforeID: beforeB,
	})
	return nil
}
