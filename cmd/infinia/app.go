package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
)

type appCmd struct {
	Create   appCreate   `cmd:"" help:"Let an integrator in."`
	List     appList     `cmd:"" help:"List all apps."`
	Show     appShow     `cmd:"" help:"Show an app and its settings."`
	Settings appSettings `cmd:"" help:"Change settings of an app."`
	Disable  appDisable  `cmd:"" help:"Refuse every call and login of an app."`
	Enable   appEnable   `cmd:"" help:"Let a disabled app in again."`
}

type appCreate struct {
	AppID              string `arg:"" help:"1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit."`
	Name               string `required:"" env:"-" placeholder:"TEXT" help:"What a seller sees on the hosted page."`
	Settings           string `env:"-" placeholder:"FILE" help:"Settings as JSON; - reads them from standard input."`
	PlatformPrivateKey string `env:"-" placeholder:"FILE" help:"The app's platform key. Without it the server makes one."`
	actor
}

func (appCreate) Help() string {
	return "What the integrator needs to know is the platform's public key, which infinia key export prints. " +
		"What it has to send is its own public key, which infinia key import registers."
}

func (c appCreate) Run(ctx context.Context, con console) error {
	n := admin.NewApp{AppID: c.AppID, Name: c.Name}
	var err error
	if c.Settings != "" {
		if n.Settings, err = readSettings(con, c.Settings); err != nil {
			return err
		}
	}
	if c.PlatformPrivateKey != "" {
		text, err := readFile(con, c.PlatformPrivateKey)
		if err != nil {
			return err
		}
		n.PlatformPrivateKey = string(text)
	}
	return performShown(con, c.actor, func(api *admin.Client, a admin.Act) (admin.AppAdded, error) {
		n.Act = a
		return api.AddApp(ctx, n)
	}, func(added admin.AppAdded) any { return added.App })
}

type appList struct {
	paging
	operator
}

func (c appList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.App], error) {
		return api.Apps(ctx, admin.AppsFilter{Page: c.page()})
	}, "appId disabled createdAt name", func(a admin.App) []any {
		return []any{a.AppID, a.Disabled, a.CreatedAt, a.Name}
	})
}

type appShow struct {
	AppID string `arg:"" help:"The app."`
	operator
}

func (c appShow) Run(ctx context.Context, con console) error {
	return show(con, c.operator, func(api *admin.Client) (admin.App, error) { return api.App(ctx, c.AppID) })
}

type appSettings struct {
	AppID   string   `arg:"" help:"The app."`
	Changes []string `arg:"" optional:"" name:"name=value" sep:"none" help:"Settings to change, such as linkMinutes=15; with nothing behind the = the default is back."`
	File    string   `env:"-" placeholder:"FILE" help:"Replace all settings by this JSON; - reads it from standard input."`
	actor
}

func (appSettings) Help() string {
	var b strings.Builder
	b.WriteString("Lists are written with commas: currencies=CNH,USD. Limits are JSON: limitPerShare={\"CNH\":\"100.00\"}.\n\nThe settings:\n\n")
	for f := range reflect.TypeFor[store.Settings]().Fields() {
		fmt.Fprintf(&b, "  %-20s%s\n", memberName(f), f.Tag.Get("doc"))
	}
	return b.String()
}

func (c appSettings) Run(ctx context.Context, con console) error {
	if c.File == "" && len(c.Changes) == 0 {
		return hinted{errors.New("nothing to change"), "infinia app settings --help lists the settings"}
	}
	var given store.Settings
	var err error
	if c.File != "" {
		if given, err = readSettings(con, c.File); err != nil {
			return err
		}
	}
	if err := change(&given, c.Changes); err != nil {
		return err
	}
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.App, error) {
		set := given
		if c.File == "" {
			app, err := api.App(ctx, c.AppID)
			if err != nil {
				return app, err
			}
			set = app.Settings
			if err := change(&set, c.Changes); err != nil {
				return app, err
			}
		}
		return api.SetSettings(ctx, c.AppID, admin.NewSettings{Act: a, Settings: set})
	})
}

func change(set *store.Settings, changes []string) error {
	for _, text := range changes {
		if err := setMember(set, text); err != nil {
			return err
		}
	}
	return nil
}

// setMember carries out name=value.
func setMember(set *store.Settings, text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q has no =", text)
	}
	f := reflect.ValueOf(set).Elem().FieldByNameFunc(func(field string) bool {
		f, _ := reflect.TypeFor[store.Settings]().FieldByName(field)
		return memberName(f) == name
	})
	switch {
	case !f.IsValid():
		return hinted{fmt.Errorf("there is no setting %q", name), "infinia app settings --help lists the settings"}
	case value == "":
		f.SetZero()
	case f.Kind() == reflect.String:
		f.SetString(value)
	case f.Kind() == reflect.Slice:
		f.Set(reflect.ValueOf(strings.Split(value, ",")))
	default:
		is := reflect.New(f.Type())
		if err := json.Unmarshal([]byte(value), is.Interface()); err != nil {
			return fmt.Errorf("%s: %q is not %s", name, value, kindName(f.Kind()))
		}
		f.Set(is.Elem())
	}
	return nil
}

func memberName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Map:
		return `JSON such as {"CNH":"100.00"}`
	}
	return "a number"
}

// readSettings reads settings; a member that does not exist is a mistake that the server would not see.
func readSettings(con console, path string) (set store.Settings, err error) {
	text, err := readFile(con, path)
	if err != nil {
		return set, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set); err != nil {
		return set, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

type appDisable struct {
	AppID string `arg:"" help:"The app."`
	actor
}

func (c appDisable) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.App, error) { return api.DisableApp(ctx, c.AppID, a) })
}

type appEnable struct {
	AppID string `arg:"" help:"The app."`
	actor
}

func (c appEnable) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.App, error) { return api.EnableApp(ctx, c.AppID, a) })
}
