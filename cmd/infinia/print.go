package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/charmbracelet/colorprofile"
)

// printTable prints items in columns. The heads are the words of the API; free text stands in the last column, where it
// pushes nothing out of line.
func printTable[T any](w io.Writer, columns string, items []T, row func(T) []any) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(columns, " ", "\t"))
	for _, item := range items {
		var cells []string
		for _, v := range row(item) {
			cells = append(cells, cell(v))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func cell(v any) string {
	if at, ok := v.(time.Time); ok {
		if at.IsZero() {
			return "-"
		}
		return at.UTC().Format(time.RFC3339)
	}
	if text := clean(fmt.Sprint(v)); text != "" {
		return text
	}
	return "-"
}

// printRecord prints the members of a record one below the other, with what is inside them as JSON.
func printRecord(w io.Writer, record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		label := fmt.Sprint(name)
		for _, line := range lines(value) {
			fmt.Fprintf(t, "%s\t%s\n", label, cell(line))
			label = ""
		}
	}
	return t.Flush()
}

// lines is a member's value, with each element of an array and each line of a text by itself.
func lines(value json.RawMessage) (out []string) {
	var list []json.RawMessage
	var text string
	var at time.Time
	switch {
	case string(value) == "null":
		return []string{""}
	case json.Unmarshal(value, &list) == nil:
		for _, v := range list {
			out = append(out, lines(v)...)
		}
		return append(out, make([]string, max(0, 1-len(out)))...)
	case json.Unmarshal(value, &at) == nil && at.IsZero():
		return []string{""}
	case json.Unmarshal(value, &text) == nil:
		return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	return []string{string(value)}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// clean makes what others wrote harmless to a terminal.
func clean(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// colors passes on what the terminal behind w can show: nothing but text where there is none, or where NO_COLOR is set.
func colors(w io.Writer, env []string) io.Writer {
	c := colorprofile.NewWriter(w, env)
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "NO_COLOR=") && v != "NO_COLOR=" }) {
		c.Profile = colorprofile.NoTTY
	}
	return c
}
