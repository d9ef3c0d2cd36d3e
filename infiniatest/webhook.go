package infiniatest

import (
	"context"
	"crypto/rsa"
	"net/http/httptest"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/envelope"
)

// Webhooks has handle called with the app's notifications from now on. Handle must not wait for the test, which waits for it
// in Freeze and the like. To test a handler of one's own, make its address the setting CallbackURL instead.
func (s *Sandbox) Webhooks(handle func(context.Context, infinia.Notification) error) {
	s.t.Helper()
	hook := httptest.NewServer(infinia.NewWebhookHandler(s.AppID, []envelope.PrivateKey{s.ClientKey}, []*rsa.PublicKey{s.PlatformKey},
		handle, infinia.WithLogger(s.log)))
	s.mu.Lock()
	s.hooks = append(s.hooks, hook)
	s.mu.Unlock()
	s.change(func(is *Settings) { is.CallbackURL = hook.URL })
}
