package trade

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestReference holds docs/files.md against the tables that the checker works by.
func TestReference(t *testing.T) {
	const path = "../../docs/files.md"
	is := reference(t)
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
		t.Errorf("docs/files.md is not what the tables say; -update writes it:\n%s", diff)
	}
}

// sampleFile is the file in the documentation; it has to be sound.
const sampleFile = `sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity,productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress
SELLER-123456,PI-1001,LAMP-1,2026-02-01 10:00:00,CNH,1200.00,001,Desk lamp,12,100.00,Shipped,,SF1001,SF Express,2026-02-02 09:00:00,USA,https://store.example.com/acme/1,,
SELLER-123456,PI-1002,LAMP-2,2026-02-01 11:30:00,CNH,800.00,001,"Floor lamp, black",4,200.00,Not Shipped,2026-02-20 00:00:00,,,,DEU,https://store.example.com/acme/2,,
SELLER-123456,PI-1001,LAMP-1,2026-02-10 16:00:00,CNH,-100.00,001,Desk lamp,1,100.00,Shipped,,SF1001,SF Express,2026-02-02 09:00:00,USA,https://store.example.com/acme/1,,
`

// clients is how each of them sends, goes on after a cut and fetches; the tests of internal/intake run them like this.
const clients = `With H, P and APP for the host, the port and the appId, KEY for the login key's file, and N for the name ` + "`<requestNo>.csv`" + `:

| | |
|---|---|
| sftp | ` + "`sftp -P P -i KEY APP@H`" + ` and the two lines above; after a cut ` + "`reput trades.csv /upload/N.part`" + `, then the rename |
| scp | ` + "`scp -s -P P -i KEY N APP@H:/upload/`" + `, which counts as complete when it has been untouched; it cannot go on after a cut: send again. The older protocol, ` + "`-O`" + `, is refused |
| lftp | ` + "`set sftp:connect-program \"ssh -a -x -i KEY\"; open -u APP, sftp://H:P; set xfer:use-temp-file yes; put N -o /upload/N`" + `, or ` + "`mirror -R folder /upload`" + `; after a cut, under a temporary name of your own, ` + "`reput N -o /upload/N.part; mv /upload/N.part /upload/N`" + `; ` + "`pget -n 4 /result/...`" + ` |
| rclone | ` + "`rclone copy folder :sftp:/upload --sftp-host H --sftp-port P --sftp-user APP --sftp-key-file KEY --sftp-known-hosts-file ~/.ssh/known_hosts --sftp-shell-type none --sftp-disable-hashcheck`" + `: the last two spare it from asking for a shell and checksums, which are not there; it works without them. ` + "`copy`" + ` again sends what is new, compared by size and time; ` + "`check --download`" + ` compares every byte. After a cut it starts again. From 1.63 on it renames from ` + "`.partial`" + `, which makes an upload complete at once |
| curl | ` + "`curl -u APP: --key KEY --hostpubsha256 PRINT -T trades.csv sftp://H:P/upload/N.part -Q '-rename /upload/N.part /upload/N'`" + `, after a cut the same with ` + "`-C -`" + `; PRINT is the host key's fingerprint without ` + "`SHA256:`" + ` |

The server shows a file with the time that its client gave it. An app may open 32 connections, and has limits on the size of a file, on files and on bytes in ` + "`/upload`" + ` (1 GiB, 10,000, 10 GiB, unless its operator set others); uploads that were taken over are removed, the oldest first, when the rest needs their room, and uploads that were never completed 30 days after their last write. After 5 minutes without a byte a connection is cut. Too many wrong keys bar the address that they came from for 10 minutes.
`

