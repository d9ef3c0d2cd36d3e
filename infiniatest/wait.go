package infiniatest

import (
	"context"
	"errors"
	"time"

	"github.com/openinfinia/infinia"
)

// patience is how long a method waits for what should take milliseconds.
const patience = 30 * time.Second

// WaitForShare waits until a share is settled or failed.
func (s *Sandbox) WaitForShare(requestNo string) infinia.RevenueSharingQueryReply {
	s.t.Helper()
	var reply infinia.RevenueSharingQueryReply
	s.wait("settlement of share "+requestNo, func() (_ bool, err error) {
		reply, err = s.Client.RevenueSharingQuery(context.Background(), infinia.RevenueSharingQueryRequest{RequestNo: requestNo})
		return reply.Status != infinia.ShareProcessing, err
	})
	s.drain() // the webhook, if there is one
	return reply
}

// drain waits until nothing is due: files are judged, shares settled, webhooks tried.
func (s *Sandbox) drain() {
	s.t.Helper()
	s.wait("what is due", func() (bool, error) {
		queues, _, err := s.box.DB.DueQueues(context.Background())
		return len(queues) == 0, err
	})
}

// wait asks until done says so.
func (s *Sandbox) wait(what string, done func() (bool, error)) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		s.must("wait for the "+what, err)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %v for the %s; see Advance", patience, what)
			return
		}
		<-tick.C
	}
}

func isCode(err error, code infinia.Code) bool {
	e, ok := errors.AsType[*infinia.Error](err)
	return ok && e.Code == code
}
