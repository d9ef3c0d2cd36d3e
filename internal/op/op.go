// Package op is what each call does: one file per operation, and one table, All, that lists them.
//
// An operation sees a decoded request and judges it on a view of the rows that it asked for. It never begins or commits,
// and never sees ciphertext, HTTP or a key: gate brings the request and carries the reply away.
package op

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Engine is what operations work with.
type Engine struct {
	DB         *store.DB
	PublicURL  string // where browsers reach this server, without a slash at its end
	Production bool   // links to browsers have to be https

	ErrorLinkValid time.Duration // how long a link to an error file opens it; 24 hours [O]

	hashKey  []byte // of the field hashes that tell whether a requestNo comes again with the same content
	errorKey []byte // of the MAC in links to error files
}

// NewEngine makes an Engine with the secrets that all nodes over the database share.
func NewEngine(ctx context.Context, db *store.DB, publicURL string, production bool) (*Engine, error) {
	e := &Engine{DB: db, PublicURL: publicURL, Production: production, ErrorLinkValid: 24 * time.Hour}
	var err error
	if e.hashKey, err = db.Secret(ctx, "field-hash"); err != nil {
		return nil, err
	}
	e.errorKey, err = db.Secret(ctx, "error-link")
	return e, err
}

// Operation is one line of the table.
type Operation struct {
	Name     infinia.Operation
	Version  string
	Doc      string
	Changing bool
	Request  reflect.Type
	Reply    reflect.Type

	// One of the two does it: answer for a query, prepare for an operation that changes something.
	answer  func(ctx context.Context, e *Engine, appID string, content Content) (any, error)
	prepare func(e *Engine, appID string, content Content) (prepared, error)
}

// prepared is a changing request as a unit, and its outcome once the unit is committed.
type prepared struct {
	unit    store.Unit
	outcome func() (any, error)
}

// All lists the operations. It is the only table of them: gate serves it, the reference is made from it.
var All = []Operation{
	changing[infinia.AccountBindingRequest, infinia.AccountBindingReply](infinia.OpAccountBinding, "1.0.0", "asks that a seller bind an account", accountBinding{}),
	query(infinia.OpAccountBindingQuery, "1.0.0", "tells how a binding stands", accountBindingQuery),
	query(infinia.OpTradeDetailsQuery, "1.0.0", "tells how an uploaded trade file stands", tradeDetailsQuery),
	query(infinia.OpAccountBalance, "1.0.0", "tells what the platform's account holds", accountBalance),
	query(infinia.OpAvailableRevenue, "1.0.0", "tells what a seller may still receive", availableRevenue),
	changing[infinia.RevenueSharingRequest, infinia.RevenueSharingReply](infinia.OpRevenueSharing, "1.0.1", "shares revenue with a seller", revenueSharing{}),
	query(infinia.OpRevenueSharingQuery, "1.0.1", "tells how a share stands", revenueSharingQuery),
}

// Known says whether the table has an operation of this name.
func Known(name string) bool {
	return slices.ContainsFunc(All, func(o Operation) bool { return string(o.Name) == name })
}

// Run carries the operation out for an authenticated app. Where app has an ID, it is what the caller was authenticated by
// some time ago: an operation that changes something does nothing where that no longer holds, see store.Unit. A failure that
// the caller may see is an *infinia.Error; any other is a fault of ours, after which certainly nothing is committed.
func (o Operation) Run(ctx context.Context, e *Engine, app pgdb.App, content Content) (any, error) {
	if !o.Changing {
		return o.answer(ctx, e, app.AppID, content)
	}
	u, outcome, err := o.Prepare(e, app.AppID, content)
	if err != nil {
		return nil, err
	}
	u.Caller = app
	if err := e.DB.Do(ctx, u); err != nil {
		return nil, err
	}
	return outcome()
}

// Prepare is the half of Run in front of the database, of a changing operation: its unit, which may be handed in with
// others, and the outcome to ask for once that is committed.
func (o Operation) Prepare(e *Engine, appID string, content Content) (store.Unit, func() (any, error), error) {
	if err := foreignMembers(o, content); err != nil {
		return store.Unit{}, nil, err
	}
	p, err := o.prepare(e, appID, content)
	return p.unit, p.outcome, err
}

// query makes an operation that reads the last committed state.
func query[Req, Rep any](name infinia.Operation, version, doc string,
	answer func(ctx context.Context, e *Engine, q *pgdb.Queries, appID string, req Req) (Rep, error)) Operation {
	return Operation{
		Name: name, Version: version, Doc: doc, Request: reflect.TypeFor[Req](), Reply: reflect.TypeFor[Rep](),
		answer: func(ctx context.Context, e *Engine, appID string, content Content) (any, error) {
			req, err := decode[Req](e, content)
			if err != nil {
				return nil, err
			}
			var rep Rep
			err = e.DB.Read(ctx, func(q *pgdb.Queries) error {
				var err error
				rep, err = answer(ctx, e, q, appID, req)
				return err
			})
			return rep, err
		},
	}
}

