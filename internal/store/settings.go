package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	_ "time/tzdata" // a zone must never be missing: row identities and days depend on it

	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// Settings is what an operator sets for an app. The zero value of each field is its default.
type Settings struct {
	Operations []string `json:"operations,omitempty" doc:"operations that the app may call; empty: all"`
	Addresses  []string `json:"addresses,omitempty" doc:"CIDR ranges that the app may call from; empty: any"`
	Currencies []string `json:"currencies,omitempty" doc:"currencies that the app may use; empty: any known one"`
	Zone       string   `json:"zone,omitempty" doc:"time zone of the app's days and times, an IANA name or +hh:mm; empty: +08:00"`

	CapBasisPoints      *int64 `json:"capBasisPoints,omitempty" doc:"share of the trades that may be shared, in 1/10000; absent: 10000"`
	IgnoreUnshipped     bool   `json:"ignoreUnshipped,omitempty" doc:"trades that are Not Shipped do not count"`
	AcceptPartial       bool   `json:"acceptPartial,omitempty" doc:"the good rows of a trade file count although others are bad"`
	RequireUploadMarker bool   `json:"requireUploadMarker,omitempty" doc:"an upload is complete only with its .done or .sha256 file"`
	UploadQuietSeconds  int64  `json:"uploadQuietSeconds,omitempty" doc:"how long an upload must be untouched; 0: 5"`
	UploadFileMegabytes int64  `json:"uploadFileMegabytes,omitempty" doc:"largest upload; 0: 1024"`
	UploadMegabytes     int64  `json:"uploadMegabytes,omitempty" doc:"most in the app's upload folder; 0: 10240"`
	UploadFiles         int64  `json:"uploadFiles,omitempty" doc:"most files in the app's upload folder; 0: 10000"`
	KeepUploadDays      int64  `json:"keepUploadDays,omitempty" doc:"days after its judgement when a trade file's upload and error file are erased; 0: never"`

	AutoApprove       bool  `json:"autoApprove,omitempty" doc:"a binding is approved when the seller confirms"`
	LinkMinutes       int64 `json:"linkMinutes,omitempty" doc:"how long a binding link is valid; 0: 30"`
	ConfirmDays       int64 `json:"confirmDays,omitempty" doc:"how long a seller may take to confirm; 0: 7"`
	SettleDelayMillis int64 `json:"settleDelayMillis,omitempty" doc:"time between accepting and settling a share"`

	// Limits of shares, decimal amounts by currency.
	LimitPerShare     map[string]string `json:"limitPerShare,omitempty" doc:"most per share, by currency"`
	LimitPerSellerDay map[string]string `json:"limitPerSellerDay,omitempty" doc:"most per seller and day, by currency"`
	LimitPerDay       map[string]string `json:"limitPerDay,omitempty" doc:"most per day, by currency"`

	CallbackURL     string   `json:"callbackUrl,omitempty" doc:"where webhooks go; empty: none are sent"`
	Events          []string `json:"events,omitempty" doc:"further events to send: binding, file, share"`
	BlockBytes      int      `json:"blockBytes,omitempty" doc:"plain bytes per RSA block of answers; 0: full blocks"`
	SignResponses   bool     `json:"signResponses,omitempty" doc:"answers carry a signature"`
	BlocksPerSecond float64  `json:"blocksPerSecond,omitempty" doc:"limit of RSA blocks that the app may send a second; 0: 200"`
	RecordBodies    bool     `json:"recordBodies,omitempty" doc:"recorded calls keep their plain bodies"`
}

// SettingsOf reads an app's settings; the app was written by SetSettings, so that a fault here is a damaged database.
func SettingsOf(app pgdb.App) (Settings, error) {
	var s Settings
	err := json.Unmarshal([]byte(app.Settings), &s)
	if err == nil {
		_, err = ParseZone(s.Zone)
	}
	if err != nil {
		return s, fmt.Errorf("settings of app %s: %w", app.AppID, err)
	}
	return s, nil
}

// Cap is the share of the trades that may be shared, in 1/10000.
func (s Settings) Cap() int64 {
	if s.CapBasisPoints == nil {
		return 10000
	}
	return *s.CapBasisPoints
}

// Link is how long a binding link is valid.
func (s Settings) Link() time.Duration {
	return time.Duration(orDefault(s.LinkMinutes, 30)) * time.Minute
}

// Confirm is how long a seller may take to confirm a binding.
func (s Settings) Confirm() time.Duration {
	return time.Duration(orDefault(s.ConfirmDays, 7)) * 24 * time.Hour
}

// UploadQuiet is how long an upload must be untouched before it counts as whole.
func (s Settings) UploadQuiet() time.Duration {
	return time.Duration(orDefault(s.UploadQuietSeconds, 5)) * time.Second
}

// KeepUpload is how long a trade file's upload is kept after its judgement; 0 is for ever.
func (s Settings) KeepUpload() time.Duration { return time.Duration(s.KeepUploadDays) * 24 * time.Hour }

// Location is the zone of the app's days and of times in its files.
func (s Settings) Location() *time.Location {
	loc, err := ParseZone(s.Zone)
	if err != nil {
		panic(err) // SettingsOf would not have let it through
	}
	return loc
}

var (
	defaultZone = time.FixedZone("+08:00", 8*3600)
	zones       sync.Map // by name; reading one takes longer than a share
)

// ParseZone reads an IANA name or an offset such as +08:00; empty is +08:00.
func ParseZone(name string) (*time.Location, error) {
	switch name {
	case "":
		return defaultZone, nil
	case "Local":
		return nil, errors.New("the machine's own zone is none that an app can have")
	}
	if t, err := time.Parse("-07:00", name); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(name, offset), nil
	}
	if loc, ok := zones.Load(name); ok {
		return loc.(*time.Location), nil
	}
	loc, err := time.LoadLocation(name)
	if err == nil {
		zones.Store(name, loc)
	}
	return loc, err
}

// Day is the number of days from 1970 to the app's day that holds the time.
func (s Settings) Day(millis int64) int64 {
	t := Time(millis).In(s.Location())
	_, offset := t.Zone()
	seconds := t.Unix() + int64(offset)
	day := seconds / 86400
	if seconds%86400 < 0 {
		day--
	}
	return day
}

func orDefault(n, otherwise int64) int64 {
	if n == 0 {
		return otherwise
	}
	return n
}
