package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/openinfinia/infinia/internal/server"
	"github.com/openinfinia/infinia/internal/store"
)

// devCmd runs a sandbox until it is interrupted.
type devCmd struct {
	Data     string `default:".infinia" help:"Folder of the sandbox: database, keys, files; sandbox.json tells clients where everything is."`
	DB       string `name:"db" placeholder:"URL" help:"postgres:// URL of the database, of this sandbox alone. Default: an SQLite file in the data folder."`
	HTTP     string `name:"http" default:"127.0.0.1:8080" help:"Address of the API, the admin API and the pages; port 0 takes a free one."`
	SFTP     string `name:"sftp" default:"127.0.0.1:2022" help:"Address of SFTP; port 0 takes a free one."`
	Callback string `placeholder:"URL" help:"Where webhooks of the demo app go, when the sandbox is made."`
	KeyBits  int    `default:"4096" help:"Bits of the keys that are made."`
	Review   bool   `help:"Bindings of the demo app wait for an operator, when the sandbox is made, instead of being approved when the seller confirms."`
	Verbose  bool   `short:"v" help:"Log everything."`
	contentKeys
	sftpLogins
	lostLog
}

func (c devCmd) Run(ctx context.Context, con console) error {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	data, err := filepath.Abs(c.Data) // sandbox.json names files, for whoever stands in another folder
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "keys")); err == nil && (c.Review || c.Callback != "") {
		fmt.Fprintln(con.err, "note: this sandbox is made already; --review and --callback change nothing, infinia app settings does")
	}
	cfg := server.Config{Data: data, Database: c.DB, HTTP: c.HTTP, SFTP: c.SFTP, KeyBits: c.KeyBits, AcceptLostLog: c.AcceptLostLog,
		Log: slog.New(slog.NewTextHandler(con.err, &slog.HandlerOptions{Level: level}))}
	c.sftpLogins.set(&cfg)
	if err := c.contentKeys.set(&cfg); err != nil {
		return err
	}
	s, err := server.StartSandbox(ctx, server.SandboxConfig{
		Config:   cfg,
		Settings: store.Settings{AutoApprove: !c.Review, CallbackURL: c.Callback, UploadQuietSeconds: 1, SettleDelayMillis: 1000},
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return hinted{err, "another sandbox? --http and --sftp take other addresses, port 0 a free one"}
	}
	if err != nil {
		return c.hint(err)
	}
	flag := ""
	if c.Data != ".infinia" {
		flag = " --data " + c.Data
	}
	fmt.Fprintf(con.out, `NOT SAFE FOR PRODUCTION USE: a sandbox, with generated keys and a clock that anyone with the token can move.

  API      %s
  admin    %s   (token in sandbox.json)
  console  %s
  SFTP     sftp -P %s -i %s %s@%s
           host key %s
  app      %s
  all      %s

Try, in another terminal:

  infinia call%s account-balance/query -d '{"currency":"CNH"}'
  infinia audit list%s
`, s.File.API, s.File.Admin, s.File.Console, port(s.File.SFTP), s.File.SFTPPrivateKey, s.File.AppID, host(s.File.SFTP), strings.Join(s.HostKeys, ", "), s.File.AppID,
		filepath.Join(data, "sandbox.json"), flag, flag)
	<-ctx.Done()
	fmt.Fprintln(con.out, "stopping")
	return s.Close(context.WithoutCancel(ctx))
}
