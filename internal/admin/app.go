package admin

import (
	"context"
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/outbox"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/money"
)

// App is an integrator's access.
type App struct {
	ID        ID             `json:"id"`
	AppID     string         `json:"appId"`
	Name      string         `json:"name"`
	Disabled  bool           `json:"disabled"`
	Settings  store.Settings `json:"settings"`
	CreatedAt time.Time      `json:"createdAt"`
}

// NewApp asks for an app.
type NewApp struct {
	Act
	AppID              string         `json:"appId" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"`
	Name               string         `json:"name" maxLength:"128" pattern:"^[^\\x00]*\\S[^\\x00]*$" patternDescription:"text" doc:"what a seller sees on the hosted page"`
	Settings           store.Settings `json:"settings,omitzero"`
	PlatformPrivateKey string         `json:"platformPrivateKey,omitempty" maxLength:"16384" writeOnly:"true" doc:"the app's platform key as PEM; without it the server makes one"`
}

// AppAdded is a new app with the public half of its platform key.
type AppAdded struct {
	App
	PlatformKey Key `json:"platformKey"`
}

// NewSettings replaces an app's settings as a whole.
type NewSettings struct {
	Act
	Settings store.Settings `json:"settings"`
}

// AppsFilter says which apps are wanted.
type AppsFilter struct{ Page }

func apps(s *server) {
	list(s, "/apps", "list-apps", "Apps", func(ctx context.Context, q *pgdb.Queries, _ AppsFilter, before int64, most int32) ([]pgdb.App, error) {
		return q.PageApps(ctx, pgdb.PageAppsParams{Before: before, Most: most})
	}, showApp, func(a App) ID { return a.ID })
	handle(s, http.MethodGet, "/apps/{appId}", "get-app", "One app", func(ctx context.Context, in *struct {
		AppID string `path:"appId"`
	}) (App, error) {
		row, err := read(ctx, s, func(q *pgdb.Queries) (pgdb.App, error) { return q.GetApp(ctx, in.AppID) })
		if err != nil {
			return App{}, err
		}
		return showApp(row)
	})
	handle(s, http.MethodPost, "/apps", "add-app", "Add an app with its platform key", s.addApp)
	handle(s, http.MethodPut, "/apps/{appId}/settings", "set-settings", "Replace all settings of an app",
		func(ctx context.Context, in *onApp[NewSettings]) (App, error) {
			return s.changeApp(ctx, "app.settings", in.AppID, in.Body.Act, in, func(q *pgdb.Queries, app *pgdb.App) error {
				was, err := store.SettingsOf(*app)
				if err != nil {
					return err
				}
				filed, err := q.AppHasRows(ctx, in.AppID)
				if err != nil {
					return err
				}
				if filed && was.Zone != in.Body.Settings.Zone {
					return conflict("settings.zone", "cannot change any more: times in the files that this app has sent were read in it, and the same rows would count again")
				}
				app.Settings, err = jsonText(in.Body.Settings)
				return err
			})
		})
	for _, verb := range []struct {
		path, summary string
		disabled      int64
	}{{"disable", "Refuse every call and login of an app", 1}, {"enable", "Let an app in again", 0}} {
		handle(s, http.MethodPost, "/apps/{appId}/"+verb.path, verb.path+"-app", verb.summary,
			func(ctx context.Context, in *onApp[Act]) (App, error) {
				return s.changeApp(ctx, "app."+verb.path, in.AppID, in.Body, in, func(_ *pgdb.Queries, app *pgdb.App) error {
					if app.Disabled == verb.disabled {
						return fmt.Errorf("the app is %sd already: %w", verb.path, op.ErrState)
					}
					app.Disabled = verb.disabled
					return nil
				})
			})
	}
}

func (s *server) addApp(ctx context.Context, in *body[NewApp]) (AppAdded, error) {
	b := in.Body
	pair, err := s.pair(ctx, b.Reference, b.PlatformPrivateKey)
	if err != nil {
		return AppAdded{}, err
	}
	settings, err := jsonText(b.Settings)
	if err != nil {
		return AppAdded{}, err
	}
	return once(ctx, s, act[AppAdded]{Act: b.Act, name: "app.add", appID: b.AppID, content: in, keys: store.Keys{Apps: []string{b.AppID}},
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[AppAdded], err error) {
			if _, ok := v.Apps.Get(b.AppID); ok {
				return c, conflict("appId", "is taken")
			}
			row := pgdb.App{ID: v.NextID(), AppID: b.AppID, Name: b.Name, Settings: settings, CreatedAt: v.Now()}
			if err := q.InsertApp(ctx, pgdb.InsertAppParams(row)); err != nil {
				return c, err
			}
			platform := pairRow(store.PlatformKey, pair)
			platform.AppID, platform.PrivateKey = b.AppID, string(envelope.MarshalPrivateKey(pair))
			key, err := s.insertKey(ctx, v, q, platform, "platformPrivateKey")
			if err != nil {
				return c, err
			}
			app, err := showApp(row)
			return change[AppAdded]{subject: "app " + b.AppID, after: AppAdded{app, key}}, err
		}})
}

// pair reads the key that was given, or makes one unless the act was done before.
func (s *server) pair(ctx context.Context, reference, given string) (*rsa.PrivateKey, error) {
	if given != "" {
		return envelope.ParsePrivateKey([]byte(given))
	}
	return s.generate(ctx, reference)
}

