package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestOneServerOverAFolder: a second one is refused and takes nothing away from the first.
func TestOneServerOverAFolder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg, other := testConfig(t, engine, store.Settings{}), testConfig(t, engine, store.Settings{})
		other.Data = cfg.Data
		r := startConfig(t, cfg)
		was, err := os.ReadFile(filepath.Join(cfg.Data, "sandbox.json"))
		if err != nil {
			t.Fatal(err)
		}
		if second, err := StartSandbox(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second sandbox over the folder: %v, %v", second, err)
		}
		is, err := os.ReadFile(filepath.Join(cfg.Data, "sandbox.json"))
		equal(t, "sandbox.json", string(is), string(was))
		if err != nil {
			t.Error(err)
		}
		if _, err := r.Client.AccountBalance(t.Context(), infinia.AccountBalanceRequest{Currency: currency}); err != nil {
			t.Errorf("the first one: %v", err)
		}
	})
}

// TestClockStaysMoved: over one database, time does not go back when the sandbox starts again.
func TestClockStaysMoved(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		cfg := testConfig(t, engine, store.Settings{})
		first, err := StartSandbox(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		before := must(first.Admin.AdvanceClock(t.Context(), 240*time.Hour))(t)
		if err := first.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := startConfig(t, cfg)
		if now := must(again.Admin.Clock(t.Context()))(t); now.Now.Before(before.Now) {
			t.Errorf("the clock went back from %s to %s", before.Now, now.Now)
		}
	})
}

// TestManyUploads: each hangs up when it is done, so that an app's few connections are enough.
func TestManyUploads(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		r := start(t, engine, store.Settings{})
		for i := range 20 {
			if err := r.Upload(t.Context(), "T-"+strings.Repeat("x", i+1)+".csv", []byte("sellerId\n")); err != nil {
				t.Fatal(err)
			}
		}
	})
}
