package op

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openinfinia/infinia"
)

var update = flag.Bool("update", false, "rewrite the reference from the types")

// TestReference holds docs/api.md against the types that it is made from.
func TestReference(t *testing.T) {
	const path = "../../docs/api.md"
	is := reference()
	if *update {
		if err := os.WriteFile(path, []byte(is), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(was), "\n"), strings.Split(is, "\n")); diff != "" {
		t.Errorf("docs/api.md is not what the types say; -update writes it:\n%s", diff)
	}
}

func reference() string {
	var b strings.Builder
	b.WriteString(`# The API

Generated from the Go types. [D] marks what Infinia's public documentation prints, [C] what public integrators' code shows, [O] what this project decided.

A call is ` + "`POST <base>/v1/<resource>/<verb>`" + ` with the envelope as JSON [D][C]. The base URL ends in ` + "`/api`" + `. All parameters are strings [D]; lengths are counted in characters [O]. Unknown members are ignored; a number where a string belongs is refused with the field's name [O]. M is mandatory, C conditional, O optional [D].

## Envelope

| Member | Request [D] |
|---|---|
| ` + "`version`" + ` | ` + "`1.0`" + ` [C]; 1.0.0 and 1.0.1 are accepted [O] |
| ` + "`appId`" + ` | the platform's name |
| ` + "`dataType`" + ` | ` + "`JSON`" + ` |
| ` + "`requestData`" + ` | the content as UTF-8 JSON, in RSAES-PKCS1-v1_5 blocks to the platform's key, concatenated; one standard Base64 over all [C]; at most 65,536 characters [O] |
| ` + "`signature`" + ` | Base64 of RSASSA-PKCS1-v1_5 with SHA-256 over the text of ` + "`requestData`" + `, by the client's key: encrypt, then sign [D][C] |

The answer has ` + "`appId`, `code`, `message`" + ` and, encrypted to the key that signed the request, ` + "`responseData`" + ` [D]. After a request was read, a failure's ` + "`responseData`" + ` is ` + "`{\"requestNo\",\"traceId\",\"errors\":[{\"field\",\"code\",\"message\"}]}`" + ` with every wrong field [O]. The header ` + "`" + infinia.TraceHeader + "`" + ` names the call in the server's log [O].

A changing operation acts once per requestNo, for ever. The same content again is answered from what it made, in its present state; other content is BIZ-001; a refusal is final. After SYS-008, a time-out or a broken connection send the same request again under the same requestNo [O].

A requestNo is 1 to 64 of ` + "`A-Z a-z 0-9 . _ -`" + `, the first a letter or digit; letter case counts [O].
`)
	for _, o := range All {
		kind := "Query"
		if o.Changing {
			kind = "Changes something"
		}
		fmt.Fprintf(&b, "\n## %s\n\n`POST %s`, version %s. %s: it %s.\n\n| Request | | Most | Form | |\n|---|---|---|---|---|\n", o.Name, o.Name.Path(), o.Version, kind, o.Doc)
		for _, f := range Fields(o.Request) {
			form := f.Kind
			if len(f.Values) > 0 {
				form = strings.Join(f.Values, ", ")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %d | %s | %s |\n", f.Name, f.Required, f.Most, form, f.Doc)
		}
		b.WriteString("\n| Reply | |\n|---|---|\n")
		for _, f := range Fields(o.Reply) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, f.Doc)
		}
	}
	b.WriteString("\n## Codes\n\nSUC and SYS are [D], SEC and BIZ [O]. Only SYS-008 and SEC-004 are worth another try, under the same requestNo.\n\n| Code | Meaning | What to do |\n|---|---|---|\n")
	for _, c := range infinia.Codes() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c, c.Message(), c.Remedy())
	}
	b.WriteString(`
## Webhook

` + "`POST`" + ` to the app's callback URL when a seller is frozen or resumed [D]: the request envelope, ` + "`requestData`" + ` encrypted to the app's primary key, signed by the platform's key. A receiver should accept ` + "`payload`" + ` in the place of ` + "`requestData`" + ` as well [O].

| Content [D] | |
|---|---|
| ` + "`requestNo`" + ` | the event's number, never used for other content |
| ` + "`sellerId`" + ` | the seller |
| ` + "`status`" + ` | ACTIVE or FROZEN |
| ` + "`event`" + ` | only in events that an app opted into: binding, file, share [O] |

Success is a 2xx with the body exactly ` + "`SUCCESS`" + `, upper case, no white space [D]. Anything else is tried again up to 5 times [D], after 1, 5, 15, 60 and 360 minutes [O]; then the delivery is dead, visible, and can be sent again by hand under the same requestNo [O].
`)
	return b.String()
}

func TestMessagesFitTheEnvelope(t *testing.T) {
	for _, c := range infinia.Codes() {
		if n := len([]rune(c.Message())); n == 0 || n > 64 {
			t.Errorf("%s: its message has %d characters, must be 1 to 64", c, n)
		}
		if c != infinia.Success && c.Remedy() == "" {
			t.Errorf("%s says not what to do", c)
		}
	}
}

// TestNoContentIsValidForTwoOperations: the signature does not cover the path, so that content captured from one changing
// operation must be refused by every other.
func TestNoContentIsValidForTwoOperations(t *testing.T) {
	for _, a := range All {
		for _, b := range All {
			if a.Name == b.Name || !a.Changing || !b.Changing {
				continue
			}
			// Content valid for a has all of a's mandatory members. It is refused by b when b lacks one of them, or when b
			// wants one that a does not know, for a refuses such a member.
			known := map[string]bool{}
			for _, f := range Fields(b.Request) {
				known[f.Name] = true
			}
			refused := false
			for _, f := range Fields(a.Request) {
				refused = refused || f.Required == "M" && !known[f.Name]
			}
			if !refused {
				t.Errorf("content for %s can be valid for %s", a.Name, b.Name)
			}
		}
	}
}