// changeApp does the acts that change an app's row.
func (s *server) changeApp(ctx context.Context, name, appID string, a Act, content any, fn func(q *pgdb.Queries, app *pgdb.App) error) (App, error) {
	return once(ctx, s, act[App]{Act: a, name: name, appID: appID, content: content, keys: store.Keys{Apps: []string{appID}},
		alone: func(ctx context.Context, v *store.View, q *pgdb.Queries) (c change[App], err error) {
			row, err := appOf(v, appID)
			if err != nil {
				return c, err
			}
			before, err := showApp(row)
			if err != nil {
				return c, err
			}
			if err := fn(q, &row); err != nil {
				return c, err
			}
			if err := q.UpdateApp(ctx, pgdb.UpdateAppParams{AppID: appID, Name: row.Name, Disabled: row.Disabled, Settings: row.Settings}); err != nil {
				return c, err
			}
			after, err := showApp(row)
			return change[App]{subject: "app " + appID, before: before, after: after}, err
		}})
}

func appOf(v *store.View, appID string) (pgdb.App, error) {
	app, ok := v.Apps.Get(appID)
	if !ok {
		return app, huma.Error404NotFound("there is no app " + appID)
	}
	return app, nil
}

func showApp(r pgdb.App) (App, error) {
	set, err := store.SettingsOf(r)
	return App{ID: idOf(r.ID), AppID: r.AppID, Name: r.Name, Disabled: r.Disabled != 0, Settings: set, CreatedAt: at(r.CreatedAt)}, err
}

// Resolve checks what the schema cannot.
func (n *NewApp) Resolve(ctx huma.Context, at *huma.PathBuffer) []error {
	f := &faults{at: at.String()}
	if n.PlatformPrivateKey != "" {
		if _, err := envelope.ParsePrivateKey([]byte(n.PlatformPrivateKey)); err != nil {
			f.add("platformPrivateKey", err.Error())
		}
	}
	f.settings(n.Settings, callerOf(ctx.Context()).production)
	return f.errs
}

// Resolve checks what the schema cannot.
func (n *NewSettings) Resolve(ctx huma.Context, at *huma.PathBuffer) []error {
	f := &faults{at: at.String()}
	f.settings(n.Settings, callerOf(ctx.Context()).production)
	return f.errs
}

// settings holds every setting against what the rest of the system can work with.
func (f *faults) settings(set store.Settings, production bool) {
	for i, name := range set.Operations {
		if !op.Known(name) {
			f.add(fmt.Sprintf("settings.operations[%d]", i), "is no operation")
		}
	}
	for i, text := range set.Addresses {
		_, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); err != nil && (aerr != nil || a.Zone() != "") {
			f.add(fmt.Sprintf("settings.addresses[%d]", i), "must be an address or a range such as 192.0.2.0/24")
		}
	}
	for i, code := range set.Currencies {
		if !money.Known(code) {
			f.add(fmt.Sprintf("settings.currencies[%d]", i), unknownCurrency)
		}
	}
	if _, err := store.ParseZone(set.Zone); err != nil {
		f.add("settings.zone", "must be a time zone such as Asia/Shanghai or +08:00")
	}
	for _, n := range []struct {
		field       string
		value, most float64
	}{
		{"capBasisPoints", float64(set.Cap()), 10000},
		{"uploadQuietSeconds", float64(set.UploadQuietSeconds), 86400},
		{"uploadFileMegabytes", float64(set.UploadFileMegabytes), 1 << 20},
		{"uploadMegabytes", float64(set.UploadMegabytes), 1 << 20},
		{"uploadFiles", float64(set.UploadFiles), 1e6},
		{"keepUploadDays", float64(set.KeepUploadDays), 36525},
		{"linkMinutes", float64(set.LinkMinutes), 30 * 1440},
		{"confirmDays", float64(set.ConfirmDays), 366},
		{"settleDelayMillis", float64(set.SettleDelayMillis), 30 * 86400_000},
		{"blockBytes", float64(set.BlockBytes), 245}, // what fits the smallest key
		{"blocksPerSecond", set.BlocksPerSecond, 1e6},
	} {
		if n.value < 0 || n.value > n.most {
			f.add("settings."+n.field, fmt.Sprintf("must be from 0 to %.0f", n.most))
		}
	}
	for _, l := range []struct {
		field  string
		limits map[string]string
	}{{"limitPerShare", set.LimitPerShare}, {"limitPerSellerDay", set.LimitPerSellerDay}, {"limitPerDay", set.LimitPerDay}} {
		for _, code := range slices.Sorted(maps.Keys(l.limits)) {
			if fault := amountFault(l.limits[code], code); fault != "" {
				f.add("settings."+l.field+"."+code, fault)
			}
		}
	}
	if fault := urlFault(set.CallbackURL, production); fault != "" && set.CallbackURL != "" {
		f.add("settings.callbackUrl", fault)
	}
	for i, event := range set.Events {
		if event != outbox.EventBinding && event != outbox.EventFile && event != outbox.EventShare {
			f.add(fmt.Sprintf("settings.events[%d]", i), "must be binding, file or share")
		}
	}
}

func urlFault(text string, production bool) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil:
		return "must be an absolute http or https address without user name"
	case production && u.Scheme != "https":
		return "must be https in production"
	}
	return ""
}

const unknownCurrency = "must be a known currency of three letters such as CNH"

// amountFault says what is wrong with an amount, which has to be above zero.
func amountFault(text, currency string) string {
	if !money.Known(currency) {
		return unknownCurrency
	}
	a, err := money.Parse(text, money.Currency(currency))
	switch {
	case err != nil:
		return err.Error()
	case a.Minor <= 0:
		return "must be above zero"
	}
	return ""
}
