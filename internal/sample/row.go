package sample

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

const header = "sellerId,orderId,sku,transactionTime,transactionCurrency,transactionAmount,productType,productName,productQuantity," +
	"productUnitPrice,shippingStatus,estimatedShippingTime,logisticsTrackingNo,logisticsCompany,shippingTime,country,storeUrl,buyerName,buyerAddress"

var columns = strings.Split(header, ",")

const (
	colSellerID = iota
	colOrderID
	colSKU
	colTime
	colCurrency
	colAmount
	colType
	colName
	colQuantity
	colUnitPrice
	colShipping
	colEstimate
	colTrackingNo
	colCompany
	colShippingTime
	colCountry
	colURL
	colBuyer
	colAddress
	width
)

// sale is one line of an order, or the return of one. Names are places in the lists of words.
type sale struct {
	order            uint64
	seller           int
	currency         currency
	product, variant int
	at               int64 // epoch seconds, as all its times
	price, quantity  int64 // the price in minor units, or tens of them where the currency has three decimals
	back             bool  // it is a return
	shipped          bool
	shippedAt        int64
	estimate         int64
	carrier          int
	tracking         uint64
	country          int
	buyer, address   int
	sales, returns   int   // sound rows that tell of it so far
	left, returnedAt int64 // what may still be returned, and when the last return was
}

// currency is one in which is sold. Trade files have two decimals at most; amounts of a currency with three end with a zero
// there that is not written.
type currency struct {
	code     string
	decimals bool
}

// write makes the row of a sale or return.
func (g *generator) write(s *sale) {
	g.last = -1
	b := g.row[:0]
	end := func(cell int) {
		g.ends[cell] = len(b)
		if cell < width-1 {
			b = append(b, ',')
		}
	}
	b = append(b, g.opt.Sellers[s.seller]...)
	end(colSellerID)
	b = append(b, "PI-"...)
	b = strconv.AppendUint(b, g.opt.Seed, 36)
	b = append(b, '-')
	b = appendPadded(b, s.order, 7)
	end(colOrderID)
	b = append(b, products[s.product].sku...)
	b = append(b, '-')
	b = appendPadded(b, uint64(s.variant), 2)
	end(colSKU)
	b = appendTime(b, s.at, s.order)
	end(colTime)
	b = append(b, s.currency.code...)
	end(colCurrency)
	if s.back {
		b = append(b, '-')
	}
	b = appendMoney(b, s.price*s.quantity, s.currency)
	end(colAmount)
	b = append(b, products[s.product].kind...)
	end(colType)
	b = append(b, products[s.product].name...)
	end(colName)
	b = strconv.AppendInt(b, s.quantity, 10)
	end(colQuantity)
	b = appendMoney(b, s.price, s.currency)
	end(colUnitPrice)
	if s.shipped {
		b = append(b, "Shipped"...)
		end(colShipping)
		end(colEstimate)
		b = append(b, carriers[s.carrier].prefix...)
		b = appendPadded(b, s.tracking, 12)
		end(colTrackingNo)
		b = append(b, carriers[s.carrier].name...)
		end(colCompany)
		b = appendTime(b, s.shippedAt, s.order)
		end(colShippingTime)
	} else {
		b = append(b, "Not Shipped"...)
		end(colShipping)
		b = appendTime(b, s.estimate, s.order)
		end(colEstimate)
		end(colTrackingNo)
		end(colCompany)
		end(colShippingTime)
	}
	b = append(b, countries[s.country]...)
	end(colCountry)
	b = append(b, "https://store.example.com/acme/"...)
	b = strconv.AppendInt(b, int64(s.seller)+1, 10)
	end(colURL)
	b = append(b, buyers[s.buyer]...)
	end(colBuyer)
	b = append(b, addresses[s.address]...)
	end(colAddress)
	g.row = b
}

// replace puts other CSV text in the place of a cell. Cells before it stay where they are.
func (g *generator) replace(cell int, text string) {
	from := 0
	if cell > 0 {
		from = g.ends[cell-1] + 1
	}
	g.row = slices.Replace(g.row, from, g.ends[cell], []byte(text)...)
}

// appendTime writes a time in the form that its order has: some systems export other forms than the usual one.
func appendTime(b []byte, at int64, order uint64) []byte {
	switch t := time.Unix(at, 0).In(zone); {
	case order%25 == 7:
		return t.AppendFormat(b, time.RFC3339)
	case order%50 == 3:
		return strconv.AppendInt(b, t.UnixMilli(), 10)
	default:
		return t.AppendFormat(b, time.DateTime)
	}
}

func appendMoney(b []byte, minor int64, c currency) []byte {
	if !c.decimals {
		return strconv.AppendInt(b, minor, 10)
	}
	b = strconv.AppendInt(b, minor/100, 10)
	b = append(b, '.')
	return appendPadded(b, uint64(minor%100), 2)
}

// appendPadded writes a number with zeros before it, up to this many digits.
func appendPadded(b []byte, n uint64, digits int) []byte {
	unit := uint64(1)
	for range digits - 1 {
		unit *= 10
	}
	for ; unit > n && unit > 1; unit /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, n, 10)
}
