package op

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// The states of a binding:
//
//	AWAITING_SELLER -> AWAITING_REVIEW   the seller confirmed
//	AWAITING_SELLER -> FAILED            declined, expired, superseded
//	AWAITING_REVIEW -> SUCCESS           approved
//	AWAITING_REVIEW -> FAILED            rejected, superseded, bound under another certificate meanwhile
//	SUCCESS -> REVOKED                   by an operator
//
// The first two are PROCESSING to the caller.
const (
	BindingAwaitingSeller = "AWAITING_SELLER"
	BindingAwaitingReview = "AWAITING_REVIEW"
	BindingSuccess        = "SUCCESS"
	BindingFailed         = "FAILED"
	BindingRevoked        = "REVOKED"
)

// BindingStatus is a state as the caller sees it.
func BindingStatus(state string) infinia.BindingStatus {
	if state == BindingAwaitingSeller || state == BindingAwaitingReview {
		return infinia.BindingProcessing
	}
	return infinia.BindingStatus(state)
}

// ExpiryQueue is the outbox queue of bindings that end when no seller confirms in time.
const ExpiryQueue = "binding-expiry"

// ErrState says that an act does not fit the state of what it acts on.
var ErrState = errors.New("not possible in this state")

func isOpen(b pgdb.Binding) bool {
	return b.State == BindingAwaitingSeller || b.State == BindingAwaitingReview
}

// boundIn returns the seller's successful binding in a currency.
func boundIn(v *store.View, k store.SellerKey, currency string) (pgdb.Binding, bool) {
	for _, b := range v.BindingsOf(k) {
		if b.Currency == currency && b.State == BindingSuccess {
			return b, true
		}
	}
	return pgdb.Binding{}, false
}

// boundUnderOther says whether the seller is bound, in any currency, under another certificate.
func boundUnderOther(v *store.View, k store.SellerKey, certNo string) bool {
	return slices.ContainsFunc(v.BindingsOf(k), func(b pgdb.Binding) bool {
		return b.State == BindingSuccess && b.SellerCertNo != certNo
	})
}

func usable(set store.Settings, currency string) bool {
	return len(set.Currencies) == 0 || slices.Contains(set.Currencies, currency)
}

// Link is what the hosted page shows: the binding behind a link, and who asks for it.
type Link struct {
	Binding pgdb.Binding
	AppName string
	Expired bool // no longer to be confirmed through this link
}

// OpenLink finds the binding behind a link's token. Looking spends nothing: mail scanners open links. Its error is an
// *infinia.Error with NotFound for a link that never was or is dead.
func (e *Engine) OpenLink(ctx context.Context, token string) (Link, error) {
	var l Link
	err := e.DB.Read(ctx, func(q *pgdb.Queries) error {
		b, err := q.FindBindingByLink(ctx, linkHash(token))
		if store.NotFound(err) {
			return infinia.Errorf(infinia.NotFound)
		}
		if err != nil {
			return err
		}
		app, err := q.GetApp(ctx, b.AppID)
		if err != nil {
			return err
		}
		if app.Disabled != 0 {
			return infinia.Errorf(infinia.NotFound)
		}
		l = Link{Binding: b, AppName: app.Name, Expired: b.State == BindingAwaitingSeller && store.Millis(e.DB.Clock.Now()) >= b.LinkExpiresAt}
		return nil
	})
	return l, err
}

// Consent is the evidence that a seller confirmed.
type Consent struct {
	TextVersion string `json:"textVersion"` // which text the seller saw
	Language    string `json:"language"`
	Address     string `json:"address"` // network address of the browser
	UserAgent   string `json:"userAgent"`
	Time        string `json:"time"` // RFC 3339, UTC
}

// Confirm spends a link: the seller agrees. An app that approves by itself has the binding SUCCESS at once.
func (e *Engine) Confirm(ctx context.Context, token string, c Consent) (pgdb.Binding, error) {
	return e.spend(ctx, token, func(v *store.View, set store.Settings, b *pgdb.Binding) error {
		c.Time = timeText(v.Now())
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		b.State, b.ConfirmedAt, b.Consent = BindingAwaitingReview, v.Now(), string(text)
		v.Bindings.Put(b.ID, *b)
		if !set.AutoApprove {
			return nil
		}
		*b, err = Approve(v, *b)
		return err
	})
}

// Decline spends a link: the seller does not agree.
func (e *Engine) Decline(ctx context.Context, token string) (pgdb.Binding, error) {
	return e.spend(ctx, token, func(v *store.View, set store.Settings, b *pgdb.Binding) error {
		if err := end(v, set, *b, BindingFailed, "declined by the seller"); err != nil {
			return err
		}
		*b, _ = v.Bindings.Get(b.ID)
		return nil
	})
}

