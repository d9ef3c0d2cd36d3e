package admin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Audit is what an operator did. Nothing ever changes or removes it.
type Audit struct {
	ID        ID              `json:"id"`
	Reference string          `json:"reference"`
	Act       string          `json:"act"`
	Actor     string          `json:"actor"`
	AppID     string          `json:"appId,omitempty"`
	Subject   string          `json:"subject"`
	Reason    string          `json:"reason"`
	Before    json.RawMessage `json:"before" doc:"null when the act made it"`
	After     json.RawMessage `json:"after"`
	At        time.Time       `json:"at"`
}

// AuditsFilter says which acts are wanted.
type AuditsFilter struct {
	Page
	AppID string `query:"appId"`
	Act   string `query:"act"`
}

// Call is a recorded call of an app. Bodies are there in the sandbox and where the app's settings ask for them.
type Call struct {
	ID         ID        `json:"id"`
	TraceID    string    `json:"traceId"`
	AppID      string    `json:"appId,omitempty"`
	Operation  string    `json:"operation"`
	RequestNo  string    `json:"requestNo,omitempty"`
	Code       string    `json:"code"`
	Detail     string    `json:"detail,omitempty"`
	Address    string    `json:"address"`
	TookMicros int64     `json:"tookMicros"`
	Request    string    `json:"request,omitempty"`
	Response   string    `json:"response,omitempty"`
	At         time.Time `json:"at"`
}

// CallsFilter says which calls are wanted.
type CallsFilter struct {
	Page
	AppID     string `query:"appId"`
	Operation string `query:"operation"`
	RequestNo string `query:"requestNo"`
	Code      string `query:"code"`
}

func audits(s *server) {
	list(s, "/audit", "list-audit", "What operators did",
		func(ctx context.Context, q *pgdb.Queries, f AuditsFilter, before int64, most int32) ([]pgdb.Audit, error) {
			return q.PageAudits(ctx, pgdb.PageAuditsParams{Before: before, AppID: f.AppID, Act: f.Act, Most: most})
		}, shown(showAudit), func(a Audit) ID { return a.ID })
}

func calls(s *server) {
	list(s, "/calls", "list-calls", "Recorded calls",
		func(ctx context.Context, q *pgdb.Queries, f CallsFilter, before int64, most int32) ([]pgdb.Call, error) {
			return q.PageCalls(ctx, pgdb.PageCallsParams{Before: before, AppID: f.AppID, Operation: f.Operation, RequestNo: f.RequestNo, Code: f.Code, Most: most})
		}, shown(showCall), func(c Call) ID { return c.ID })
}

func showAudit(r pgdb.Audit) Audit {
	return Audit{ID: idOf(r.ID), Reference: r.Reference, Act: r.Act, Actor: r.Actor, AppID: r.AppID, Subject: r.Subject, Reason: r.Reason,
		Before: json.RawMessage(r.Before), After: json.RawMessage(r.After), At: at(r.At)}
}

func showCall(r pgdb.Call) Call {
	return Call{ID: idOf(r.ID), TraceID: r.TraceID, AppID: r.AppID, Operation: r.Operation, RequestNo: r.RequestNo, Code: r.Code, Detail: r.Detail,
		Address: r.Address, TookMicros: r.TookUS, Request: r.Request, Response: r.Response, At: at(r.At)}
}
