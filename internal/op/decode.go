package op

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/jsonwalk"
	"github.com/openinfinia/infinia/internal/trade"
	"github.com/openinfinia/infinia/money"
)

// Content is the members of a request's plain text. A member that is no string stands as nil; null is left out, as if the
// member were missing.
type Content map[string]*string

// ErrContent is the one answer for plain text that is no JSON object: what exactly is wrong stays here, because the
// outcome of decryption must not be told apart from the outcome of decoding.
var ErrContent = errors.New("the content is not one JSON object in UTF-8 with each member once")

// ParseContent reads the plain text of a request: one flat JSON object. Its error is ErrContent.
func ParseContent(plain []byte) (Content, error) {
	members, ok := jsonwalk.Members(plain)
	if !ok {
		return nil, ErrContent
	}
	content := Content{}
	var nulls []string
	for name, value := range members {
		if _, seen := content[name]; seen {
			return nil, ErrContent
		}
		content[name] = nil
		switch text, null, ok := jsonwalk.String(value); {
		case null:
			nulls = append(nulls, name)
		case ok:
			content[name] = &text
		}
	}
	for _, name := range nulls {
		delete(content, name)
	}
	return content, nil
}

// Field is one parameter of a request, as the tags of the request's type tell it.
type Field struct {
	Name     string
	Required string // M always, C conditional, O optional [D]
	Most     int    // characters
	Kind     string // text, id, requestNo, url, country, currency, amount, or one of Values
	Values   []string
	Doc      string
	index    int
}

var fieldCache sync.Map // reflect.Type to []Field

// Fields returns the parameters of a request or the members of a reply, in order.
func Fields(t reflect.Type) []Field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]Field)
	}
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f := Field{Name: name, Doc: sf.Tag.Get("doc"), index: i}
		if rule := sf.Tag.Get("rule"); rule != "" {
			parts := strings.Fields(rule)
			most, err := strconv.Atoi(parts[1])
			if err != nil || len(parts) != 3 {
				panic(fmt.Sprintf("%s.%s: rule %q", t, sf.Name, rule))
			}
			f.Required, f.Most, f.Kind = parts[0], most, parts[2]
			if values, ok := strings.CutPrefix(f.Kind, "enum="); ok {
				f.Kind, f.Values = "enum", strings.Split(values, "|")
			}
		}
		fields = append(fields, f)
	}
	fieldCache.Store(t, fields)
	return fields
}

// canonical is the field's value as it is compared: an amount in its canonical form, everything else as it is.
func (f Field) canonical(req any) string {
	v := reflect.ValueOf(req)
	text := v.Field(f.index).String()
	if f.Kind == "amount" {
		if a, err := money.Parse(text, money.Currency(v.FieldByName("Currency").String())); err == nil {
			return a.String()
		}
	}
	return text
}

// decode checks every parameter and reports all wrong ones at once. Members that no parameter has are ignored [O].
func decode[Req any](e *Engine, content Content) (Req, error) {
	var req Req
	v := reflect.ValueOf(&req).Elem()
	var faults []infinia.FieldError
	for _, f := range Fields(v.Type()) {
		text, sent := content[f.Name]
		if sent && text == nil {
			faults = append(faults, infinia.FieldError{Field: f.Name, Code: infinia.Malformed, Message: "must be a JSON string"})
			continue
		}
		if !sent || *text == "" {
			if f.Required == "M" {
				faults = append(faults, infinia.FieldError{Field: f.Name, Code: infinia.Missing, Message: "is mandatory"})
			}
			continue
		}
		if code, message := f.check(*text, content, e.Production); code != "" {
			faults = append(faults, infinia.FieldError{Field: f.Name, Code: code, Message: message})
			continue
		}
		v.Field(f.index).SetString(*text)
	}
	if len(faults) > 0 {
		return req, infinia.Errorf(commonCode(faults), faults...)
	}
	return req, nil
}

// commonCode is the code of a request with these faults: their own when they agree.
func commonCode(faults []infinia.FieldError) infinia.Code {
	for _, f := range faults {
		if f.Code != faults[0].Code {
			return infinia.InvalidParameters
		}
	}
	return faults[0].Code
}

var requestNoForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// RequestNoForm says whether text can be a requestNo or an appId.
func RequestNoForm(text string) bool { return requestNoForm.MatchString(text) }

// check holds one parameter against its rule. The message never repeats the value.
func (f Field) check(text string, content Content, production bool) (infinia.Code, string) {
	if utf8.RuneCountInString(text) > f.Most {
		return infinia.OutOfRange, fmt.Sprintf("has more than %d characters", f.Most)
	}
	switch f.Kind {
	case "text":
		if strings.ContainsRune(text, 0) {
			return infinia.Malformed, "must not contain a NUL character"
		}
	case "id":
		if text != strings.TrimSpace(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return infinia.Malformed, "must have no white space around it and no control characters"
		}
	case "requestNo":
		if !requestNoForm.MatchString(text) {
			return infinia.Malformed, "must be 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
		}
	case "url":
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			return infinia.Malformed, "must be an absolute http or https address without user name"
		}
		if production && f.Name == "backlinkUrl" && u.Scheme != "https" {
			return infinia.Malformed, "must be https in production"
		}
	case "enum":
		if !slices.Contains(f.Values, text) {
			return infinia.OutOfRange, "must be one of " + strings.Join(f.Values, ", ")
		}
	case "country":
		if !trade.KnownCountry(text) {
			return infinia.OutOfRange, "must be an ISO 3166-1 alpha-3 code such as CHN"
		}
	case "currency":
		if !money.Known(text) {
			return infinia.OutOfRange, "must be a known currency of three letters such as CNH"
		}
	case "amount":
		return checkAmount(text, content)
	}
	return "", ""
}

// checkAmount needs the currency beside it; when that is wrong itself, the amount is judged with two digits.
func checkAmount(text string, content Content) (infinia.Code, string) {
	currency := money.Currency("CNH")
	if c := content["currency"]; c != nil && money.Known(*c) {
		currency = money.Currency(*c)
	}
	a, err := money.Parse(text, currency)
	switch {
	case errors.Is(err, money.ErrDigits):
		return infinia.OutOfRange, fmt.Sprintf("must have at most %d digits after the point in this currency", money.Digits(currency))
	case errors.Is(err, money.ErrRange):
		return infinia.OutOfRange, "must have at most 12 digits before the point"
	case err != nil:
		return infinia.Malformed, "must be a decimal number such as 100.00"
	case a.Minor <= 0:
		return infinia.OutOfRange, "must be above zero"
	}
	return "", ""
}

// foreignMembers refuses a member that only another changing operation knows: the signature does not cover the path, so
// that content captured from one operation must never be valid for another.
func foreignMembers(o Operation, content Content) error {
	own := Fields(o.Request)
	var faults []infinia.FieldError
	for _, other := range All {
		if !other.Changing || other.Name == o.Name {
			continue
		}
		for _, f := range Fields(other.Request) {
			known := slices.ContainsFunc(own, func(mine Field) bool { return mine.Name == f.Name })
			if _, sent := content[f.Name]; sent && !known {
				faults = append(faults, infinia.FieldError{Field: f.Name, Code: infinia.InvalidParameters,
					Message: "belongs to " + string(other.Name) + ", not to this operation"})
			}
		}
	}
	if len(faults) > 0 {
		return infinia.Errorf(infinia.InvalidParameters, faults...)
	}
	return nil
}

func requestNo(req any) string { return reflect.ValueOf(req).FieldByName("RequestNo").String() }
