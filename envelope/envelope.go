package envelope

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/openinfinia/infinia/internal/jsonwalk"
)

// Request is the envelope of a call and of a notification [D].
type Request struct {
	Version     string `json:"version"`     // 1.0 [C], 1.0.0 or 1.0.1 [O]
	AppID       string `json:"appId"`       // at most 64 characters
	DataType    string `json:"dataType"`    // JSON
	RequestData string `json:"requestData"` // what Encrypt returned
	Signature   string `json:"signature"`   // what Sign(RequestData) returned, at most 2048 characters
}

// Response is the envelope of an answer [D]. Signature is ours, and only there
// when the app's setting asks for it [O].
type Response struct {
	AppID        string `json:"appId"`
	Code         string `json:"code"`
	Message      string `json:"message,omitempty"`
	ResponseData string `json:"responseData,omitempty"`
	Signature    string `json:"signature,omitempty"`
}

// SigningText is the text that an optional response signature covers:
// appId|code|message|responseData, the last two empty when absent [O].
// Sign it with [Sign], check it with [Verify].
func (r Response) SigningText() string {
	return r.AppID + "|" + r.Code + "|" + r.Message + "|" + r.ResponseData
}

// ParseRequest reads the envelope of a call: one JSON object in UTF-8, nothing
// after it. Unknown members are ignored [O]; member names are case-sensitive.
// Lengths are counted in characters [O]. RequestData is only checked for
// presence: its limit is a setting, and its content is for Decrypt.
//
// The error is a *FormatError with every fault, and the Request then empty.
func ParseRequest(body []byte) (Request, error) {
	return parseRequest(body, "")
}

// ParseNotification reads the envelope of a webhook: as [ParseRequest], and
// requestData may be called payload, as the documentation's prose does [O].
func ParseNotification(body []byte) (Request, error) {
	return parseRequest(body, "payload")
}

func parseRequest(body []byte, dataAlias string) (Request, error) {
	var r Request
	err := parseObject(body, []*member{
		{name: "version", into: &r.Version, max: 8, oneOf: []string{"1.0", "1.0.0", "1.0.1"}},
		{name: "appId", into: &r.AppID, max: 64},
		{name: "dataType", into: &r.DataType, max: 16, oneOf: []string{"JSON"}},
		{name: "requestData", alias: dataAlias, into: &r.RequestData},
		{name: "signature", into: &r.Signature, max: 2048},
	})
	if err != nil {
		return Request{}, err
	}
	return r, nil
}

// ParseResponse reads the envelope of an answer under the rules of
// [ParseRequest], but demands only code and limits no length: a client must be
// able to read a refusal however the server words it, and a server that could
// not read the request cannot name the app [O].
//
// The error is a *FormatError with every fault, and the Response then empty.
func ParseResponse(body []byte) (Response, error) {
	var r Response
	err := parseObject(body, []*member{
		{name: "appId", into: &r.AppID, optional: true, noBar: true},
		{name: "code", into: &r.Code, noBar: true},
		{name: "message", into: &r.Message, optional: true},
		{name: "responseData", into: &r.ResponseData, optional: true},
		{name: "signature", into: &r.Signature, optional: true},
	})
	if err != nil {
		return Response{}, err
	}
	return r, nil
}

// FormatError holds every fault of an envelope.
type FormatError struct {
	AppID  string // the app to answer to, when that much could be read
	Faults []Fault
}

// Fault is one thing wrong with an envelope. It never holds the value sent.
type Fault struct {
	Field string // the member's name; empty for the body itself
	Rule  string // what must hold, e.g. "must be a string"
	Kind  FaultKind
}

// FaultKind sorts faults as the codes of the wire do.
type FaultKind int

// The kinds of fault, and the code that each becomes.
const (
	Missing FaultKind = iota + 1 // absent, null or empty: SYS-004
	Format                       // not of the demanded form: SYS-005
	Range                        // too long, or not one of the known values: SYS-006
)

func (k FaultKind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Format:
		return "format"
	case Range:
		return "range"
	}
	return "unknown"
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString("envelope: ")
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		if f.Field == "" {
			b.WriteString("the body")
		} else {
			b.WriteString(f.Field)
		}
		b.WriteString(" " + f.Rule)
	}
	return b.String()
}

// member is a known member of an envelope and what must hold for it.
type member struct {
	name, alias string
	into        *string
	max         int      // characters; 0 is no limit
	oneOf       []string // nil is any value
	optional    bool
	noBar       bool // see check

	times     int    // it was seen
	value     string // the last one seen; null is the empty string
	notString bool   // it was neither a string nor null
}

// parseObject fills the members from one JSON object and returns a *FormatError
// or nil.
func parseObject(body []byte, members []*member) error {
	sent, ok := jsonwalk.Members(body)
	switch {
	case !ok && !utf8.Valid(body):
		return &FormatError{Faults: []Fault{{"", "must be UTF-8", Format}}}
	case !ok:
		return &FormatError{Faults: []Fault{{"", "must be one JSON object with nothing after it", Format}}}
	}
	for name, value := range sent {
		for _, m := range members {
			if name == m.name || m.alias != "" && name == m.alias {
				m.times++
				m.value, _, ok = jsonwalk.String(value)
				m.notString = !ok
			}
		}
	}
	bad := &FormatError{}
	for _, m := range members {
		if fault, ok := m.check(); !ok {
			bad.Faults = append(bad.Faults, fault)
		} else if m.name == "appId" {
			bad.AppID = m.value
		}
		*m.into = m.value
	}
	if len(bad.Faults) > 0 {
		return bad
	}
	return nil
}

// check returns the first fault of a member, or true.
func (m *member) check() (Fault, bool) {
	v := m.value
	switch {
	case m.times > 1 && m.alias != "":
		return Fault{m.name, "must be given once, as " + m.name + " or as " + m.alias, Format}, false
	case m.times > 1:
		return Fault{m.name, "must be given once", Format}, false
	case m.notString:
		return Fault{m.name, "must be a string", Format}, false
	case v == "" && !m.optional:
		return Fault{m.name, "is missing", Missing}, false
	case m.max > 0 && utf8.RuneCountInString(v) > m.max:
		return Fault{m.name, fmt.Sprintf("must have at most %d characters", m.max), Range}, false
	case m.oneOf != nil && !slices.Contains(m.oneOf, v):
		return Fault{m.name, "must be " + strings.Join(m.oneOf, " or "), Range}, false
	case m.noBar && strings.Contains(v, "|"):
		// SigningText would read the same with its parts shifted.
		return Fault{m.name, "must not contain |", Format}, false
	}
	return Fault{}, true
}
