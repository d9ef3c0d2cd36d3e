package gate

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/openinfinia/infinia/envelope"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// TestLongestLegalRequestFits derives the limit of requestData from the longest legal request: as the original's clients
// send it (blocks of 64 bytes) in ASCII, and in full blocks in the widest characters of UTF-8.
func TestLongestLegalRequestFits(t *testing.T) {
	limit := newRig(t, storetest.SQLite, store.Settings{}).gate.cfg.RequestDataMost
	to := &testKey(t, "test-platform-4096").PublicKey
	longest := 0
	for _, o := range op.All {
		for _, c := range []struct {
			fill       string
			blockBytes int
		}{{"x", 64}, {"𠮷", envelope.FullBlock}} {
			members := map[string]string{}
			for _, f := range op.Fields(o.Request) {
				members[f.Name] = strings.Repeat(c.fill, f.Most)
			}
			plain, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			data, err := envelope.Encrypt(plain, to, c.blockBytes)
			if err != nil {
				t.Fatal(err)
			}
			longest = max(longest, len(data))
			if len(data) > limit {
				t.Errorf("%s of %q in blocks of %d needs %d characters, the limit is %d", o.Name, c.fill, c.blockBytes, len(data), limit)
			}
		}
	}
	if longest < limit/2 {
		t.Errorf("the longest legal request has %d characters: a limit of %d is too wide", longest, limit)
	}
}

// TestRequestsAndRepliesAreFlatStrings: everything on the wire is a string [D].
func TestRequestsAndRepliesAreFlatStrings(t *testing.T) {
	for _, o := range op.All {
		for _, typ := range []reflect.Type{o.Request, o.Reply} {
			for i := range typ.NumField() {
				if f := typ.Field(i); f.Type.Kind() != reflect.String || f.Tag.Get("doc") == "" {
					t.Errorf("%s.%s is a %s, documented as %q", typ, f.Name, f.Type, f.Tag.Get("doc"))
				}
			}
		}
	}
}
