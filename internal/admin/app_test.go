package admin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
)

func TestApps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, nil)
		n := NewApp{Act: r.act(), AppID: testApp, Name: "Demo", Settings: store.Settings{Zone: "Asia/Shanghai"}, PlatformPrivateKey: keyFile(t, "test-platform-2048.pem")}
		added := must(r, r.AddApp, n)
		if added.AppID != testApp || added.Settings.Zone != "Asia/Shanghai" || added.PlatformKey.Owner != store.PlatformKey || !added.PlatformKey.Primary {
			t.Errorf("added %+v", added)
		}
		r.audited("app.add", nil, added)
		if diff := cmp.Diff(added, must(r, r.AddApp, n)); diff != "" {
			t.Errorf("the same act again: %s", diff)
		}
		other := n
		other.Name = "Other"
		_, err := r.AddApp(r.Context(), other)
		r.refused(err, 409, "reference")
		n.Act = r.act()
		_, err = r.AddApp(r.Context(), n)
		r.refused(err, 409, "appId")
		n.AppID = "second"
		_, err = r.AddApp(r.Context(), n)
		r.refused(err, 409, "platformPrivateKey")
		n.PlatformPrivateKey = "" // the same reference: a refused act leaves it free
		second := must(r, r.AddApp, n)
		if key, err := envelope.ParsePublicKey([]byte(second.PlatformKey.PublicKey)); err != nil || key.N.BitLen() != 2048 {
			t.Errorf("generated key: %v", err)
		}
		if diff := cmp.Diff(second, must(r, r.AddApp, n)); diff != "" {
			t.Errorf("the same act with a generated key again: %s", diff)
		}

		page := must(r, r.Apps, AppsFilter{Page{Most: 1}})
		if len(page.Items) != 1 || page.Items[0].AppID != "second" || page.Next == "" {
			t.Errorf("first page: %+v", page)
		}
		page = must(r, r.Apps, AppsFilter{Page{Most: 1, Before: page.Next}})
		if len(page.Items) != 1 || page.Items[0].AppID != testApp || page.Next != "" {
			t.Errorf("second page: %+v", page)
		}
		_, err = r.App(r.Context(), "third")
		r.refused(err, 404)
		for _, a := range must(r, r.Audits, AuditsFilter{}).Items {
			if strings.Contains(string(a.After), "PRIVATE") {
				t.Error("a private key is in the audit")
			}
		}
	})
}

func TestDisableApp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		was := must(r, r.App, testApp)
		a := r.act()
		is := must2(r, r.DisableApp, testApp, a)
		if diff := cmp.Diff(is, must2(r, r.DisableApp, testApp, a)); !is.Disabled || diff != "" {
			t.Errorf("disabled: %+v, again: %s", is, diff)
		}
		r.audited("app.disable", was, is)
		_, err := r.EnableApp(r.Context(), testApp, a)
		r.refused(err, 409, "reference")
		_, err = r.DisableApp(r.Context(), testApp, r.act())
		r.refused(err, 409)
		if is = must2(r, r.EnableApp, testApp, r.act()); is.Disabled {
			t.Errorf("enabled: %+v", is)
		}
		_, err = r.DisableApp(r.Context(), "third", r.act())
		r.refused(err, 404)
		_, err = r.DisableApp(r.Context(), testApp, Act{Reference: "-", Reason: " "})
		r.refused(err, 422, "reference", "reason")
	})
}

func TestSettings(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{AutoApprove: true})
		was := must(r, r.App, testApp)
		set := store.Settings{
			Operations: []string{"revenue-sharing/request"}, Addresses: []string{"192.0.2.0/24", "2001:db8::1"}, Currencies: []string{"CNH", "USD"},
			Zone: "+09:30", CapBasisPoints: new(int64(5000)), LinkMinutes: 10, BlockBytes: 64, BlocksPerSecond: 0.5, Events: []string{"file"},
			LimitPerShare: map[string]string{"CNH": "100.5"}, CallbackURL: "http://127.0.0.1:9/hook",
		}
		is := must2(r, r.SetSettings, testApp, NewSettings{r.act(), set})
		if diff := cmp.Diff(set, is.Settings); diff != "" {
			t.Errorf("settings are replaced as a whole: %s", diff)
		}
		r.audited("app.settings", was, is)
		if diff := cmp.Diff(is, must(r, r.App, testApp)); diff != "" {
			t.Error(diff)
		}
		for field, wrong := range map[string]store.Settings{
			"operations[0]":         {Operations: []string{"x"}},
			"addresses[1]":          {Addresses: []string{"192.0.2.1", "192.0.2.0/33"}},
			"addresses[0]":          {Addresses: []string{"fe80::1%eth0"}},
			"currencies[0]":         {Currencies: []string{"cnh"}},
			"zone":                  {Zone: "Local"},
			"capBasisPoints":        {CapBasisPoints: new(int64(10001))},
			"linkMinutes":           {LinkMinutes: -1},
			"blockBytes":            {BlockBytes: 246},
			"blocksPerSecond":       {BlocksPerSecond: -0.5},
			"limitPerShare.CNH":     {LimitPerShare: map[string]string{"CNH": "0"}},
			"limitPerSellerDay.XXX": {LimitPerSellerDay: map[string]string{"XXX": "1"}},
			"limitPerDay.JPY":       {LimitPerDay: map[string]string{"JPY": "1.5"}},
			"callbackUrl":           {CallbackURL: "ftp://example.com"},
			"events[0]":             {Events: []string{"seller-status"}},
		} {
			_, err := r.SetSettings(r.Context(), testApp, NewSettings{r.act(), wrong})
			r.refused(err, 422, "settings."+field)
		}
		_, err := r.SetSettings(r.Context(), "third", NewSettings{r.act(), set})
		r.refused(err, 404)
	})
}

