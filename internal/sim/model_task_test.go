package sim

import "slices"

// setStatus freezes or resumes a seller: 404 for one who is not known, 409 when it is so already.
func (m *model) setStatus(a *modelApp, seller, status string) int {
	s := a.seller(seller)
	switch s.status {
	case "":
		return 404
	case status:
		return 409
	}
	s.status = status
	m.notify(a, seller, "seller-status", status)
	return 200
}

// notify leaves a webhook. A newer status event ends every older one of the seller that was not delivered.
func (m *model) notify(a *modelApp, seller, event, status string) {
	if event == "seller-status" {
		for _, d := range a.seller(seller).events {
			if d.state == "PENDING" || d.state == "DEAD" {
				d.state = "SUPERSEDED"
				m.touchedDeliveries = append(m.touchedDeliveries, d)
			}
		}
	}
	if a.set.callback == "" || event != "seller-status" && !slices.Contains(a.set.events, event) {
		return
	}
	d := &modelDelivery{number: len(a.deliveries), app: a, seller: seller, event: event, status: status, state: "PENDING", dueAt: m.now}
	a.deliveries = append(a.deliveries, d)
	if event == "seller-status" {
		a.seller(seller).events = append(a.seller(seller).events, d)
	}
	m.touchedDeliveries = append(m.touchedDeliveries, d)
	m.addTask("webhook/"+a.name, &modelTask{due: m.now, delivery: d})
}

var retryAfter = []int64{1, 5, 15, 60, 360} // minutes

// tried books one try at a delivery whose task this was. Of a try that began before another was booked only that the endpoint
// has taken it is news.
func (m *model) tried(d *modelDelivery, began int64, taken bool) {
	m.touchedDeliveries = append(m.touchedDeliveries, d)
	if d.attempts > began && (!taken || d.state == "DELIVERED") {
		return
	}
	d.attempts++
	switch {
	case taken:
		d.state = "DELIVERED"
	case d.state != "PENDING": // superseded meanwhile
	case d.attempts > int64(len(retryAfter)):
		d.state = "DEAD"
	default:
		d.dueAt = m.now + retryAfter[d.attempts-1]*60_000
		m.addTask("webhook/"+d.app.name, &modelTask{due: d.dueAt, delivery: d})
	}
}

// replay sends a delivery again by hand, unless it would not be the last word about its seller.
func (m *model) replay(d *modelDelivery) bool {
	if d.state != "DEAD" && d.state != "DELIVERED" || d.event == "seller-status" && !d.newest() {
		return false
	}
	d.state, d.dueAt = "PENDING", m.now
	m.touchedDeliveries = append(m.touchedDeliveries, d)
	m.addTask("webhook/"+d.app.name, &modelTask{due: m.now, delivery: d})
	return true
}

// newest says whether this is the last status event of its seller.
func (d *modelDelivery) newest() bool {
	events := d.app.seller(d.seller).events
	return events[len(events)-1] == d
}

func (m *model) addTask(queue string, t *modelTask) { m.tasks[queue] = append(m.tasks[queue], t) }

func (m *model) due(queue string) (n int) {
	for _, t := range m.tasks[queue] {
		if t.due <= m.now {
			n++
		}
	}
	return n
}

// find is the task of a queue for a record; nil when it is done.
func (m *model) find(queue string, record, due int64) *modelTask {
	for _, t := range m.tasks[queue] {
		if t.record() == record && t.due == due {
			return t
		}
	}
	return nil
}

// drop takes a task away that is done, if nobody has done so before.
func (m *model) drop(queue string, t *modelTask) {
	if i := slices.Index(m.tasks[queue], t); i >= 0 {
		m.tasks[queue] = slices.Delete(m.tasks[queue], i, i+1)
	}
}
