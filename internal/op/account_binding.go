package op

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// accountBinding opens a binding, or gives the seller another link to one that is open.
type accountBinding struct{}

func (accountBinding) Need(appID string, r infinia.AccountBindingRequest) store.Keys {
	return store.Keys{Sellers: []store.SellerKey{{AppID: appID, SellerID: r.SellerID}}}
}

func (accountBinding) Judge(v *store.View, e *Engine, appID string, r infinia.AccountBindingRequest) (rep infinia.AccountBindingReply, id int64, err error) {
	set, err := v.SettingsOf(appID)
	if err != nil {
		return rep, 0, err
	}
	if !usable(set, r.Currency) {
		return rep, 0, refuse(infinia.CurrencyNotUsable, "currency", notEnabled)
	}
	seller := store.SellerKey{AppID: appID, SellerID: r.SellerID}
	if boundUnderOther(v, seller, r.SellerCertNo) {
		return rep, 0, refuse(infinia.BoundUnderOtherCert, "sellerCertNo", "is not the one that this seller is bound under")
	}
	if b, ok := boundIn(v, seller, r.Currency); ok {
		return bindingReply(r, b, ""), b.ID, nil
	}
	for _, b := range v.BindingsOf(seller) {
		if b.Currency == r.Currency && isOpen(b) {
			b.LinkExpiresAt = 0 // dead
			if err := end(v, set, b, BindingFailed, "superseded by a later request"); err != nil {
				return rep, 0, err
			}
		}
	}
	if _, ok := v.Sellers.Get(seller); !ok {
		v.Sellers.Put(seller, pgdb.Seller{ID: v.NextID(), AppID: appID, SellerID: r.SellerID, Status: string(infinia.SellerActive),
			ChangedAt: v.Now(), CreatedAt: v.Now()})
	}
	b := pgdb.Binding{
		ID: v.NextID(), AppID: appID, SellerID: r.SellerID, Currency: r.Currency, RequestNo: r.RequestNo,
		SellerCertNo: r.SellerCertNo, SellerName: r.SellerName, StoreName: r.StoreName, StoreURL: r.StoreURL,
		EntityType: r.EntityType, Country: r.Country, Note: r.Note, BacklinkURL: r.BacklinkURL,
		State: BindingAwaitingSeller, CreatedAt: v.Now(), ConfirmBy: v.Now() + set.Confirm().Milliseconds(),
	}
	link := e.newLink(v, set, &b)
	v.AddTask(ExpiryQueue, b.ID, b.ConfirmBy)
	return bindingReply(r, b, link), b.ID, nil
}

// Again answers from the binding as it stands; while the seller has still to confirm, a fresh link kills the older one.
func (accountBinding) Again(v *store.View, e *Engine, appID string, r infinia.AccountBindingRequest, recordID int64) (rep infinia.AccountBindingReply, err error) {
	set, err := v.SettingsOf(appID)
	if err != nil {
		return rep, err
	}
	b, ok := v.Bindings.Get(recordID)
	if !ok {
		return rep, fmt.Errorf("binding %d of a stored request is missing", recordID)
	}
	link := ""
	if b.State == BindingAwaitingSeller && v.Now() < b.ConfirmBy {
		link = e.newLink(v, set, &b)
	}
	return bindingReply(r, b, link), nil
}

// newLink gives the binding a link that only its hash remembers.
func (e *Engine) newLink(v *store.View, set store.Settings, b *pgdb.Binding) string {
	random := v.NextRandom()
	token := base64.RawURLEncoding.EncodeToString(random[:16])
	b.LinkHash = linkHash(token)
	b.LinkExpiresAt = min(v.Now()+set.Link().Milliseconds(), b.ConfirmBy)
	v.Bindings.Put(b.ID, *b)
	return e.PublicURL + "/b/" + token
}

func linkHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func bindingReply(r infinia.AccountBindingRequest, b pgdb.Binding, link string) infinia.AccountBindingReply {
	return infinia.AccountBindingReply{RequestNo: r.RequestNo, SellerID: r.SellerID, Status: BindingStatus(b.State), RedirectURL: link}
}
