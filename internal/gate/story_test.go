package gate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/op"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
	"github.com/openinfinia/infinia/internal/storetest"
	"github.com/openinfinia/infinia/money"
)

var update = flag.Bool("update", false, "rewrite the stories with what really happens")

// TestStories plays testdata/story/*.txt. A line that begins with "> " is what happened at the command above it; the rest
// is written by hand: commands, comments and, below, the files that the commands name.
//
//	app JSON                    the app's settings; once, before anything else
//	call OPERATION JSON         a call through the real envelope: the answer's code, message and opened responseData
//	repeat                      the last call again, sealed anew
//	confirm | decline           the seller's answer on the page of the last redirectUrl
//	approve|reject|revoke SELLER CURRENCY
//	deposit CURRENCY AMOUNT     into the platform's account
//	freeze|resume SELLER
//	upload FILE                 the file below arrives whole
//	work                        everything that is due happens
//	clock DURATION              time passes
//	endpoint STATUS BODY        what the app's webhook endpoint answers from now on
//	events                      what it has been sent since the last time
//	result NAME                 a file in /result
//	accounts, postings, deliveries
//
// The books are verified at the end of every story.
func TestStories(t *testing.T) { storetest.Each(t, stories) }

func stories(t *testing.T, engine storetest.Engine) {
	files, err := filepath.Glob("testdata/story/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	told := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range op.All {
			told[string(o.Name)] = told[string(o.Name)] || bytes.Contains(text, []byte("call "+o.Name+" "))
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			a := txtar.Parse(text)
			was := string(a.Comment)
			is := (&story{files: a.Files, on: engine}).play(t, was)
			if is == was {
				return
			}
			if *update && engine == storetest.SQLite {
				a.Comment = []byte(is)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("told (-) and happened (+); -update writes what happened:\n%s", cmp.Diff(strings.Split(was, "\n"), strings.Split(is, "\n")))
		})
	}
	for _, o := range op.All {
		if !told[string(o.Name)] {
			t.Errorf("no story calls %s", o.Name)
		}
	}
}

type story struct {
	*rig
	on    storetest.Engine
	files []txtar.File
	out   strings.Builder
	last  [2]string // operation and content of the last call
	link  string    // of the last redirectUrl
	heard int       // events already told
	banks int

	numbers map[string]string // of events, as they are told
}

// play returns the story with what happened.
func (s *story) play(t *testing.T, text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "> ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, line := range lines {
		s.out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if s.rig == nil {
			var set store.Settings
			if verb != "app" {
				t.Fatalf("a story begins with its app, not with %q", line)
			}
			if err := json.Unmarshal([]byte(rest), &set); err != nil {
				t.Fatal(err)
			}
			s.rig = newRig(t, s.on, set)
			continue
		}
		s.command(verb, rest)
	}
	s.verify()
	return s.out.String()
}

func (s *story) say(format string, args ...any) {
	for line := range strings.Lines(strings.TrimSuffix(fmt.Sprintf(format, args...), "\n")) {
		s.out.WriteString("> " + strings.TrimSuffix(line, "\n") + "\n")
	}
}

