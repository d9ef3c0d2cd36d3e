package intake

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// plainName is the form of an appID and of a requestNo. It also keeps both harmless as parts of a path.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

var defaultPattern = regexp.MustCompile(`^(.+)\.csv$`)

const (
	doneSuffix   = ".done"   // says that the file beside it is whole
	digestSuffix = ".sha256" // holds the hex SHA-256 of the whole file beside it
)

// requestNo is what a final name stands for; ok is false for every other name.
func (s Settings) requestNo(name string) (no string, ok bool) {
	if isTemporary(name) {
		return "", false
	}
	pattern := s.NamePattern
	if pattern == nil {
		pattern = defaultPattern
	}
	m := pattern.FindStringSubmatch(name)
	if len(m) < 2 || m[0] != name || !plainName.MatchString(m[1]) {
		return "", false
	}
	return m[1], true
}

// isMarker reports whether name is a marker beside a final name.
func (s Settings) isMarker(name string) bool {
	for _, suffix := range []string{doneSuffix, digestSuffix} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if _, ok := s.requestNo(base); ok {
				return true
			}
		}
	}
	return false
}

// speaks reports whether a file of this name can start processing, itself or as a marker. Such a name must be earned
// by a clean close.
func (s Settings) speaks(name string) bool {
	_, final := s.requestNo(name)
	return final || s.isMarker(name)
}

// isTemporary reports whether name is one that clients give to a file under way.
func isTemporary(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	for _, suffix := range []string{".part", ".filepart", ".partial", ".tmp", "~"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// maxName leaves room for what the journal adds, and for any requestNo with every ending.
const maxName = 128

// uploadable reports whether a client may have a file of this name in /upload. Any other name would lie there without
// effect, so it is refused at once.
func (s Settings) uploadable(name string) bool {
	if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) {
		return false
	}
	return isTemporary(name) || s.speaks(name)
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
