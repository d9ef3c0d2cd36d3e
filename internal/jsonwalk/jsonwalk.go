// Package jsonwalk walks the members of a JSON object, each as it stands: encoding/json keeps the last of two that have the
// same name without a word and takes names in any letter case, and its decoder allocates for every token.
package jsonwalk

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

const space = " \t\r\n" // of JSON

// Members returns the members of one JSON object in UTF-8, in order, and whether text is that, with nothing but space around
// it. Each value is its text, without space around it and without escapes resolved; String reads one that is a string.
func Members(text []byte) (members iter.Seq2[string, []byte], ok bool) {
	if text = bytes.Trim(text, space); !utf8.Valid(text) || !json.Valid(text) || text[0] != '{' {
		return nil, false
	}
	return func(yield func(name string, value []byte) bool) {
		rest := text[1:]
		for {
			start := bytes.IndexByte(rest, '"')
			if start < 0 {
				return
			}
			rest = rest[start:]
			end := stringEnd(rest)
			name := unquote(rest[:end])
			rest = rest[end:]
			rest = rest[bytes.IndexByte(rest, ':')+1:]
			end = valueEnd(rest)
			if !yield(name, bytes.Trim(rest[:end], space)) {
				return
			}
			rest = rest[end:]
		}
	}, true
}

// String reads a value of Members. Null is the empty string; what is neither null nor a string is not ok.
func String(value []byte) (s string, null, ok bool) {
	switch value[0] {
	case '"':
		return unquote(value), false, true
	case 'n':
		return "", true, true
	}
	return "", false, false
}

// valueEnd is where a member's value ends: at the comma or the brace behind it.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// stringEnd is the length of the JSON string that b begins with.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// unquote reads a JSON string, which is valid.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s)
	return s
}
