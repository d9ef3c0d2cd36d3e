package op

import (
	"errors"
	"testing"
)

func TestParseContent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // of member a
		`{}`:                              "missing",
		`{"a":null}`:                      "missing",
		`{"a":"x","b":null}`:              "x",
		` {"b":[{"a":"y"}],"\u0061":"x"}`: "x",
		`{"a":"\"\u00e9"}`:                `"é`,
		`{"a":1}`:                         "no string",
		`{"a":1e999}`:                     "no string",
		`{"a":true}`:                      "no string",
		`{"a":{"a":"x"}}`:                 "no string",
		`{"A":"x"}`:                       "missing",
		`{"a":"x","a":"x"}`:               "refused",
		`{"a":null,"a":"x"}`:              "refused",
		`{"a":"x","\u0061":null}`:         "refused",
		`{"a":1,"b":"","b":2}`:            "refused",
		`{"a":"x"}{}`:                     "refused",
		`{"a":"x",}`:                      "refused",
		"{\"a\":\"\xff\"}":                "refused",
		`["a"]`:                           "refused",
		`null`:                            "refused",
		``:                                "refused",
	} {
		content, err := ParseContent([]byte(text))
		got := "missing"
		a, sent := content["a"]
		switch {
		case errors.Is(err, ErrContent) && content == nil:
			got = "refused"
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case a != nil:
			got = *a
		case sent:
			got = "no string"
		}
		if got != want {
			t.Errorf("%s: a is %s, want %s", text, got, want)
		}
	}
}
