package money

import "strings"

// Currency is a code of three upper-case letters, such as USD.
type Currency string

// decimals lists the currencies in which somebody can be paid, by the number of their decimals: list one of ISO 4217,
// without funds, metals and testing codes, and CNH (yuan traded offshore), which ISO does not list and sellers are paid in.
var decimals = byCode(map[int]string{
	0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
	2: `AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNH CNY COP CRC CUP
		CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS
		KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
		PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
		TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
	3: "BHD IQD JOD KWD LYD OMR TND",
})

func byCode(lists map[int]string) map[Currency]int {
	all := make(map[Currency]int)
	for digits, codes := range lists {
		for code := range strings.FieldsSeq(codes) {
			all[Currency(code)] = digits
		}
	}
	return all
}

// Known reports whether code is a currency that amounts can have. Letter case counts.
func Known(code string) bool {
	_, ok := decimals[Currency(code)]
	return ok
}

// Digits is the number of decimals of a currency: 0 for JPY, 2 for USD and CNH, 3 for KWD. It is 0 for a currency that is
// not [Known], whose amounts cannot be read at all.
func Digits(c Currency) int {
	return decimals[c]
}
