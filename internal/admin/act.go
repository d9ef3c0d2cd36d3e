package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Act is what every changing act says of itself. The same content again under a reference is the same act and gets the
// same answer; other content is refused. A refused act leaves its reference free.
type Act struct {
	Reference string `json:"reference" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit" doc:"the operator's own number of the act, never used for another"`
	Reason    string `json:"reason" maxLength:"512" pattern:"^[^\\x00]*\\S[^\\x00]*$" patternDescription:"text" doc:"why; kept for the auditor, and told to the app where a binding ends"`
}

// Bodies and paths of calls.
type (
	body[B any] struct {
		Body B
	}
	onApp[B any] struct {
		AppID string `path:"appId"`
		Body  B
	}
	onID[B any] struct {
		ID   ID `path:"id"`
		Body B
	}
)

// act is one changing act on its way.
type act[A any] struct {
	Act
	name    string // noun.verb
	appID   string
	content any // all that was sent, path included
	keys    store.Keys

	// One of the two does it: judge on the view alone, alone with queries beside it.
	judge func(v *store.View) (change[A], error)
	alone func(ctx context.Context, v *store.View, q *pgdb.Queries) (change[A], error)
}

// change is what an act did. After is also its answer, which a repeat gets again from the audit: no secret may be in it.
type change[A any] struct {
	subject string
	before  any
	after   A
}

// do carries an act out and writes its audit row in the same unit.
func do[A any](ctx context.Context, s *server, a act[A]) (answer A, repeated bool, err error) {
	content, err := json.Marshal([]any{a.name, a.content})
	if err != nil {
		return answer, false, err
	}
	hash := sha256.Sum256(content)
	run := func(v *store.View, judge func() (change[A], error)) error {
		answer, repeated = *new(A), false // the unit may run again
		if was, ok := v.Audits.Get(a.Reference); ok {
			if !bytes.Equal(was.ContentHash, hash[:]) {
				return conflict("reference", fmt.Sprintf("was used before, for %s %s with other content", was.Act, was.Subject))
			}
			repeated = true
			return json.Unmarshal([]byte(was.After), &answer)
		}
		c, err := judge()
		if err != nil {
			return err
		}
		row := pgdb.Audit{ID: v.NextID(), Reference: a.Reference, Act: a.name, Actor: callerOf(ctx).name, AppID: a.appID,
			Subject: c.subject, Reason: a.Reason, ContentHash: hash[:], At: v.Now()}
		if row.Before, err = jsonText(c.before); err != nil {
			return err
		}
		if row.After, err = jsonText(c.after); err != nil {
			return err
		}
		v.Audits.Put(a.Reference, row)
		answer = c.after
		return nil
	}
	u := store.Unit{Name: a.name, Keys: a.keys}
	u.Keys.Audits = []string{a.Reference}
	if a.appID != "" {
		u.Keys.Apps = append(u.Keys.Apps, a.appID)
	}
	if a.alone != nil {
		u.Alone = func(ctx context.Context, v *store.View, q *pgdb.Queries) error {
			return run(v, func() (change[A], error) { return a.alone(ctx, v, q) })
		}
	} else {
		u.Judge = func(v *store.View) error {
			return run(v, func() (change[A], error) { return a.judge(v) })
		}
	}
	err = s.db.Do(ctx, u)
	return answer, repeated, err
}

// once is do for the acts whose answer is the same at a repeat.
func once[A any](ctx context.Context, s *server, a act[A]) (A, error) {
	answer, _, err := do(ctx, s, a)
	return answer, err
}

func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