func reference(t *testing.T) string {
	t.Helper()
	res, err := Check(strings.NewReader(sampleFile), Settings{}, Known{})
	if err != nil || res.Accepted != 3 || len(res.Problems) != 0 {
		t.Fatalf("the sample is not sound: %+v %v", res, err)
	}
	var b strings.Builder
	b.WriteString(`# Trade files

Generated from the tables that the checker works by. [D] marks what Infinia's public documentation prints, [O] what this project decided.

## Sending one

Log in over SFTP with the app's key; the user name is the appId. Write ` + "`/upload/<requestNo>.csv`" + ` [O] and find the results in ` + "`/result`" + `. An upload counts as complete [O]

- when it was renamed to that name from a temporary one (` + "`.part`, `.filepart`, `.partial`, `.tmp`, `~`" + `, a leading dot), at once;
- when ` + "`<requestNo>.csv.done`" + ` was written beside it, or ` + "`<requestNo>.csv.sha256`" + ` with the hex digest of the whole file;
- or when it was closed and then left untouched for 5 seconds (a setting of the app; 1 in ` + "`infinia dev`" + `).

` + "```" + `
sftp> put trades.csv /upload/TDU-20250903-0001.csv.part
sftp> rename /upload/TDU-20250903-0001.csv.part /upload/TDU-20250903-0001.csv
` + "```" + `

` + clients + `
A requestNo is 1 to 64 of ` + "`A-Z a-z 0-9 . _ -`" + `, the first a letter or digit; letter case counts. Where a ` + "`.sha256`" + ` lies beside a file, it alone decides: as long as it has another digest the file is not taken, and only the server's log says so; send the right one, or the file again. With the app's setting ` + "`requireUploadMarker`" + ` no file is complete without its ` + "`.done` or `.sha256`" + `. After a crash of the server in the middle of an upload going on may be refused, because the file may have a gap: upload it from the start.

Then ask ` + "`trade-details/query`" + ` with the requestNo until the status is no longer PROCESSING. At first the answer may be BIZ-002: the upload is not taken over yet. Do not delete or replace it before the query finds it. After a second upload under a requestNo that FAILED the query tells of the first until ` + "`attempt`" + ` has risen: wait for that.

The same bytes again under the same requestNo: the same result, and the same attempt. Other bytes after FAILED are its next attempt; nothing was booked. Other bytes while it is judged, or after SUCCESS or PARTIAL, are dropped, and the summary lists them.

## The file

Comma separated, a header line, quotes as in RFC 4180. UTF-8, with or without a mark, UTF-16 and GB18030 are recognised, lines may end in LF or CR LF, and all of them, the header too, in empty cells that a spreadsheet has left [O]. The columns may stand in any order, their names in any letter case [O]. A name that is wrong refuses the file; its rows are judged all the same, unless a column is missing or there twice. Lengths are characters. A time without a zone has to be one that the zone's clocks show once, and all are of the years 2000 to 2099 in the app's zone.

| Column [D] | Most | Needed | |
|---|---|---|---|
`)
	for _, c := range Columns() {
		most := "-"
		if c.Max > 0 {
			most = fmt.Sprint(c.Max)
		}
		need := map[string]string{"M": "always", "O": "no"}[c.Need]
		if need == "" {
			need = "when " + c.Need
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, most, need, c.Rule)
	}
	b.WriteString("\n```csv\n" + sampleFile + "```\n" + readings(t) + `
A row is a sale (amount above zero) or a return (below zero); an exchange is a return and a later sale [O]. Its identity is sellerId, orderId, sku, transactionTime and the sign: filed again with the same currency and amount it books nothing and is accepted, and may move a sale from Not Shipped to Shipped; with another currency or amount it is an error. Returns of a sellerId, orderId and sku may not exceed its sales, over all files, and are taken off shipped sales first. A row needs a seller whose binding in its currency is, or once was, successful.

` + "`infinia sample --rows 1000 trades.csv`" + ` writes such a file to try things with, in any of the encodings. Its sellers are SELLER-000001 to SELLER-000010, or your own, named with ` + "`--seller`" + `. Each of them has to be bound in CNH first: after this call, which is for the first, the seller opens the ` + "`redirectUrl`" + ` of its answer in a browser and confirms; in ` + "`infinia dev`" + ` nobody has to approve that.

` + "```sh" + `
infinia call account-binding/request -d '{"requestNo":"ABR-000001","sellerId":"SELLER-000001","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"Acme Trading Ltd.","storeName":"Acme","storeUrl":"https://store.example.com/acme","entityType":"Corporate","country":"CHN","currency":"CNH"}'
` + "```" + `

With ` + "`--bad 5`" + `, about 5 % of its rows have a fault, and the command says how many have which; ` + "`infinia check`" + ` warns only of the returns among them, whose sale an earlier file could have. The same flags always give the same bytes; another ` + "`--seed`" + ` gives other orders.

` + "`infinia check trades.csv`" + ` judges a file like the server, as far as one file alone shows it, in the app's zone if ` + "`--zone`" + ` names that. Its exit code is 0 where the server would take the file, 1 where the file has errors, and 2 where it could not be checked. With ` + "`--fix mended.csv`" + ` it writes a copy and judges that: where an error says what to write, nothing is to be chosen and nothing gets lost, the copy has it, and so it has the names that are misspelt in the header; a second header and a line ` + "`sep=,`" + ` are left out. All else is as it was, byte for byte, and the command lists what it has done. What is marked ` + "`--fix`" + ` on this page is mended so.

## Results

One bad row and nothing of the file counts: FAILED. An app can be set to take the good rows: PARTIAL [O].

` + "`/result/<requestNo>_summary.json`" + ` has status, attempt, counts, the SHA-256 judged, what is wrong by rule (` + "`broken`" + `: how often, the first ten lines, an example), the first warnings of accepted rows, and uploads that were dropped. ` + "`/result/<requestNo>_error.csv`" + `, also behind the query's ` + "`errorFileUrl`" + `, has rows as they were sent and three columns more: ` + "`lineNumber`" + ` as an editor counts it, ` + "`errorCount`" + `, and ` + "`errors`" + `, each as what is wrong and how to mend it; what is wrong with the whole file stands in its first row. The three columns are ignored when that file is sent as it is. After FAILED it has all rows: mend the cells and send it under the same requestNo. After PARTIAL it has only the rejected rows, and the others count already: mend them and send it under a new requestNo.

## What is checked

What is wrong with a cell counts under its column's name and one of: ` + "`.empty`, `.form`, `.long`" + `, such as ` + "`country.form`" + `. Beyond each cell there are these rules; one breach of a ` + "`file`" + ` rule refuses all rows, and a warning rejects nothing:

| Rule | What is wrong | How to mend it |
|---|---|---|
`)
	for _, r := range Rules() {
		name := "`" + r.Name + "`"
		if r.Warning {
			name += " (warning)"
		}
		what := strings.NewReplacer("{line}", "N", "{name}", "X", "{count}", "N").Replace(strings.TrimSpace(r.Column + " " + r.Wrong))
		fix := strings.NewReplacer("{name}", "X").Replace(r.Fix)
		if r.Remove {
			fix += " (`--fix` does)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, what, fix)
	}
	return b.String()
}

// samples are cells as spreadsheets and people write them, for the documentation.
var samples = []struct {
	column int
	cells  []string
}{
	{colTime, []string{"2025/9/3 8:05:07", "2025-9-3 8:05:07", "2025/9/3 8:05", "3/9/2025 8:05", "2025-09-03T08:05:00", "45903.3368", "1.75688E+12"}},
	{colShippingTime, []string{"2025/9/3 8:05", "2025/9/3"}},
	{colAmount, []string{" 1,234.50 ", "'100.00", "1,234,567", "1,234", "1.234,50", "CNY 100", "(100.00)", "1.5E+05"}},
	{colQuantity, []string{"4.00", "4.000", "4,5"}},
	{colCurrency, []string{" USD ", "usd", "RMB"}},
	{colShipping, []string{"Shipped ", "shipped"}},
	{15, []string{"CHN ", "US", "chn"}},
	{colSKU, []string{"00123", "'00123", `="00123"`, "1.23457E+11", " A-1", "TRUE"}},
	{colTrackingNo, []string{"1.23457E+11"}},
	{7, []string{"#N/A", "'Lamp'"}},
}

// readings shows what becomes of the samples, by having them judged.
func readings(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`
Cells as spreadsheets leave them are read where they can mean one thing only, otherwise the error says what to type [O]. Blanks around a time, number or code mean nothing there, nor does an apostrophe in front, nor the width of characters from a Chinese keyboard. Ids and free text are never altered. For example:

| Column | Sent | |
|---|---|---|
`)
	for _, s := range samples {
		for _, cell := range s.cells {
			r := &reading{zone: time.FixedZone("+08:00", 8*60*60)}
			r.shipping, r.row.Currency, r.cells[s.column] = isShipped, "USD", cell
			_, f := r.cellProblem(s.column)
			outcome := "is read as `" + r.cells[s.column] + "`"
			switch {
			case f.wrong != "":
				outcome = "error: " + f.wrong + "; " + f.fix
				if f.mend != "" {
					outcome += " (`--fix` does)"
				}
			case r.cells[s.column] == cell:
				outcome = "stays as it is"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", columns[s.column].Name, cell, outcome)
		}
	}
	return b.String()
}
