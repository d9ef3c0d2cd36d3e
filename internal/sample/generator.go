package sample

import (
	"math/bits"
	"math/rand/v2"
)

const (
	window        = 256 // sales that may still be returned, or get into trouble with a later row
	returnsOf1000 = 30
	repeatsOf1000 = 1
)

const (
	hour = 60 * 60 // in seconds, as all times here
	day  = 24 * hour
)

// generator makes one row after the other.
type generator struct {
	opt        Options
	currencies []currency
	random     *rand.PCG

	rows  int
	row   []byte     // the last one, without its line end
	ends  [width]int // where in it the cells end
	order sale       // what the lines of an order have in common
	lines int        // of the order, still to come
	taken uint64     // orders so far

	sold    []sale // sound ones, at most window
	last    int    // where in sold the sale of row is; -1 when row is something else
	owed    int    // rows that have still to be faulty; below zero, when a fault has rejected several
	repeats int
	counts  []int // rejected rows by fault
}

// draw is a number from 0 to n-1. It is the same on every machine, which rand.IntN does not promise between 32 and 64 bits.
func (g *generator) draw(n int) int {
	hi, _ := bits.Mul64(g.random.Uint64(), uint64(n))
	return int(hi)
}

func (g *generator) next() {
	g.rows++
	if g.draw(Million) < g.opt.Bad {
		g.owed++
	}
	luck := g.draw(1000)
	switch {
	case g.owed > 0:
		g.faulty()
	case luck < repeatsOf1000 && g.last >= 0:
		g.sold[g.last].sales++
		g.repeats++
	case luck < repeatsOf1000+returnsOf1000 && len(g.sold) > 0:
		g.takeBack()
	default:
		s := g.sell()
		g.write(&s)
		g.remember(s)
	}
}

// sell makes the next line of an order.
func (g *generator) sell() sale {
	if g.lines == 0 {
		g.begin()
	}
	g.lines--
	s := g.order
	// The lines of an order go forward through the products, so that no sku comes twice.
	g.order.product = (g.order.product + 1 + g.draw(len(products)/maxLines-1)) % len(products)
	s.variant = g.draw(50)
	s.price = products[s.product].price * int64(90+g.draw(21)) / 100
	s.quantity = 1 + int64(g.draw(4))
	if g.draw(20) == 0 {
		s.quantity = 10 + int64(g.draw(490))
	}
	s.left = s.quantity
	s.shipped = g.draw(5) > 0
	s.carrier = g.draw(len(carriers))
	s.tracking = g.random.Uint64() % 1e12
	s.shippedAt = s.at + 6*hour + int64(g.draw(3*day))
	s.estimate = s.at + 7*day + int64(g.draw(20))*day
	return s
}

const maxLines = 4

// begin opens the next order.
func (g *generator) begin() {
	g.taken++
	g.lines = [...]int{1, 1, 1, 2, 2, 3, maxLines}[g.draw(7)]
	g.order = sale{
		order:    g.taken,
		seller:   g.draw(len(g.opt.Sellers)),
		currency: g.currencies[g.draw(len(g.currencies))],
		at:       g.opt.Start.Unix() + int64(g.rows)*period/int64(g.opt.Rows) + int64(g.draw(hour)),
		product:  g.draw(len(products)),
		country:  g.draw(len(countries)),
		buyer:    g.draw(len(buyers)),
		address:  g.draw(len(addresses)),
		sales:    1,
	}
	g.order.returnedAt = g.order.at
}

// remember keeps a sale, in the place of any other when there are enough.
func (g *generator) remember(s sale) {
	if len(g.sold) < window {
		g.last = len(g.sold)
		g.sold = append(g.sold, s)
		return
	}
	g.last = g.draw(window)
	g.sold[g.last] = s
}

// forget takes a sale out of what may still be returned.
func (g *generator) forget(i int) sale {
	s := g.sold[i]
	n := len(g.sold) - 1
	g.sold[i] = g.sold[n]
	g.sold = g.sold[:n]
	return s
}

// takeBack writes the return of some of what was sold, at a time of its own.
func (g *generator) takeBack() {
	i := g.draw(len(g.sold))
	s := &g.sold[i]
	back := g.returned(*s, 1+int64(g.draw(int(s.left))))
	s.left -= back.quantity
	s.returns++
	s.returnedAt = back.at
	g.write(&back)
	if s.left == 0 {
		g.forget(i)
	}
}

func (g *generator) returned(s sale, quantity int64) sale {
	s.back, s.quantity = true, quantity
	s.at = s.returnedAt + day + int64(g.draw(10*day))
	return s
}
