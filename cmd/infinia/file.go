package main

import (
	"context"
	"fmt"
	"io"

	"github.com/openinfinia/infinia/internal/admin"
	"github.com/openinfinia/infinia/internal/trade"
)

type fileCmd struct {
	List   fileList   `cmd:"" help:"List trade files, newest first."`
	Show   fileShow   `cmd:"" help:"Show a trade file with its rows by seller and currency."`
	Errors fileErrors `cmd:"" help:"Print the error file as CSV, in the encoding of the upload."`
	Erase  fileErase  `cmd:"" help:"Erase the kept upload and its error file; what was judged stays."`
	Redact fileRedact `cmd:"" help:"Blank the buyers of some rows in the kept upload, and erase its error file."`

	Keys    fileKeys    `cmd:"" help:"List the keys that kept files are encrypted under."`
	Encrypt fileEncrypt `cmd:"" help:"Encrypt all kept files under the first content key, in the background."`
}

type fileList struct {
	App       string `env:"-" placeholder:"APP" help:"Only this app's."`
	RequestNo string `env:"-" placeholder:"NUMBER" help:"Only the attempts under this requestNo."`
	Status    string `env:"-" placeholder:"STATUS" help:"Only those that are PROCESSING, SUCCESS, PARTIAL or FAILED."`
	paging
	operator
}

func (c fileList) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.File], error) {
		return api.Files(ctx, admin.FilesFilter{Page: c.page(), AppID: c.App, RequestNo: c.RequestNo, Status: c.Status})
	}, "id appId requestNo attempt status totalRows acceptedRows rejectedRows receivedAt failReason", func(f admin.File) []any {
		return []any{f.ID, f.AppID, f.RequestNo, f.Attempt, f.Status, f.TotalRows, f.AcceptedRows, f.RejectedRows, f.ReceivedAt, f.FailReason}
	})
}

type fileShow struct {
	ID admin.ID `arg:"" help:"The file."`
	operator
}

func (c fileShow) Run(ctx context.Context, con console) error {
	f, err := asked(c.connection, func(api *admin.Client) (admin.FileDetail, error) { return api.File(ctx, c.ID) })
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(con.out, f)
	}
	if err := printRecord(con.out, struct {
		admin.File
		Progress int64 `json:"progress,omitempty"`
	}{f.File, f.Progress}); err != nil {
		return err
	}
	var r report
	if len(f.Parts) > 0 {
		r.section("rows by seller and currency")
		table(&r, "currency totalRows acceptedRows rejectedRows sellerId", f.Parts, func(p admin.FilePart) []any {
			return []any{p.Currency, p.TotalRows, p.AcceptedRows, p.RejectedRows, p.SellerID}
		}, "")
	}
	if len(f.Broken) > 0 {
		r.section("what is wrong, by rule")
		table(&r, "rule count lines example", f.Broken, func(b trade.Broken) []any { return []any{b.Rule, b.Count, linesOf(b), b.Example} }, "")
	}
	if len(f.Refused) > 0 {
		r.section("other uploads under its requestNo, which were dropped")
		table(&r, "at size sha256", f.Refused, func(u admin.RefusedUpload) []any { return []any{u.At, u.Size, u.SHA256} }, "")
	}
	if r.text.Len() > 0 {
		_, err = fmt.Fprint(con.out, "\n", r.text.String())
	}
	return err
}

type fileErrors struct {
	ID admin.ID `arg:"" help:"The file."`
	connection
}

func (c fileErrors) Run(ctx context.Context, con console) error {
	f, err := asked(c.connection, func(api *admin.Client) (io.ReadCloser, error) { return api.FileErrors(ctx, c.ID) })
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(con.out, f)
	return err
}

type fileErase struct {
	ID admin.ID `arg:"" help:"The file."`
	actor
}

func (c fileErase) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.File, error) { return api.EraseFile(ctx, c.ID, a) })
}

type fileRedact struct {
	ID   admin.ID `arg:"" help:"The file."`
	Line []int    `required:"" env:"-" placeholder:"N" help:"Where a row begins in the upload, as an editor counts: the header is line 1. May be repeated, up to 100 times."`
	actor
}

func (c fileRedact) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.File, error) {
		return api.RedactFile(ctx, c.ID, admin.Redact{Act: a, Lines: c.Line})
	})
}

type fileKeys struct{ operator }

func (c fileKeys) Run(ctx context.Context, con console) error {
	return list(con, c.operator, func(api *admin.Client) (admin.List[admin.ContentKey], error) { return api.ContentKeys(ctx) }, "keyId use chunks",
		func(k admin.ContentKey) []any {
			if k.KeyID == "" {
				k.KeyID = "in clear"
			}
			return []any{k.KeyID, k.Use, k.Chunks}
		})
}

type fileEncrypt struct{ actor }

func (c fileEncrypt) Run(ctx context.Context, con console) error {
	return perform(con, c.actor, func(api *admin.Client, a admin.Act) (admin.Encryption, error) { return api.EncryptFiles(ctx, a) })
}