func (e *Engine) spend(ctx context.Context, token string, act func(*store.View, store.Settings, *pgdb.Binding) error) (pgdb.Binding, error) {
	l, err := e.OpenLink(ctx, token)
	if err != nil {
		return l.Binding, err
	}
	b := l.Binding
	err = e.DB.Do(ctx, store.Unit{
		Name: "binding page",
		Keys: store.Keys{Apps: []string{b.AppID}, Sellers: []store.SellerKey{{AppID: b.AppID, SellerID: b.SellerID}}},
		Judge: func(v *store.View) error {
			set, err := v.SettingsOf(b.AppID)
			if err != nil {
				return err
			}
			var ok bool
			b, ok = v.Bindings.Get(b.ID)
			if !ok || b.LinkExpiresAt == 0 || !hmac.Equal(b.LinkHash, linkHash(token)) {
				return infinia.Errorf(infinia.NotFound)
			}
			if b.State != BindingAwaitingSeller {
				return fmt.Errorf("binding is %s: %w", b.State, ErrState)
			}
			if v.Now() >= b.LinkExpiresAt {
				return infinia.Errorf(infinia.Expired)
			}
			return act(v, set, &b)
		},
	})
	return b, err
}

// Approve ends a review with SUCCESS, or with FAILED when the seller was bound under another certificate meanwhile.
func Approve(v *store.View, b pgdb.Binding) (pgdb.Binding, error) {
	if b.State != BindingAwaitingReview {
		return b, fmt.Errorf("approve a binding that is %s: %w", b.State, ErrState)
	}
	set, err := v.SettingsOf(b.AppID)
	if err != nil {
		return b, err
	}
	state, reason := BindingSuccess, ""
	if boundUnderOther(v, store.SellerKey{AppID: b.AppID, SellerID: b.SellerID}, b.SellerCertNo) {
		state, reason = BindingFailed, infinia.BoundUnderOtherCert.Message()
	}
	if err := end(v, set, b, state, reason); err != nil {
		return b, err
	}
	b, _ = v.Bindings.Get(b.ID)
	return b, nil
}

// Reject ends a review with FAILED.
func Reject(v *store.View, b pgdb.Binding, reason string) error {
	if b.State != BindingAwaitingReview {
		return fmt.Errorf("reject a binding that is %s: %w", b.State, ErrState)
	}
	set, err := v.SettingsOf(b.AppID)
	if err != nil {
		return err
	}
	return end(v, set, b, BindingFailed, "rejected: "+reason)
}

// Revoke takes a successful binding back.
func Revoke(v *store.View, b pgdb.Binding, reason string) error {
	if b.State != BindingSuccess {
		return fmt.Errorf("revoke a binding that is %s: %w", b.State, ErrState)
	}
	set, err := v.SettingsOf(b.AppID)
	if err != nil {
		return err
	}
	return end(v, set, b, BindingRevoked, "revoked: "+reason)
}

// end brings a binding into a state that ends a step, and tells the app if it asked for such events.
func end(v *store.View, set store.Settings, b pgdb.Binding, state, reason string) error {
	b.State, b.FailReason, b.DecidedAt = state, reason, v.Now()
	if state == BindingSuccess {
		b.BoundAt = v.Now()
	}
	v.Bindings.Put(b.ID, b)
	return outbox.Notify(v, set, outbox.Event{AppID: b.AppID, SellerID: b.SellerID, Event: outbox.EventBinding,
		Content: map[string]string{"bindingRequestNo": b.RequestNo, "sellerId": b.SellerID, "currency": b.Currency,
			"status": string(BindingStatus(state))}})
}

// ExpireBinding ends a binding that no seller confirmed in time; a review does not expire.
func (e *Engine) ExpireBinding(ctx context.Context, t pgdb.Task) error {
	var b pgdb.Binding
	if err := e.DB.Read(ctx, func(q *pgdb.Queries) (err error) { b, err = q.GetBinding(ctx, t.RecordID); return err }); err != nil {
		return fmt.Errorf("binding %d: %w", t.RecordID, err)
	}
	return e.DB.Do(ctx, store.Unit{
		Name: ExpiryQueue,
		Keys: store.Keys{Apps: []string{b.AppID}, Sellers: []store.SellerKey{{AppID: b.AppID, SellerID: b.SellerID}}},
		Judge: func(v *store.View) error {
			v.DropTask(t.ID)
			b, _ := v.Bindings.Get(t.RecordID)
			if b.State != BindingAwaitingSeller {
				return nil
			}
			set, err := v.SettingsOf(b.AppID)
			if err != nil {
				return err
			}
			b.LinkExpiresAt = 0
			return end(v, set, b, BindingFailed, "expired: the seller did not confirm in time")
		},
	})
}
