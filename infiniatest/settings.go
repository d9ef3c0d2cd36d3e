package infiniatest

import (
	"context"
	"time"

	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
)

// Settings are what an operator sets for the app. Zero values are the defaults.
type Settings struct {
	Currencies      []string      // that the app may use; none: any
	CapBasisPoints  int64         // how much of the trades may be shared, in 1/10000; 0: all
	IgnoreUnshipped bool          // only trades that were shipped count
	AcceptPartial   bool          // the good rows of a trade file count although others are bad
	ReviewBindings  bool          // what a seller confirmed waits for Approve or Reject; else it is approved at once
	SettleDelay     time.Duration // from accepting a share to settling it

	// Most that may be shared: decimal amounts by currency.
	LimitPerShare     map[string]string
	LimitPerSellerDay map[string]string
	LimitPerDay       map[string]string

	CallbackURL   string   // where webhooks go; none are sent if empty. See also Webhooks
	Events        []string // that are sent beside the sellers' states: binding, file, share
	SignResponses bool     // for [infinia.RequireSignedResponses]
}

// unlimited is how many calls and blocks a second a sandbox takes.
const unlimited = 1e6

func (set Settings) stored() store.Settings {
	stored := store.Settings{
		Currencies:        set.Currencies,
		IgnoreUnshipped:   set.IgnoreUnshipped,
		AcceptPartial:     set.AcceptPartial,
		AutoApprove:       !set.ReviewBindings,
		SettleDelayMillis: set.SettleDelay.Milliseconds(),
		LimitPerShare:     set.LimitPerShare,
		LimitPerSellerDay: set.LimitPerSellerDay,
		LimitPerDay:       set.LimitPerDay,
		CallbackURL:       set.CallbackURL,
		Events:            set.Events,
		SignResponses:     set.SignResponses,
		BlocksPerSecond:   unlimited,
	}
	if set.CapBasisPoints != 0 {
		stored.CapBasisPoints = &set.CapBasisPoints
	}
	return stored
}

// SetSettings replaces the app's settings as a whole.
func (s *Sandbox) SetSettings(set Settings) {
	s.t.Helper()
	s.change(func(is *Settings) { *is = set })
}

func (s *Sandbox) change(to func(*Settings)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.settings
	to(&set)
	_, err := s.box.Admin.SetSettings(context.Background(), s.AppID, admin.NewSettings{Act: s.act(), Settings: set.stored()})
	s.must("change the settings", err)
	s.settings = set
}
