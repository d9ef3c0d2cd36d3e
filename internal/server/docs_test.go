package server

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/needs"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/storetest"
)

// blocks are the code blocks of one language in a document, put together.
func blocks(t *testing.T, name, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(must(os.ReadFile("../../docs/"+name))(t)), -1)
	if len(found) == 0 {
		t.Fatalf("%s has no %s", name, language)
	}
	var all strings.Builder
	for _, b := range found {
		all.WriteString(b[1])
	}
	return all.String()
}

// startWhole is a sandbox in the folder .infinia of dir, as infinia dev makes it, with keys of full length.
func startWhole(t *testing.T, dir string) *rig {
	t.Helper()
	cfg := testConfig(t, storetest.SQLite, store.Settings{})
	cfg.Data = filepath.Join(dir, ".infinia")
	cfg.ClientKey, cfg.PlatformKey = testKey(t, "client-4096"), testKey(t, "platform-4096")
	return startConfig(t, cfg)
}

func TestDocumentedShellCalls(t *testing.T) {
	t.Parallel()
	needs.Program(t, "openssl")
	needs.Program(t, "curl")
	dir := t.TempDir()
	r := startWhole(t, dir)
	cmd := exec.CommandContext(t.Context(), needs.Program(t, "bash"), "-eu", "-c", blocks(t, "openssl.md", "sh"))
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, want := range []string{
		`code: SUC-200`,
		`\{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","status":"PROCESSING","redirectUrl":"http://[^"]+/b/[^"]{22}"\}`,
		`SUC-200 \{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","currency":"CNH","status":"PROCESSING"\}`,
		`SYS-002 \{"requestNo":"RSR-1","traceId":"[^"]+","errors":\[\{"field":"sellerId",.*"field":"currency",.*"field":"amount",.*\]\}`,
		`SUC-200 \{"currency":"CNH","availableBalance":"0.00","frozenBalance":"0.00","totalBalance":"0.00"\}`,
	} {
		if i >= len(lines) || !regexp.MustCompile("^"+want+"$").MatchString(lines[i]) {
			t.Fatalf("line %d is not %s:\n%s", i+1, want, text)
		}
	}
	equal(t, "number of lines", len(lines), 5)

	link := regexp.MustCompile(`http://[^"]+`).FindString(lines[1])
	if err := r.AnswerBinding(t.Context(), link, "confirm"); err != nil {
		t.Fatal(err)
	}
	state := must(r.Client.AccountBindingQuery(t.Context(), infinia.AccountBindingQueryRequest{RequestNo: "ABR-20250903-0001"}))(t)
	equal(t, "status", state.Status, infinia.BindingSuccess)
}

func TestDocumentedJavaCalls(t *testing.T) {
	t.Parallel()
	java := needs.Program(t, "java")
	dir := t.TempDir()
	r := startWhole(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "InfiniaCall.java"), []byte(blocks(t, "java.md", "java")), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(operation infinia.Operation, content string) (string, error) {
		cmd := exec.CommandContext(t.Context(), java, "InfiniaCall.java", ".infinia/sandbox.json", string(operation), content)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // how the JDK reads its arguments
		text, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(text)), err
	}
	// More than one block.
	text, err := call(infinia.OpAccountBinding, `{"requestNo":"ABR-1","sellerId":"卖家-1","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"`+
		strings.Repeat("阿克梅贸易", 40)+`","storeName":"Acme","storeUrl":"https://store.example.com/acme","entityType":"Corporate","country":"CHN","currency":"CNH"}`)
	if err != nil || !regexp.MustCompile(`^SUC-200 success\n\{"requestNo":"ABR-1","sellerId":"卖家-1",.*"redirectUrl":"http://[^"]+"\}$`).MatchString(text) {
		t.Errorf("binding: %v\n%s", err, text)
	}
	state := must(r.Client.AccountBindingQuery(t.Context(), infinia.AccountBindingQueryRequest{RequestNo: "ABR-1"}))(t)
	equal(t, "seller", state.SellerID, "卖家-1")
	text, err = call(infinia.OpAccountBalance, `{"currency":"yen"}`)
	if err == nil || !strings.HasPrefix(text, "SYS-006 ") || !strings.Contains(text, `"field":"currency"`) {
		t.Errorf("refusal: %v\n%s", err, text)
	}
}
