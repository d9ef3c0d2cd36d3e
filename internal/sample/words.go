package sample

import "strings"

// The words of which rows are made, as CSV. Their commas, quotes, line ends and characters outside ASCII are what real files
// have and simple readers stumble over. Every one outside ASCII is, by itself, GB18030 that cannot be taken for UTF-8.

type product struct {
	sku, kind, name string
	price           int64 // in hundredths
}

var products = []product{
	{"LAMP", "001", "Desk lamp", 2499},
	{"FLAMP", "001", csv("Floor lamp, black"), 8900},
	{"LED", "001", "台灯 LED 暖白", 1599},
	{"SCREEN", "002", csv(`Screen 27" 4K`), 28900},
	{"CABLE", "002", csv("Cable USB-C, 2 m"), 799},
	{"MOUSE", "002", csv("Mouse, wireless"), 1999},
	{"KEYB", "002", csv(`Keyboard "Silent" (DE, FR, US)`), 4950},
	{"PHONE", "002", "手机壳 6.1 寸", 649},
	{"CHARGER", "002", csv("充电器,65W,氮化镓"), 3290},
	{"SHIRT", "003", csv("T-shirt, white, M"), 1290},
	{"DRESS", "003", "Robe d'été à fleurs", 3999},
	{"COAT", "003", "Mäntel für Größe 40", 12900},
	{"SHOE", "003", "Running shoe", 7450},
	{"SOCK", "003", "Socken (3 Paar)", 999},
	{"SCARF", "003", "丝绸围巾", 4500},
	{"TEA", "004", "乌龙茶 250 克", 2200},
	{"COFFEE", "004", "Café moulu 500 g", 1150},
	{"NUTS", "004", "Nuts & raisins", 890},
	{"SOAP", "005", "Jabón artesano", 590},
	{"CREAM", "005", "日焼け止め SPF50", 1880},
	{"BRUSH", "005", csv("Brush set, 12 pieces"), 2390},
	{"TOY", "006", csv("积木 \"城市\" 500 片"), 3690},
	{"GAME", "006", "Board game", 2990},
	{"GIFT", "006", "礼品袋 🎁", 350},
	{"BALL", "007", csv(`Ball, 29.5"`), 2790},
	{"TENT", "007", csv("Tent, 3 persons"), 15900},
	{"BIKE", "007", "Fahrradträger", 9900},
	{"PAN", "008", "Pan 28 cm", 3390},
	{"KNIFE", "008", "三德刀 18cm", 5600},
	{"CUP", "008", "Cup <blue>", 750},
	{"CHAIR", "009", csv("Chair; oak, oiled"), 18900},
	{"RUG", "009", csv("Rug 60\" x 90\""), 13900},
}

// carrier is who brings the goods; its tracking numbers begin alike.
type carrier struct{ prefix, name string }

var carriers = []carrier{
	{"SF", "SF Express"},
	{"SF", "顺丰速运"},
	{"ZT", "中通快递"},
	{"1Z", csv("UPS, Inc.")},
	{"JD", "DHL Express"},
	{"FX", "FedEx"},
	{"EMS", "EMS"},
	{"CP", "Canada Post / Postes Canada"},
}

var countries = strings.Fields("AUS BRA CAN CHN DEU ESP FRA GBR HKG IDN IND ITA JPN KOR MEX MYS NLD POL SGP SWE THA TUR USA VNM ZAF")

var buyers = []string{
	"", "", "Acme GmbH", "Jane Smith", "王小明", "李 娜", csv("O'Brien, Sons & Co."), csv(`"Best" Traders, LLC`), "Zoë Müller", "株式会社サンプル",
	"深圳市样品贸易有限公司", "García Hnos.", csv("Smith, John"), "김민준", "Ørsted ApS", "Łódź Market",
}

var addresses = []string{
	"", "", "", csv("12 Main St, Springfield, IL 62701"), csv("12 Main St\nApt 4\nSpringfield"), "上海市浦东新区世纪大道 100 号", csv("广东省深圳市南山区,科技园 8 栋"),
	csv("Hauptstraße 5, 10115 Berlin"), csv(`Unit "B", 7 High St, London`), csv("1-2-3 丸の内, 千代田区"), "Rua da Praça 9",
}

// csv quotes a text where RFC 4180 wants it.
func csv(text string) string {
	if !strings.ContainsAny(text, ",\"\n") {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
}
