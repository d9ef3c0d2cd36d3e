package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/content"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestKeptAsLongAsTheAppSays: over the whole server, days later the bytes of a file are gone from the database, from /result
// and from /upload; who asks is told so, and the books stand.
func TestKeptAsLongAsTheAppSays(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, engine storetest.Engine) {
		keys, err := content.ParseKeys(strings.NewReader(strings.Repeat("5a", 32)))
		if err != nil {
			t.Fatal(err)
		}
		cfg := testConfig(t, engine, store.Settings{KeepUploadDays: 1, AcceptPartial: true})
		cfg.ContentKeys, cfg.ErrorLinkValid = keys, 100*time.Hour
		r := startConfig(t, cfg)
		r.bind(seller)
		r.put("TDU-1.csv", heading+sale(seller, "ORDER-1", "100.00")+sale(seller, "ORDER-2", "0.00"))
		rep := r.judged("TDU-1", 1)
		r.settled()
		if !strings.Contains(r.fetch(rep.ErrorFileURL, ""), "ORDER-2") || !strings.Contains(string(must(r.sftp("ls /upload").Output())(t)), "TDU-1.csv") {
			t.Error("it is gone already")
		}
		r.DB.Clock.Advance(25*time.Hour + time.Minute)
		storetest.Until(t, "the upload to be erased", func() bool {
			return !must(r.Admin.Files(t.Context(), admin.FilesFilter{}))(t).Items[0].ErasedAt.IsZero()
		})
		if status, page := fetchStatus(t, rep.ErrorFileURL, ""); status != http.StatusGone || !strings.Contains(page, "has been erased") {
			t.Errorf("the link: %d %s", status, page)
		}
		again := r.judged("TDU-1", 1)
		if again.ErrorFileURL != "" || again.ErrorFileErasedAt == "" || again.RejectedRows != "1" {
			t.Errorf("the query: %+v", again)
		}
		r.settled()
		equal(t, "results", strings.Contains(string(must(r.sftp("ls /result").Output())(t)), "TDU-1_error.csv"), false)
		r.DB.Clock.Advance(time.Minute) // intake looks again
		storetest.Until(t, "the copy in /upload to go", func() bool { return !strings.Contains(string(must(r.sftp("ls /upload").Output())(t)), "TDU-1.csv") })
		equal(t, "available", r.available(), "100.00 100.00 0.00 0.00 0.00")
		r.verify()

		r.stop()
		cfg.ContentKeys = content.Keys{}
		if s, err := StartSandbox(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), keys.First()) { // the summary is still under it
			t.Errorf("without the key: %v", err)
			if err == nil {
				s.Close(t.Context())
			}
		}
		cfg.ContentKeys = keys
		r2 := startConfig(t, cfg)
		equal(t, "status", r2.judged("TDU-1", 1).Status, infinia.FilePartial)
	})
}
