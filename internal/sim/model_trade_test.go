package sim

import (
	"slices"
	"strconv"
)

// modelFile is the newest attempt of a trade file.
type modelFile struct {
	id                        int64
	app                       *modelApp
	requestNo                 string
	attempt                   int64
	state                     string
	digest, path              string
	lines                     []line
	broken                    bool // as a whole: its header
	total, accepted, rejected int64
}

// modelRow is a row that counts.
type modelRow struct {
	seller, order, sku, currency string
	at, amount                   int64
	shipped                      bool
	shipping                     string // its fields as text
}

// line is a row of a file: what it says, and how it is written.
type line struct {
	modelRow
	cells  []string
	fault  bool // a cell is wrong
	noName bool // one of those that make its identity
}

func (r *modelRow) item() string { return r.seller + " " + r.order + " " + r.sku }

func (r *modelRow) identity() string {
	kind := " sale"
	if r.amount < 0 {
		kind = " return"
	}
	return r.item() + " " + strconv.FormatInt(r.at, 10) + kind
}

// wants says whether an upload is to be judged: content follows other content under its number only on a failure.
func (m *model) wants(a *modelApp, requestNo, digest string) bool {
	f := a.files[requestNo]
	return f == nil || f.state == "FAILED" && f.digest != digest
}

// receive takes an upload: content that is known changes nothing.
func (m *model) receive(a *modelApp, requestNo, digest, path string, lines []line, broken bool) {
	f := a.files[requestNo]
	if !m.wants(a, requestNo, digest) {
		if f.digest != digest {
			m.addTask("file-result/"+a.name, &modelTask{due: m.now, file: f})
		}
		return
	}
	next := &modelFile{app: a, requestNo: requestNo, attempt: 1, state: "PROCESSING", digest: digest, path: path, lines: lines, broken: broken}
	if f != nil {
		next.attempt = f.attempt + 1
	}
	a.files[requestNo] = next
	a.received = append(a.received, next)
	m.addTask("file/"+a.name, &modelTask{due: m.now, file: next})
}

// putResults is what an app finds of a file that was judged, unless there is a newer attempt.
func (m *model) putResults(f *modelFile) bool {
	if f.state == "PROCESSING" || f.app.files[f.requestNo] != f {
		return false
	}
	f.app.results[f.requestNo+"_summary.json"] = f
	delete(f.app.results, f.requestNo+"_error.csv")
	if f.rejected > 0 {
		f.app.results[f.requestNo+"_error.csv"] = f
	}
	return true
}

