// Command infinia is the whole system in one program: the server, a sandbox of it, the operator's verbs and the
// integrator's. Each subcommand has a file of its own; here they are parsed and started.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/admin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands is the tree of subcommands. A flag that tells where and who has an INFINIA_ variable; one that belongs to a
// single act or question has none, so that nothing of it is left lying in the environment.
type commands struct {
	Demo  demoCmd  `cmd:"" help:"The whole job in one command: bind, file, share, notify, explained step by step."`
	Dev   devCmd   `cmd:"" help:"A sandbox on this machine: generated keys, a demo app, a clock that can be moved."`
	Serve serveCmd `cmd:"" help:"The same engine in production."`

	Backup backupCmd `cmd:"" help:"Copy a server's SQLite database while it serves, and verify the copy."`

	Version versionCmd `cmd:"" help:"Which version this is."`

	Call   callCmd   `cmd:"" group:"Integrator" help:"Seal, send and open one call of the API."`
	Check  checkCmd  `cmd:"" group:"Integrator" help:"Check a trade file without a server: every error of every row."`
	Sample sampleCmd `cmd:"" group:"Integrator" help:"Write a realistic trade file, with faulty rows where wanted."`

	operatorVerbs
}

// console is what a command talks through.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// run parses and runs; its result is the exit code: 0 done, 1 failed, 2 wrong usage or a file that could not be
// checked.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	exit := -1
	parser, err := newParser(out, errOut, func(code int) { exit = code; panic(exited{}) })
	if err != nil {
		fmt.Fprintln(errOut, "error:", err)
		return 2
	}
	parsed, err := parse(parser, args)
	if exit < 0 && bare(err, args) {
		parsed, err = parse(parser, append(args, "--help"))
	}
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintln(errOut, "error:", err)
		fmt.Fprintln(errOut, "hint:", helpFor(err))
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(console{in, out, errOut}); err != nil {
		code := 1
		if _, ok := errors.AsType[unjudged](err); ok {
			code = 2
		}
		if ctx.Err() != nil {
			h, _ := errors.AsType[hinted](err)
			err = hinted{errors.New("interrupted"), h.hint}
		}
		tell(errOut, err)
		return code
	}
	return 0
}

// unjudged is a failure of infinia check that says nothing about the file.
type unjudged struct{ error }

func (u unjudged) Unwrap() error { return u.error }

func newParser(out, errOut io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(new(commands), kong.Name("infinia"), kong.Description("The open, self-hostable system behind the Infinia API."),
		kong.Writers(out, errOut), kong.Exit(exit), kong.DefaultEnvars("INFINIA"), kong.Vars{"operations": operations()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "Integrator", Title: "Integrator's verbs:"},
			{Key: "Operator", Title: "Operator's verbs, over the admin API:"},
			{Key: "Sandbox", Title: "Operator's verbs that only a sandbox has:"},
			{Key: "Server", Title: "Which server, and as whom:"},
		}))
}

// exited ends the parsing where kong wants to leave the program, after --help.
type exited struct{}

func parse(parser *kong.Kong, args []string) (parsed *kong.Context, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exited); !ok {
				panic(p)
			}
		}
	}()
	return parser.Parse(args)
}

// bare says that there are no arguments at all, or only a noun without its verb: somebody looks around.
func bare(err error, args []string) bool {
	e, ok := errors.AsType[*kong.ParseError](err)
	if !ok || len(args) == 0 {
		return ok
	}
	node := e.Context.Selected()
	return node != nil && len(node.Children) > 0 && node.Name == args[len(args)-1]
}

// helpFor is the command that explains where the parsing stopped.
func helpFor(err error) string {
	if e, ok := errors.AsType[*kong.ParseError](err); ok {
		if node := e.Context.Selected(); node != nil {
			return node.FullPath() + " --help"
		}
	}
	return "infinia --help"
}

// tell prints a failure: what, each field concerned, and what to do.
func tell(w io.Writer, err error) {
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		message := e.Message
		if len(e.Fields) > 0 && e.Code.Known() {
			message = e.Code.Message() // the fields say the rest
		}
		fmt.Fprintf(w, "error: %s %s\n", e.Code, message)
		for _, f := range e.Fields {
			fmt.Fprintf(w, "  %s: %s\n", f.Field, f.Message)
		}
		if remedy := e.Code.Remedy(); remedy != "" {
			fmt.Fprintln(w, "hint:", remedy)
		}
		if e.TraceID != "" {
			fmt.Fprintln(w, "trace:", e.TraceID)
		}
		return
	}
	if e, ok := errors.AsType[*admin.Error](err); ok {
		fmt.Fprintf(w, "error: %s\n", e.Detail)
		for _, f := range e.Fields {
			if e.Detail != f.Field+" "+f.Message && e.Detail != f.Message {
				fmt.Fprintf(w, "  %s: %s\n", f.Field, f.Message)
			}
		}
		if e.Status >= http.StatusInternalServerError {
			fmt.Fprintln(w, "trace:", e.TraceID)
		}
	} else {
		fmt.Fprintln(w, "error:", err)
	}
	if h, ok := errors.AsType[hinted](err); ok && h.hint != "" {
		fmt.Fprintln(w, "hint:", h.hint)
	}
}