// change is an operation that changes something, in two pure halves. Need names the rows. Judge decides on the view and
// leaves the change there; it returns the id of the record that it made, for the request's row. Again answers the same
// request sent again, from the record in its present state; it may change the record (a new link). A refusal is an
// *infinia.Error of the group BIZ and is stored.
type change[Req, Rep any] interface {
	Need(appID string, req Req) store.Keys
	Judge(v *store.View, e *Engine, appID string, req Req) (rep Rep, recordID int64, err error)
	Again(v *store.View, e *Engine, appID string, req Req, recordID int64) (Rep, error)
}

func changing[Req, Rep any](name infinia.Operation, version, doc string, c change[Req, Rep]) Operation {
	prepare := func(e *Engine, appID string, content Content) (prepared, error) {
		req, err := decode[Req](e, content)
		if err != nil {
			return prepared{}, err
		}
		u := unit[Req, Rep]{e: e, c: c, appID: appID, req: req}
		u.key = store.RequestKey{AppID: appID, Operation: string(name), RequestNo: requestNo(req)}
		u.hashes = fieldHashes(e.hashKey, u.key, req)
		keys := c.Need(appID, req)
		keys.Apps = append(keys.Apps, appID)
		keys.Requests = append(keys.Requests, u.key)
		return prepared{store.Unit{Name: string(name), Keys: keys, Judge: u.judge}, u.outcome}, nil
	}
	return Operation{
		Name: name, Version: version, Doc: doc, Changing: true, Request: reflect.TypeFor[Req](), Reply: reflect.TypeFor[Rep](),
		prepare: prepare,
	}
}

// unit is one changing request on its way through the store; judge may run more than once.
type unit[Req, Rep any] struct {
	e      *Engine
	c      change[Req, Rep]
	appID  string
	req    Req
	key    store.RequestKey
	hashes []byte

	rep     Rep
	refusal *infinia.Error
}

func (u *unit[Req, Rep]) outcome() (any, error) {
	if u.refusal != nil {
		return nil, u.refusal
	}
	return u.rep, nil
}

// judge is the one place where a requestNo is looked up before an operation judges.
func (u *unit[Req, Rep]) judge(v *store.View) (err error) {
	u.refusal = nil
	if r, ok := v.Requests.Get(u.key); ok {
		switch {
		case !hmac.Equal(r.FieldHashes, u.hashes):
			u.refusal = infinia.Errorf(infinia.RequestNoReused, differing[Req](r.FieldHashes, u.hashes)...)
		case r.Code != "":
			u.refusal, err = storedRefusal(r)
		default:
			u.rep, err = u.c.Again(v, u.e, u.appID, u.req, r.RecordID)
		}
		return err
	}
	row := pgdb.Request{AppID: u.appID, Operation: u.key.Operation, RequestNo: u.key.RequestNo, FieldHashes: u.hashes, At: v.Now()}
	u.rep, row.RecordID, err = u.c.Judge(v, u.e, u.appID, u.req)
	if refusal, ok := errors.AsType[*infinia.Error](err); ok {
		v.Reset()
		u.refusal = refusal
		row.Code, row.RecordID = string(refusal.Code), 0
		fields, err := json.Marshal(refusal.Fields)
		if err != nil {
			return err
		}
		row.Fields = string(fields)
	} else if err != nil {
		return err
	}
	row.ID = v.NextID()
	v.Requests.Put(u.key, row)
	return nil
}

// storedRefusal gives a refusal again, as it was.
func storedRefusal(r pgdb.Request) (*infinia.Error, error) {
	var fields []infinia.FieldError
	if err := json.Unmarshal([]byte(r.Fields), &fields); err != nil {
		return nil, fmt.Errorf("fields of request %s: %w", r.RequestNo, err)
	}
	return infinia.Errorf(infinia.Code(r.Code), fields...), nil
}

// hashBytes of a keyed hash are kept for each field; the key keeps anyone from looking for values with the same hash.
const hashBytes = 8

// fieldHashes is one keyed hash a field, in the order of the request's fields, over its canonical value.
func fieldHashes(key []byte, k store.RequestKey, req any) []byte {
	mac := hmac.New(sha256.New, key)
	var out, text []byte
	for _, f := range Fields(reflect.TypeOf(req)) {
		text = text[:0]
		for _, part := range []string{k.AppID, k.Operation, k.RequestNo, f.Name, f.canonical(req)} {
			text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
			text = append(text, part...)
		}
		mac.Reset()
		mac.Write(text)
		out = mac.Sum(out)[:len(out)+hashBytes]
	}
	return out
}

// differing names the fields whose hashes differ; a field that one side lacks, because a later version added it, differs.
func differing[Req any](was, is []byte) []infinia.FieldError {
	var out []infinia.FieldError
	for i, f := range Fields(reflect.TypeFor[Req]()) {
		if !hmac.Equal(part(was, i), part(is, i)) {
			out = append(out, infinia.FieldError{Field: f.Name, Code: infinia.RequestNoReused,
				Message: "differs from the first request under this requestNo; use a new requestNo for another content"})
		}
	}
	return out
}

func part(hashes []byte, i int) []byte {
	if len(hashes) < (i+1)*hashBytes {
		return nil
	}
	return hashes[i*hashBytes : (i+1)*hashBytes]
}

// refuse makes a refusal of one field.
func refuse(code infinia.Code, field, message string) *infinia.Error {
	return infinia.Errorf(code, infinia.FieldError{Field: field, Code: code, Message: message})
}
