package console

import (
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"time"

	"github.com/openinfinia/infinia"
	"github.com/openinfinia/infinia/internal/trade"
)

// sendingMost is how long an error file may be on its way.
const sendingMost = 30 * time.Minute

// errorFile sends the error file that a link opens. Its type names no encoding: the file has that of the upload.
func (c *console) errorFile(w http.ResponseWriter, r *http.Request) {
	p := c.page(r)
	f, err := c.Engine.OpenErrorLink(r.Context(), r.PathValue("token"))
	if err != nil {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	file, err := c.Importer.ErrorFile(r.Context(), f)
	if errors.Is(err, trade.ErrErased) {
		c.render(w, r, http.StatusGone, noticePage(p, p.ErasedFile))
		return
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = infinia.Errorf(infinia.NotFound)
	}
	if err != nil {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	// A large file over a slow line takes longer than a page may.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendingMost)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		c.refuse(w, r, err, p.DeadFile, p.ExpiredFile)
		return
	}
	w.Header().Set("Content-Type", "text/csv")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.RequestNo + "_error.csv"}))
	http.ServeContent(w, r, "", time.UnixMilli(f.FinishedAt), file)
}
