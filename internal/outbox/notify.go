package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// The events. The first is the contract's [D] and goes to every app that has a callback URL; the others are an opt-in [O].
const (
	EventSellerStatus = "seller-status"
	EventBinding      = "binding"
	EventFile         = "file"
	EventShare        = "share"
)

// The states of a delivery:
//
//	PENDING -> DELIVERED
//	PENDING -> DEAD          after the last retry
//	PENDING -> SUPERSEDED    a newer status event of the same seller exists
//	DEAD -> SUPERSEDED
//	DEAD -> PENDING          sent again by hand
//	DELIVERED -> PENDING     sent again by hand
const (
	Pending    = "PENDING"
	Delivered  = "DELIVERED"
	Dead       = "DEAD"
	Superseded = "SUPERSEDED"
)

// Event is something that an app is told of.
type Event struct {
	AppID, SellerID string
	Event           string
	Content         map[string]string // without requestNo and event, which Notify adds
}

// WebhookQueue is the queue of one app's webhooks: one is in flight at a time.
func WebhookQueue(appID string) string { return "webhook/" + appID }

// Notify leaves a webhook in the unit that causes it. A newer status event ends every older one of the same seller that
// is not delivered, so that the last word an app hears is the present one; the unit's keys must name the seller's Events.
func Notify(v *store.View, set store.Settings, e Event) error {
	if e.Event == EventSellerStatus {
		for _, d := range v.EventsOf(store.SellerKey{AppID: e.AppID, SellerID: e.SellerID}) {
			if d.Event == EventSellerStatus && (d.State == Pending || d.State == Dead) {
				d.State, d.FinishedAt = Superseded, v.Now()
				v.Deliveries.Put(d.ID, d)
			}
		}
	}
	if set.CallbackURL == "" || (e.Event != EventSellerStatus && !slices.Contains(set.Events, e.Event)) {
		return nil
	}
	random := v.NextRandom()
	number, err := uuid.FromBytes(random[:16])
	if err != nil {
		return err
	}
	number[6] = number[6]&0x0f | 0x40 // version 4, variant 1: the form of the documented example
	number[8] = number[8]&0x3f | 0x80
	content := map[string]string{"requestNo": number.String()}
	if e.Event != EventSellerStatus {
		content["event"] = e.Event
	}
	for k, value := range e.Content {
		content[k] = value
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	d := pgdb.Delivery{ID: v.NextID(), AppID: e.AppID, SellerID: e.SellerID, RequestNo: number.String(), Event: e.Event,
		Content: string(text), State: Pending, CreatedAt: v.Now(), DueAt: v.Now()}
	v.Deliveries.Put(d.ID, d)
	v.AddTask(WebhookQueue(e.AppID), d.ID, d.DueAt)
	return nil
}

// ErrNotReplayable says that a delivery cannot be sent again by hand.
var ErrNotReplayable = errors.New("cannot be sent again")

// Replay sends a delivery once more, under the same requestNo. newest is the newest status event of its seller: an older
// one would be the last word that the app hears, so it is refused.
func Replay(v *store.View, d, newest pgdb.Delivery) error {
	if d.State != Dead && d.State != Delivered {
		return fmt.Errorf("a delivery that is %s %w", d.State, ErrNotReplayable)
	}
	if d.Event == EventSellerStatus && d.ID != newest.ID {
		return fmt.Errorf("a status event that is not the seller's newest %w", ErrNotReplayable)
	}
	d.State, d.DueAt, d.FinishedAt = Pending, v.Now(), 0
	v.Deliveries.Put(d.ID, d)
	v.AddTask(WebhookQueue(d.AppID), d.ID, d.DueAt)
	return nil
}
