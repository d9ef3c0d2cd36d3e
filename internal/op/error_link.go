package op

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/store"
	"github.com/openinfinia/infinia/internal/store/pgdb"
)

// ErrorLink makes a link to a file's error file: the file's id, which stands for one attempt, and the expiry, under a
// 128-bit MAC by a key that all nodes share. Nothing is stored.
func (e *Engine) ErrorLink(f pgdb.TradeFile) string {
	token := binary.BigEndian.AppendUint64(nil, uint64(f.ID))
	token = binary.BigEndian.AppendUint64(token, uint64(e.DB.Clock.Now().Add(e.ErrorLinkValid).Unix()))
	return e.PublicURL + "/errors/" + base64.RawURLEncoding.EncodeToString(append(token, e.errorMAC(token)...))
}

func (e *Engine) errorMAC(token []byte) []byte {
	mac := hmac.New(sha256.New, e.errorKey)
	mac.Write(token)
	return mac.Sum(nil)[:16]
}

// OpenErrorLink returns the trade file behind a link's token: NotFound for a token that this server did not make, Expired
// for one that is too old.
func (e *Engine) OpenErrorLink(ctx context.Context, text string) (f pgdb.TradeFile, err error) {
	token, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(token) != 32 || !hmac.Equal(token[16:], e.errorMAC(token[:16])) {
		return f, infinia.Errorf(infinia.NotFound)
	}
	if e.DB.Clock.Now().Unix() > int64(binary.BigEndian.Uint64(token[8:16])) {
		return f, infinia.Errorf(infinia.Expired)
	}
	err = e.DB.Read(ctx, func(q *pgdb.Queries) error {
		f, err = q.GetTradeFile(ctx, int64(binary.BigEndian.Uint64(token[:8])))
		if store.NotFound(err) {
			return infinia.Errorf(infinia.NotFound)
		}
		return err
	})
	return f, err
}
