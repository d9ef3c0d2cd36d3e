package infinia

import (
	"fmt"
	"strings"
)

// Error is a call's failure: the server answers it and the SDK returns it, for errors.As.
type Error struct {
	Code      Code
	Message   string // the envelope's message, at most 64 characters [D]
	RequestNo string // the call's requestNo, when it could be read
	TraceID   string // names the call in the server's log
	Fields    []FieldError
}

// FieldError is one wrong field: its name and the rule that it breaks, never the value that was sent [O].
type FieldError struct {
	Field   string `json:"field"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// ErrorBody is the encrypted responseData of a failure after the request was authenticated and read [O].
type ErrorBody struct {
	RequestNo string       `json:"requestNo"`
	TraceID   string       `json:"traceId"`
	Errors    []FieldError `json:"errors"`
}

// Errorf makes an Error of a code and the fields concerned.
func Errorf(code Code, fields ...FieldError) *Error {
	return &Error{Code: code, Message: code.Message(), Fields: fields}
}

// Error is the code with every field concerned, or with the message when there is none.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Code)
	for i, f := range e.Fields {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", f.Field, f.Message)
	}
	if len(e.Fields) == 0 {
		b.WriteString(e.Message)
	}
	if e.TraceID != "" {
		fmt.Fprintf(&b, " (trace %s)", e.TraceID)
	}
	return b.String()
}
