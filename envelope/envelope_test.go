package envelope_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openinfinia/infinia/envelope"
)

// What ParseRequest and ParseNotification refuse is in
// testdata/vectors/format-*.txt.

func TestParseRequest(t *testing.T) {
	want := envelope.Request{Version: "1.0", AppID: "店铺", DataType: "JSON", RequestData: "AA+/", Signature: "BB=="}
	for name, body := range map[string]string{
		"OK":             `{"version":"1.0","appId":"店铺","dataType":"JSON","requestData":"AA+/","signature":"BB=="}`,
		"UnknownMembers": `{"x":{"version":[1,{}]},"version":"1.0","appId":"店铺","x":1,"dataType":"JSON","requestData":"AA+/","signature":"BB==","payload":"?"}`,
		"Escapes":        ` {"versio\u006e":"1.0","appId":"\u5e97铺","dataType":"JSON","requestData":"AA+\/","signature":"BB=="}` + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := envelope.ParseRequest([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestParseRequestTellsTheApp(t *testing.T) {
	_, err := envelope.ParseRequest([]byte(`{"version":"7","appId":"demo"}`))
	var bad *envelope.FormatError
	if !errors.As(err, &bad) {
		t.Fatalf("got %v", err)
	}
	if bad.AppID != "demo" {
		t.Errorf("AppID %q: an answer must name the app", bad.AppID)
	}
	want := "envelope: version must be 1.0 or 1.0.0 or 1.0.1; dataType is missing; requestData is missing; signature is missing"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestParseResponse(t *testing.T) {
	long := strings.Repeat("m", 1000)
	for _, tt := range []struct {
		name, body string
		want       envelope.Response
		faults     []envelope.Fault
	}{
		{"OK", `{"appId":"demo","code":"SUC-200","message":"ok","responseData":"AAAA","signature":"BBBB"}`,
			envelope.Response{AppID: "demo", Code: "SUC-200", Message: "ok", ResponseData: "AAAA", Signature: "BBBB"}, nil},
		{"Null", `{"appId":"demo","code":"SEC-001","message":null,"responseData":null}`,
			envelope.Response{AppID: "demo", Code: "SEC-001"}, nil},
		{"NoApp", `{"appId":"","code":"SYS-005"}`, envelope.Response{Code: "SYS-005"}, nil},
		{"LongMessage", `{"code":"SYS-005","message":"` + long + `"}`, envelope.Response{Code: "SYS-005", Message: long}, nil},
		{"NoCode", `{"appId":"demo"}`, envelope.Response{}, []envelope.Fault{{Field: "code", Rule: "is missing", Kind: envelope.Missing}}},
		{"NumberCode", `{"code":200}`, envelope.Response{}, []envelope.Fault{{Field: "code", Rule: "must be a string", Kind: envelope.Format}}},
		{"Bars", `{"appId":"demo|SYS-003","code":"SUC-200|","message":"a|b"}`, envelope.Response{}, []envelope.Fault{
			{Field: "appId", Rule: "must not contain |", Kind: envelope.Format},
			{Field: "code", Rule: "must not contain |", Kind: envelope.Format}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := envelope.ParseResponse([]byte(tt.body))
			var bad *envelope.FormatError
			if errors.As(err, &bad) {
				if diff := cmp.Diff(tt.faults, bad.Faults); diff != "" {
					t.Error(diff)
				}
			} else if tt.faults != nil {
				t.Errorf("got %v, want faults", err)
			}
			if got != tt.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestResponseJSON(t *testing.T) {
	got, err := json.Marshal(envelope.Response{Code: "SYS-005"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"appId":"","code":"SYS-005"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSigningText(t *testing.T) {
	if got := (envelope.Response{AppID: "demo", Code: "SEC-001"}).SigningText(); got != "demo|SEC-001||" {
		t.Errorf("got %s", got)
	}
	if got := (envelope.Response{AppID: "demo", Code: "SUC-200", Message: "ok", ResponseData: "AAAA", Signature: "BBBB"}).SigningText(); got != "demo|SUC-200|ok|AAAA" {
		t.Errorf("got %s", got)
	}
}
