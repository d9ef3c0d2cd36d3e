package op

import (
	"fmt"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
)

// The states of a seller, in all currencies at once; they survive every binding:
//
//	ACTIVE -> FROZEN
//	FROZEN -> ACTIVE

// isFrozen says whether a seller is frozen.
func isFrozen(v *store.View, k store.SellerKey) bool {
	s, ok := v.Sellers.Get(k)
	return ok && s.Status == string(infinia.SellerIsFrozen)
}

// SetSellerStatus freezes or resumes a seller and leaves the webhook that says so. The unit's keys are the app, the
// seller and the seller's events.
func SetSellerStatus(v *store.View, k store.SellerKey, status infinia.SellerStatus) error {
	s, ok := v.Sellers.Get(k)
	if !ok {
		return infinia.Errorf(infinia.NotFound, infinia.FieldError{Field: "sellerId", Code: infinia.NotFound, Message: "is not known"})
	}
	if s.Status == string(status) {
		return fmt.Errorf("the seller is %s already: %w", status, ErrState)
	}
	set, err := v.SettingsOf(k.AppID)
	if err != nil {
		return err
	}
	s.Status, s.ChangedAt = string(status), v.Now()
	v.Sellers.Put(k, s)
	return outbox.Notify(v, set, outbox.Event{AppID: k.AppID, SellerID: k.SellerID, Event: outbox.EventSellerStatus,
		Content: map[string]string{"sellerId": k.SellerID, "status": s.Status}})
}