// judge ends a file: every line is held against the contract, and either all count, or the sound ones, or none.
func (m *model) judge(f *modelFile) {
	lines := f.lines
	bad, repeat, update := make([]bool, len(lines)), make([]bool, len(lines)), make([]bool, len(lines))
	for i := range lines {
		l := &lines[i]
		bad[i] = l.fault || !f.app.seller(l.seller).everBound(l.currency)
	}
	named := func(i int) bool { return !lines[i].noName }
	names := make([]string, len(lines))
	for i := range lines {
		names[i] = lines[i].identity()
	}
	for i := range lines { // the same row twice in one file
		for j := range i {
			if named(i) && named(j) && names[i] == names[j] {
				if slices.Equal(lines[i].cells, lines[j].cells) {
					repeat[i] = true
				} else {
					bad[i], bad[j] = true, true
				}
			}
		}
	}
	filed := make([]*modelRow, len(lines))
	for i := range lines { // rows filed before
		if !named(i) {
			continue
		}
		l := &lines[i]
		if filed[i] = f.app.rows[l.identity()]; filed[i] != nil {
			switch was := filed[i]; {
			case was.currency != l.currency || was.amount != l.amount, l.amount > 0 && was.shipped && !l.shipped:
				bad[i] = true
			case l.amount > 0 && was.shipping != l.shipping:
				update[i] = true
			}
		}
	}
	booked, currencies := map[string][]*modelRow{}, map[string]map[string]bool{} // of an item
	for i := range lines {
		if !named(i) {
			continue
		}
		item := lines[i].item()
		if currencies[item] == nil {
			currencies[item] = map[string]bool{}
		}
		currencies[item][lines[i].currency] = true
		booked[item] = f.app.items[item]
		for _, r := range booked[item] { // an item has one currency
			if r.currency != lines[i].currency && filed[i] == nil {
				bad[i] = true
			}
		}
	}
	for i := range lines { // of which nothing is booked, the rows have to agree on one
		if named(i) && len(booked[lines[i].item()]) == 0 && len(currencies[lines[i].item()]) > 1 {
			bad[i] = true
		}
	}
	sums := map[string]int64{} // sales less returns, by item
	for i := range lines {
		if named(i) && !bad[i] && !repeat[i] && filed[i] == nil {
			sums[lines[i].item()] += lines[i].amount
		}
	}
	for item, rows := range booked {
		for _, r := range rows {
			sums[item] += r.amount
		}
	}
	for i := range lines {
		if named(i) && lines[i].amount < 0 && sums[lines[i].item()] < 0 {
			bad[i] = true
		}
	}
	f.total = int64(len(lines))
	for i := range lines {
		if bad[i] {
			f.rejected++
		}
	}
	f.accepted = f.total - f.rejected
	switch {
	case f.broken:
		f.state, f.accepted, f.rejected = "FAILED", 0, f.total
	case f.rejected > 0 && (!f.app.set.partial || f.accepted == 0):
		f.state, f.accepted = "FAILED", 0
	case f.rejected > 0:
		f.state = "PARTIAL"
	default:
		f.state = "SUCCESS"
	}
	if f.state != "FAILED" {
		var changed []*modelPurse
		for i := range lines {
			l := lines[i].modelRow
			switch {
			case bad[i] || repeat[i]:
				continue
			case update[i]:
				filed[i].shipped, filed[i].shipping = l.shipped, l.shipping
			case filed[i] == nil:
				f.app.rows[l.identity()] = &l
				f.app.items[l.item()] = append(f.app.items[l.item()], &l)
				p := f.app.purse(l.seller, l.currency)
				p.rows = append(p.rows, &l)
			}
			p := f.app.purse(l.seller, l.currency)
			m.touchedPurses = append(m.touchedPurses, touched{f.app, l.seller, l.currency})
			if !slices.Contains(changed, p) {
				changed = append(changed, p)
			}
		}
		for _, p := range changed {
			m.recount(p)
		}
	}
	m.addTask("file-result/"+f.app.name, &modelTask{due: m.now, file: f})
	m.notify(f.app, f.about(), "file", "")
}

// about is the seller whom a file tells of, if it tells of one in one currency.
func (f *modelFile) about() string {
	for _, l := range f.lines {
		if f.broken || l.seller != f.lines[0].seller || l.currency != f.lines[0].currency {
			return ""
		}
	}
	return f.lines[0].seller
}

// recount adds a seller's rows up anew: the returns of an item are taken off its shipped sales first.
func (m *model) recount(p *modelPurse) {
	type item struct{ shipped, unshipped, returned int64 }
	items := map[string]*item{}
	for _, r := range p.rows {
		it := items[r.item()]
		if it == nil {
			it = &item{}
			items[r.item()] = it
		}
		switch {
		case r.amount < 0:
			it.returned -= r.amount
		case r.shipped:
			it.shipped += r.amount
		default:
			it.unshipped += r.amount
		}
	}
	shipped, unshipped := int64(0), int64(0)
	for _, it := range items {
		fromShipped := min(it.returned, it.shipped)
		shipped += it.shipped - fromShipped
		unshipped += it.unshipped - (it.returned - fromShipped)
	}
	if shipped != p.shipped {
		m.postings++
	}
	if unshipped != p.unshipped {
		m.postings++
	}
	p.shipped, p.unshipped = shipped, unshipped
}
