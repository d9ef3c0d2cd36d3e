package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/openinfinia/infinia/internal/admin"
)

// operatorVerbs are the nouns of the admin API, each in a file of its own.
type operatorVerbs struct {
	App     appCmd     `cmd:"" group:"Operator" help:"Integrators: let one in, set what it may do, shut it out."`
	Key     keyCmd     `cmd:"" group:"Operator" help:"Keys of an app: register, make, retire."`
	Deposit depositCmd `cmd:"" group:"Operator" help:"Money that arrived at the bank: book it, take a wrong one back."`
	Seller  sellerCmd  `cmd:"" group:"Operator" help:"Sellers: freeze, resume."`
	Binding bindingCmd `cmd:"" group:"Operator" help:"Sellers' accounts: approve, reject, revoke."`
	File    fileCmd    `cmd:"" group:"Operator" help:"Trade files, what was wrong in them, and what is kept of them."`
	Share   shareCmd   `cmd:"" group:"Operator" help:"Revenue shared with sellers."`
	Webhook webhookCmd `cmd:"" group:"Operator" help:"Webhooks to apps: see every try, send one again."`
	Ledger  ledgerCmd  `cmd:"" group:"Operator" help:"The books: accounts, postings, and a check of all of them."`
	Trace   traceCmd   `cmd:"" group:"Operator" help:"Why: from a row to the shares it allowed, and from a share back to its files."`
	Audit   auditCmd   `cmd:"" group:"Operator" help:"What operators did."`
	Calls   callsCmd   `cmd:"" group:"Operator" help:"What apps called."`

	Clock clockCmd `cmd:"" group:"Sandbox" help:"The clock: read it, move it."`
	Fault faultCmd `cmd:"" group:"Sandbox" help:"Faults on calls to come, to see what a client does then."`
	Reset resetCmd `cmd:"" group:"Sandbox" help:"Begin anew: empty the books; apps and keys stay."`
}

// operator says which server an operator's verb speaks to, and how it answers.
type operator struct {
	connection
	JSON bool `name:"json" help:"Print what the server answered, as JSON."`
}

// connection is by default to the sandbox of the data folder.
type connection struct {
	Admin     string `group:"Server" placeholder:"URL" help:"The server, such as https://pay.example.com. Without it: the sandbox."`
	TokenFile string `group:"Server" placeholder:"FILE" help:"File with the operator's token."`
	Token     string `group:"Server" placeholder:"TEXT" help:"The token itself. On a command line others can see it: set the variable, or use --token-file."`
	Data      string `group:"Server" default:".infinia" placeholder:"FOLDER" help:"Folder of the sandbox, when no server is named; default .infinia."`
}

const adminPath = "/admin/v1"

// client finds server and token. The two come from the same place: the sandbox's token is no server's business, and a
// server's none of the sandbox.
func (o connection) client() (*admin.Client, error) {
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if o.Admin == "" && token == "" {
		f, err := readSandbox(o.Data)
		if err != nil {
			return nil, hinted{err, "infinia dev starts one; --admin and --token-file name another server"}
		}
		return admin.NewClient(f.Admin, f.AdminToken, nil), nil
	}
	switch {
	case o.Admin == "":
		return nil, hinted{errors.New("there is a token, but no server"), "name it with --admin or INFINIA_ADMIN"}
	case token == "":
		return nil, hinted{errors.New("there is a server, but no token"), "give --token-file or set INFINIA_TOKEN"}
	}
	u, err := url.Parse(o.Admin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("--admin must be an address that begins with https://")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, errors.New("--admin must begin with https://, or the token would travel in clear")
	}
	return admin.NewClient(strings.TrimSuffix(strings.TrimSuffix(o.Admin, "/"), adminPath)+adminPath, token, nil), nil
}

func (o connection) token() (string, error) {
	if o.TokenFile == "" {
		return o.Token, nil
	}
	if o.Token != "" {
		return "", hinted{errors.New("there are two tokens"), "give --token-file or --token; INFINIA_TOKEN_FILE and INFINIA_TOKEN count as well"}
	}
	text, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("%s is empty", o.TokenFile)
	}
	return token, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// actor is an operator who changes something.
type actor struct {
	Reason    string `required:"" env:"-" placeholder:"TEXT" help:"Why; kept for the auditor.${told=}"`
	Reference string `env:"-" placeholder:"TEXT" help:"Your number of this act. The same command again under the same number is the same act and done once, so that it may be repeated when an answer got lost. Without it one is made and printed."`
	operator
}

// perform carries out one act and shows its answer.
func perform[A any](con console, by actor, do func(*admin.Client, admin.Act) (A, error)) error {
	return performShown(con, by, do, func(a A) any { return a })
}

// performShown is perform for an answer of which only a part is for people to read.
func performShown[A any](con console, by actor, do func(*admin.Client, admin.Act) (A, error), part func(A) any) error {
	api, err := by.client()
	if err != nil {
		return err
	}
	if by.Reference == "" {
		by.Reference = "cli-" + strings.ToLower(rand.Text()[:16])
		fmt.Fprintln(con.err, "reference:", by.Reference)
	}
	answer, err := do(api, admin.Act{Reference: by.Reference, Reason: by.Reason})
	if err != nil {
		return explain(err, "whether it was done is not known: repeat the command with --reference "+by.Reference)
	}
	if by.JSON {
		return printJSON(con.out, answer)
	}
	return printRecord(con.out, part(answer))
}

// show prints one record.
func show[A any](con console, o operator, ask func(*admin.Client) (A, error)) error {
	answer, err := asked(o.connection, ask)
	if err != nil {
		return err
	}
	if o.JSON {
		return printJSON(con.out, answer)
	}
	return printRecord(con.out, answer)
}

// asked is the answer to a question, which may be put again at will.
func asked[A any](o connection, ask func(*admin.Client) (A, error)) (answer A, err error) {
	api, err := o.client()
	if err != nil {
		return answer, err
	}
	if answer, err = ask(api); err != nil {
		err = explain(err, "")
	}
	return answer, err
}

// paging says which part of a list is wanted.
type paging struct {
	Most   int      `default:"100" env:"-" placeholder:"N" help:"At most so many, up to 500; default 100."`
	Before admin.ID `env:"-" placeholder:"ID" help:"Those that come after this one in the list, which begins with the newest."`
}

func (p paging) page() admin.Page { return admin.Page{Most: p.Most, Before: p.Before} }

// list prints one page as a table.
func list[T any](con console, o operator, ask func(*admin.Client) (admin.List[T], error), columns string, row func(T) []any) error {
	page, err := asked(o.connection, ask)
	if err != nil {
		return err
	}
	if o.JSON {
		return printJSON(con.out, page)
	}
	if len(page.Items) == 0 {
		fmt.Fprintln(con.err, "there are none")
		return nil
	}
	if err := printTable(con.out, columns, page.Items, row); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintln(con.err, "hint: there are more, see --before", page.Next)
	}
	return nil
}

// explain adds what to do about a failed call; unknown is for an act whose outcome is not certain.
func explain(err error, unknown string) error {
	refused, answered := errors.AsType[*admin.Error](err)
	dial, _ := errors.AsType[*net.OpError](err)
	switch {
	case answered && refused.Status == http.StatusUnauthorized:
		return hinted{err, "the server does not know this token"}
	case answered && refused.Status < http.StatusInternalServerError:
		return err // certainly not done
	case !answered && dial != nil && dial.Op == "dial":
		return hinted{err, "does the server run, and is this its address?"}
	case unknown != "":
		return hinted{err, unknown}
	}
	return err
}

// hinted is a failure with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }
