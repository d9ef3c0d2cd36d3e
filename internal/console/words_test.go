package console

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestLanguageOfThePage(t *testing.T) {
	for _, tc := range []struct{ query, accept, want string }{
		{"", "", "en"},
		{"", "fr-FR,fr;q=0.9", "en"},
		{"", "en-GB", "en"},
		{"", "zh-CN,zh;q=0.9,en;q=0.8", "zh"},
		{"", "zh-Hans-SG", "zh"},
		{"", "zh", "zh"},
		{"", "zh-TW", "zh"},
		{"", "en;q=0.2,zh;q=0.9", "zh"},
		{"", "\x00;;q=x", "en"},
		{"?lang=zh", "en", "zh"},
		{"?lang=en", "zh", "en"},
		{"?lang=fr", "zh", "zh"},
	} {
		r := httptest.NewRequest("GET", "/"+tc.query, nil)
		r.Header.Set("Accept-Language", tc.accept)
		if got := wordsFor(r).Code; got != tc.want {
			t.Errorf("%q with Accept-Language %q: %s, want %s", tc.query, tc.accept, got, tc.want)
		}
	}
}

// Evidence names a version; whoever changes a word of the texts makes another version and its line here.
func TestConsentTextsAreFrozen(t *testing.T) {
	want := map[string]string{"consent-2026-11": "006d1389a0a0a3cd"}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", consentEnglish, consentChinese))
	if got := hex.EncodeToString(sum[:8]); want[consentVersion] != got {
		t.Errorf("the texts of %s are %s, were %s", consentVersion, got, want[consentVersion])
	}
}

func TestNoWordIsMissing(t *testing.T) {
	for _, w := range languages {
		v := reflect.ValueOf(*w)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() {
				t.Errorf("%s: %s is empty", w.Name, name)
			}
			text, first := fmt.Sprintf("%v", v.Field(i)), fmt.Sprintf("%v", reflect.ValueOf(english).Field(i))
			if strings.Count(text, "%") != strings.Count(first, "%") {
				t.Errorf("%s: %s has not the places of the English one: %s", w.Name, name, text)
			}
		}
		if len(w.Consent.Points) != len(english.Consent.Points) || w.Consent.Tick == "" {
			t.Errorf("%s: the consent is not the same", w.Name)
		}
	}
}

// The colours of text against what is behind it, by the formula of WCAG 2: 4.5 is asked of text.
func TestContrast(t *testing.T) {
	css, err := static.ReadFile("static/console.css")
	if err != nil {
		t.Fatal(err)
	}
	colour := regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)
	light, dark, found := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("no dark colours")
	}
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		luminance := map[string]float64{}
		for _, m := range colour.FindAllStringSubmatch(text, -1) {
			rgb, err := strconv.ParseUint(m[2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			for shift, weight := range map[int]float64{16: 0.2126, 8: 0.7152, 0: 0.0722} {
				c := float64(rgb>>shift&0xff) / 255
				if c <= 0.04045 {
					c /= 12.92
				} else {
					c = math.Pow((c+0.055)/1.055, 2.4)
				}
				luminance[m[1]] += weight * c
			}
		}
		for _, pair := range [][2]string{
			{"text", "back"}, {"text", "card"}, {"text", "tint"}, {"soft", "card"}, {"soft", "tint"}, {"accent", "card"}, {"accent", "back"},
			{"on-accent", "accent"}, {"warn", "warn-tint"}, {"bad", "bad-tint"},
		} {
			a, aok := luminance[pair[0]]
			b, bok := luminance[pair[1]]
			if !aok || !bok {
				t.Fatalf("%s: no colour %v", scheme, pair)
			}
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
				t.Errorf("%s: %s on %s has the contrast %.2f", scheme, pair[0], pair[1], ratio)
			}
		}
	}
}
