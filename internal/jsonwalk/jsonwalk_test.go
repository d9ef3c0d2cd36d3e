package jsonwalk

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"
	"unicode/utf8"
)

type member struct {
	Name   string
	Value  any
	String bool
}

// walked is an object as Members tells it.
func walked(t *testing.T, text []byte) (out []member, ok bool) {
	members, ok := Members(text)
	if !ok {
		return nil, false
	}
	for name, value := range members {
		m := member{Name: name}
		dec := json.NewDecoder(bytes.NewReader(value))
		dec.UseNumber() // it may be one that is too large for a float64
		if err := dec.Decode(&m.Value); err != nil || dec.InputOffset() != int64(len(value)) {
			t.Fatalf("%q of %q: %v", value, name, err)
		}
		s, null, isString := String(value)
		if m.String = isString && !null; m.String && m.Value != s || null != (m.Value == nil) {
			t.Fatalf("%q is %q, null %v", value, s, null)
		}
		out = append(out, m)
	}
	return out, true
}

// decoded is an object as the decoder of encoding/json tells it.
func decoded(text []byte) (out []member, ok bool) {
	if !utf8.Valid(text) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, false
		}
		m := member{Name: name.(string)}
		if err := dec.Decode(&m.Value); err != nil {
			return nil, false
		}
		_, m.String = m.Value.(string)
		out = append(out, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, false
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, false
	}
	return out, true
}

// FuzzMembers: the walk tells what encoding/json tells, duplicates included.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{
		` { "a":{"b":[1,"}"],"c\\"":"]"} ,"ver\u0073ion" : "1.0", "appId":"a\ud800\n\u00e9", "requestData":"\\"," ,"a":"x" ,"":null}` + "\r\n",
		`{"n":-1.5e+3,"t":true,"f":false,"s":"x\\","s":"\""}`, `{}`, ` {"a" : [ {"a":1} , 2 ] , "b":{} }`,
		"{}\u00a0", "{}\u0085", "\ufeff{}", `[{"a":"1"}]`, "", " ", "null", `{"a":1,}`, `{"a"}`, `{"a":1}{}`, `{"a":01}`, "{\"a\":\"\xff\"}", `{"a":1e999}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want, is := decoded(text)
		got, ok := walked(t, text)
		if ok != is || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v %v, want %v %v", got, ok, want, is)
		}
	})
}
