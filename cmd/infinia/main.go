// Command infinia is the whole system in one program: the server, a sandbox of it, the operator's verbs and the
// integrator's. Each subcommand has a file of its own; here they are parsed and started.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// commands is the tree of subcommands. Every flag has an INFINIA_ variable.
type commands struct {
	Demo  demoCmd  `cmd:"" help:"The whole job in one command: bind, file, share, notify, explained step by step."`
	Dev   devCmd   `cmd:"" help:"A sandbox on this machine: generated keys, a demo app, a clock that can be moved."`
	Serve serveCmd `cmd:"" help:"The same engine in production."`

	Call callCmd `cmd:"" group:"Integrator" help:"Seal, send and open one call of the API."`
}

// console is what a command talks through.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// run parses and runs; its result is the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c, kong.Name("infinia"), kong.Description("The open, self-hostable system behind the Infinia API."),
		kong.Writers(out, errOut), kong.Exit(func(code int) { exit = code; panic(exited{}) }), kong.DefaultEnvars("INFINIA"),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "Integrator", Title: "Integrator's verbs"}, {Key: "Operator", Title: "Operator's verbs, over the admin API"}}))
	if err != nil {
		fmt.Fprintln(errOut, "error:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parse(parser, args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintln(errOut, "error:", err)
		fmt.Fprintln(errOut, "hint: infinia --help")
		return 2
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(console{in, out, errOut}); err != nil {
		tell(errOut, err)
		return 1
	}
	return 0
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

// tell prints a failure: what, each field concerned, and what to do.
func tell(w io.Writer, err error) {
	if e, ok := errors.AsType[*infinia.Error](err); ok {
		fmt.Fprintf(w, "error: %s %s\n", e.Code, e.Message)
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
			fmt.Fprintf(w, "  %s: %s\n", f.Field, f.Message)
		}
		fmt.Fprintln(w, "trace:", e.TraceID)
		return
	}
	fmt.Fprintln(w, "error:", err)
}
