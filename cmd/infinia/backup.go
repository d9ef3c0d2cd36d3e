package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/store"
)

// backupCmd copies the database file. It works beside the server and asks nothing of it, so that it also works when the
// server does not.
type backupCmd struct {
	File     string `arg:"" placeholder:"FILE" help:"The file to write, which must not be there yet."`
	Data     string `default:".infinia" placeholder:"FOLDER" help:"Data folder of the server; default .infinia."`
	DB       string `name:"db" placeholder:"FILE" help:"The database file itself, instead of the data folder."`
	NoVerify bool   `env:"-" help:"Do not check the copy, neither for damage nor its books."`
}

func (c backupCmd) Run(ctx context.Context, con console) error {
	from := c.DB
	if from == "" {
		from = filepath.Join(c.Data, "infinia.db")
	}
	if store.IsPostgres(from) {
		return hinted{errors.New("this is a database of PostgreSQL, which makes backups itself"), "pg_basebackup, see docs/operate.md"}
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) && c.DB == "" {
		return hinted{err, "--data names the server's data folder; a postgres:// database is backed up by pg_basebackup, see docs/operate.md"}
	}
	began := time.Now()
	var copied time.Time
	var size int64
	var v admin.Verification
	err := store.Backup(ctx, from, c.File, func(part string) error {
		copied = time.Now()
		info, err := os.Stat(part)
		if err != nil {
			return err
		}
		if size = info.Size(); c.NoVerify {
			return nil
		}
		if v, err = verifyCopy(ctx, part); err == nil && !v.Sound {
			printFaults(con.err, v)
			err = fmt.Errorf("the books are not sound, faults: %d", len(v.Faults))
		}
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s: %.1f MB copied in %s", c.File, float64(size)/1e6, roughly(copied.Sub(began)))
	if c.NoVerify {
		_, err = fmt.Fprintf(con.out, "%s, not verified\n", what)
	} else {
		_, err = fmt.Fprintf(con.out, "%s, verified in %s; %s\n", what, roughly(time.Since(copied)), verdict(v))
	}
	return err
}

// roughly is what a duration is printed as, never 0s.
func roughly(d time.Duration) time.Duration { return max(d.Round(time.Millisecond), time.Millisecond) }