func TestProductionCallbackIsHTTPS(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := newRig(t, engine, func(c *Config) { c.Production, c.Sandbox = true, nil })
		n := NewApp{Act: r.act(), AppID: testApp, Name: "Demo", Settings: store.Settings{CallbackURL: "http://example.com/"},
			PlatformPrivateKey: keyFile(t, "test-platform-2048.pem")}
		_, err := r.AddApp(r.Context(), n)
		r.refused(err, 422, "settings.callbackUrl")
		n.Settings.CallbackURL = "https://example.com/"
		must(r, r.AddApp, n)
	})
}

const loginKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvA5GPwNkS7PT4BqHj8RqLf7kCkLIJTQYbvrWBdHo1M"

func TestKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		must(r, r.AddApp, NewApp{Act: r.act(), AppID: "second", Name: "Second", PlatformPrivateKey: keyFile(t, "test-platform-3072.pem")})
		add := func(appID string, n NewKey) (KeyAdded, error) {
			n.Act = r.act()
			return r.AddKey(r.Context(), appID, n)
		}
		client, err := add(testApp, NewKey{Owner: "client", PublicKey: keyFile(t, "test-client-2048.cert.pem")})
		if err != nil || client.Owner != "client" || !client.Primary || client.PrivateKey != "" {
			t.Fatalf("client key: %+v %v", client, err)
		}
		r.audited("key.add", nil, client)
		_, err = add("second", NewKey{Owner: "client", PublicKey: keyFile(t, "test-client-2048.pub.pem")})
		if e := r.refused(err, 409, "publicKey"); !strings.Contains(e.Detail, "client key") || !strings.Contains(e.Detail, testApp) {
			t.Errorf("refusal: %v", e)
		}
		_, err = add(testApp, NewKey{Owner: "client", PublicKey: keyFile(t, "test-platform-3072.pub.pem")})
		r.refused(err, 409, "publicKey")
		_, err = add("third", NewKey{Owner: "client", PublicKey: keyFile(t, "test-client-4096.pub.pem")})
		r.refused(err, 404)

		// A second client key signs first and becomes primary; the operator can choose the other one.
		newer, err := add(testApp, NewKey{Owner: "client", PublicKey: keyFile(t, "test-client-4096.pub.pem")})
		if err != nil || newer.Primary {
			t.Fatalf("newer client key: %+v %v", newer, err)
		}
		a := r.act()
		made, err := r.MakeKeyPrimary(r.Context(), testApp, newer.ID, a)
		if err != nil || !made.Primary {
			t.Fatalf("primary: %+v %v", made, err)
		}
		r.audited("key.primary", newer.Key, made)
		if again, err := r.MakeKeyPrimary(r.Context(), testApp, newer.ID, a); err != nil || again != made {
			t.Errorf("the same act again: %+v %v", again, err)
		}
		if back, err := r.MakeKeyPrimary(r.Context(), testApp, client.ID, r.act()); err != nil || !back.Primary {
			t.Errorf("primary within the same millisecond: %+v %v", back, err)
		}
		retired, err := r.RetireKey(r.Context(), testApp, newer.ID, r.act())
		if err != nil || retired.RetiredAt.IsZero() || retired.Primary {
			t.Errorf("retired: %+v %v", retired, err)
		}
		for name, refuse := range map[string]func() error{
			"retire twice":      func() error { _, err := r.RetireKey(r.Context(), testApp, newer.ID, r.act()); return err },
			"a retired primary": func() error { _, err := r.MakeKeyPrimary(r.Context(), testApp, newer.ID, r.act()); return err },
			"last platform key": func() error { _, err := r.RetireKey(r.Context(), testApp, r.keyOf("platform").ID, r.act()); return err },
			"a platform primary": func() error {
				_, err := r.MakeKeyPrimary(r.Context(), testApp, r.keyOf("platform").ID, r.act())
				return err
			},
		} {
			t.Log(name)
			r.refused(refuse(), 409)
		}
		_, err = add(testApp, NewKey{Owner: "client", PublicKey: keyFile(t, "test-client-4096.pub.pem")})
		if e := r.refused(err, 409, "publicKey"); !strings.Contains(e.Detail, "retired") {
			t.Errorf("refusal: %v", e)
		}
		_, err = r.RetireKey(r.Context(), "second", client.ID, r.act())
		r.refused(err, 404)
		_, err = r.RetireKey(r.Context(), testApp, "9223372036854775808", r.act())
		r.refused(err, 404)
		_, err = r.RetireKey(r.Context(), testApp, "x", r.act())
		r.refused(err, 422, "id")
		_, err = r.Keys(r.Context(), "third")
		r.refused(err, 404)

		// With another platform key the first can go.
		platform, err := add(testApp, NewKey{Owner: "platform", Generate: true})
		if err != nil || platform.Primary || platform.PrivateKey != "" {
			t.Fatalf("platform key: %+v %v", platform, err)
		}
		if _, err := r.RetireKey(r.Context(), testApp, r.keyOf("platform").ID, r.act()); err != nil {
			t.Error(err)
		}
		if k := r.keyOf("platform"); k.ID != platform.ID || !k.Primary {
			t.Errorf("platform key after the retirement: %+v", k)
		}
	})
}