func (s *story) command(verb, rest string) {
	s.Helper()
	args := strings.Fields(rest)
	switch verb {
	case "call":
		name, content, _ := strings.Cut(rest, " ")
		s.last = [2]string{name, content}
		s.call()
	case "repeat":
		s.call()
	case "confirm":
		b, err := s.engine.Confirm(s.Context(), s.link, op.Consent{TextVersion: "test", Language: "en"})
		s.did(b.State, err)
	case "decline":
		b, err := s.engine.Decline(s.Context(), s.link)
		s.did(b.State, err)
	case "approve":
		s.did("done", s.onBinding(args[0], args[1], func(v *store.View, b pgdb.Binding) error { _, err := op.Approve(v, b); return err }))
	case "reject":
		s.did("done", s.onBinding(args[0], args[1], func(v *store.View, b pgdb.Binding) error { return op.Reject(v, b, "not the owner") }))
	case "revoke":
		s.did("done", s.onBinding(args[0], args[1], func(v *store.View, b pgdb.Binding) error { return op.Revoke(v, b, "account closed") }))
	case "deposit":
		amount, err := money.Parse(args[1], money.Currency(args[0]))
		if err != nil {
			s.Fatal(err)
		}
		s.banks++
		s.deposit(args[0], amount.Minor, fmt.Sprintf("BANK-%d", s.banks))
	case "freeze":
		s.setSeller(args[0], infinia.SellerIsFrozen)
	case "resume":
		s.setSeller(args[0], infinia.SellerActive)
	case "upload":
		s.upload(args[0])
	case "work":
		s.work()
	case "clock":
		d, err := time.ParseDuration(rest)
		if err != nil {
			s.Fatal(err)
		}
		s.mu.Lock()
		s.now = s.now.Add(d)
		s.mu.Unlock()
	case "endpoint":
		status, body, _ := strings.Cut(rest, " ")
		code := map[string]int{"200": 200, "302": 302, "500": 500}[status]
		s.endpoint = func(w http.ResponseWriter) {
			if code == 302 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	case "events":
		for _, e := range s.events[s.heard:] {
			s.say("%s", s.masked(e))
		}
		s.heard = len(s.events)
	case "result":
		_, file, err := s.importer.OpenResult(s.Context(), testApp, rest)
		if errors.Is(err, fs.ErrNotExist) {
			s.say("there is none")
			return
		}
		if err != nil {
			s.Fatal(err)
		}
		b, err := io.ReadAll(file)
		if err != nil {
			s.Fatal(err)
		}
		s.say("%s", b)
	case "accounts", "postings", "deliveries":
		s.list(verb)
	default:
		s.Fatalf("unknown command %q", verb)
	}
}

func (s *story) did(what string, err error) {
	if err != nil {
		s.say("refused: %v", err)
		return
	}
	s.say("%s", what)
}

func (s *story) call() {
	s.Helper()
	_, resp, plain := s.post(infinia.Operation(s.last[0]).Path(), s.seal(s.last[1]))
	s.say("%s %s", resp.Code, resp.Message)
	if plain == "" {
		return
	}
	var reply struct{ RedirectURL string }
	if err := json.Unmarshal([]byte(plain), &reply); err != nil {
		s.Fatal(err)
	}
	if reply.RedirectURL != "" {
		s.link = reply.RedirectURL[len("http://sandbox.test/b/"):]
	}
	s.say("%s", s.masked(plain))
}

var drawn = regexp.MustCompile(`(/b/|/errors/)[\w-]+|"traceId":"\w+"|\w{8}-\w{4}-\w{4}-\w{4}-\w{12}`)

// masked replaces what is drawn at random, which what is recorded on the side draws from as well.
func (s *story) masked(text string) string {
	return drawn.ReplaceAllStringFunc(text, func(d string) string {
		switch {
		case strings.HasPrefix(d, "/"):
			return d[:strings.LastIndex(d, "/")] + "/TOKEN"
		case strings.HasPrefix(d, `"`):
			return `"traceId":"TRACE"`
		}
		if s.numbers == nil {
			s.numbers = map[string]string{}
		}
		if _, ok := s.numbers[d]; !ok {
			s.numbers[d] = fmt.Sprintf("EVENT-%d", len(s.numbers)+1)
		}
		return s.numbers[d]
	})
}

func (s *story) upload(name string) {
	s.Helper()
	for _, f := range s.files {
		if f.Name != name {
			continue
		}
		path := filepath.Join(s.dir, fmt.Sprintf("%d-%s", len(s.out.String()), filepath.Base(name)))
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			s.Fatal(err)
		}
		sum := sha256.Sum256(f.Data)
		requestNo, _, _ := strings.Cut(filepath.Base(name), ".")
		if err := s.importer.Receive(s.Context(), testApp, requestNo, path, int64(len(f.Data)), hex.EncodeToString(sum[:])); err != nil {
			s.Fatal(err)
		}
		return
	}
	s.Fatalf("no file %q below the story", name)
}

// list tells the books, oldest first.
func (s *story) list(what string) {
	s.Helper()
	ctx, most := s.Context(), int32(1000)
	s.read(func(q *pgdb.Queries) error {
		accounts, err := q.PageAccounts(ctx, pgdb.PageAccountsParams{Before: 1 << 62, Most: most})
		if err != nil {
			return err
		}
		text := func(minor int64, currency string) string {
			return money.Amount{Minor: minor, Currency: money.Currency(currency)}.String()
		}
		for i := range accounts {
			a := accounts[len(accounts)-1-i]
			if what == "accounts" {
				s.say("%s", strings.Join(strings.Fields(fmt.Sprintf("%s %s %s balance %s held %s", a.Kind, a.SellerID, a.Currency, text(a.Balance, a.Currency), text(a.Held, a.Currency))), " "))
			}
		}
		switch what {
		case "postings":
			postings, err := q.PagePostingsWithAccounts(ctx, pgdb.PagePostingsWithAccountsParams{Before: 1 << 62, Most: most})
			if err != nil {
				return err
			}
			for i := range postings {
				p := postings[len(postings)-1-i]
				s.say("%s %s %s: %s #%d -> %s #%d", p.Purpose, text(p.Amount, p.Currency), p.Currency, p.FromKind, p.FromNo, p.ToKind, p.ToNo)
			}
		case "deliveries":
			deliveries, err := q.PageDeliveries(ctx, pgdb.PageDeliveriesParams{Before: 1 << 62, Most: most})
			if err != nil {
				return err
			}
			for i := range deliveries {
				d := deliveries[len(deliveries)-1-i]
				s.say("%s %s %s after %d", d.Event, d.SellerID, d.State, d.Attempts)
				attempts, err := q.ListAttempts(ctx, d.ID)
				if err != nil {
					return err
				}
				for _, a := range attempts {
					s.say("  %s: %d %q %s", store.Time(a.At).Format(time.DateTime), a.HTTPStatus, a.Answer, a.Fault)
				}
			}
		}
		return nil
	})
}