// keyOf is the app's oldest valid key of an owner.
func (r *rig) keyOf(owner string) (oldest Key) {
	r.Helper()
	for _, k := range must(r, r.Keys, testApp).Items {
		if k.Owner == owner && k.RetiredAt.IsZero() {
			oldest = k
		}
	}
	return oldest
}

func TestLoginKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		key := must2(r, r.AddKey, testApp, NewKey{Act: r.act(), Owner: "sftp", PublicKey: loginKey + " someone@example.com\n"})
		if key.PublicKey != loginKey || !strings.HasPrefix(key.Fingerprint, "SHA256:") || key.Primary {
			t.Errorf("login key: %+v", key)
		}
		if pem := must2(r, r.AddKey, testApp, NewKey{Act: r.act(), Owner: "sftp", PublicKey: keyFile(t, "test-client-2048.pub.pem")}); !strings.HasPrefix(pem.PublicKey, "ssh-rsa ") {
			t.Errorf("login key from PEM: %+v", pem)
		}
		for name, n := range map[string]NewKey{
			"options":     {Owner: "sftp", PublicKey: `from="192.0.2.1" ` + loginKey},
			"two keys":    {Owner: "sftp", PublicKey: loginKey + "\n" + loginKey},
			"private key": {Owner: "sftp", PublicKey: keyFile(t, "test-client-2048.pem")},
			"no key":      {Owner: "sftp", PublicKey: "ssh-ed25519 x"},
			"for client":  {Owner: "client", PublicKey: loginKey},
			"nothing":     {Owner: "client"},
			"both":        {Owner: "client", PublicKey: loginKey, Generate: true},
		} {
			t.Log(name)
			n.Act = r.act()
			_, err := r.AddKey(r.Context(), testApp, n)
			r.refused(err, 422, "publicKey")
		}
		for _, n := range []NewKey{{Owner: "sftp", Generate: true}, {Owner: "platform", PublicKey: keyFile(t, "test-client-2048.pub.pem")}} {
			n.Act = r.act()
			_, err := r.AddKey(r.Context(), testApp, n)
			r.refused(err, 422, "generate")
		}
		_, err := r.AddKey(r.Context(), testApp, NewKey{Act: r.act(), Owner: "nobody", PublicKey: loginKey})
		r.refused(err, 422, "owner", "publicKey")
	})
}

func TestGeneratedClientKeyIsAnsweredOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		t.Parallel()
		r := withApp(t, engine, store.Settings{})
		n := NewKey{Act: r.act(), Owner: "client", Generate: true}
		first := must2(r, r.AddKey, testApp, n)
		private, err := envelope.ParsePrivateKey([]byte(first.PrivateKey))
		if err != nil || envelope.Fingerprint(&private.PublicKey) != first.Fingerprint {
			t.Fatalf("generated: %+v %v", first.Key, err)
		}
		if again := must2(r, r.AddKey, testApp, n); again.PrivateKey != "" || again.Key != first.Key {
			t.Errorf("the same act again: %+v", again)
		}
		row, err := read(r.Context(), &server{db: r.e.DB}, func(q *pgdb.Queries) (pgdb.AppKey, error) { return q.GetKey(r.Context(), first.ID.number()) })
		if err != nil || row.PrivateKey != "" {
			t.Errorf("the server kept the private key: %v", err)
		}
		r.audited("key.add", nil, KeyAdded{Key: first.Key})

		production := newRig(t, engine, func(c *Config) { c.Production, c.Sandbox = true, nil })
		must(production, production.AddApp, NewApp{Act: r.act(), AppID: testApp, Name: "Demo", PlatformPrivateKey: keyFile(t, "test-platform-2048.pem")})
		_, err = production.AddKey(t.Context(), testApp, n)
		production.refused(err, 422, "generate")
	})
}
