package console

import (
	"net/http"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// words are the pages' words in one language. A %s is the platform's name, unless said otherwise.
type words struct {
	Code string // in ?lang=
	Tag  string // BCP 47, in the page and in the evidence
	Name string // as its readers call it

	Language, SandboxName, SandboxHint string

	// The binding page.
	Asks, Lead, Message                            string
	Details, Seller, SellerID, Certificate, Ending string
	Store, Country, EntityType, Currency, Means    string
	Confirm, Decline, Minutes                      string // Minutes: %d of them are left
	Individual, Corporate                          string
	Untick, Choose, Stale                          string // what was wrong with an answer
	Consent                                        consent

	// How a binding stands, and that it is not to be answered.
	Review, Bound, Declined, NotBound, Revoked notice
	DeadLink, ExpiredLink, Foreign, Fault      notice
	DeadFile, ExpiredFile, ErasedFile          notice
	Return, ClosePage                          string // Return: %s is a host

	StartTitle, StartText, StartAPI string

	regions display.Namer
}

// country names an ISO 3166-1 alpha-3 code, the code beside it.
func (w *words) country(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	if name := w.regions.Name(region); name != "" {
		return name + " (" + code + ")"
	}
	return code
}

func (w *words) entityType(wire string) string {
	switch wire {
	case "Individual":
		return w.Individual
	case "Corporate":
		return w.Corporate
	}
	return wire
}

// languages are in the order of the matcher: the first is for whoever reads none of them.
var languages = []*words{&english, &chinese}

var matcher = language.NewMatcher([]language.Tag{language.English, language.SimplifiedChinese})

// wordsFor takes the language that the address asks for, or the browser.
func wordsFor(r *http.Request) *words {
	asked := r.URL.Query().Get("lang")
	for _, w := range languages {
		if w.Code == asked {
			return w
		}
	}
	_, i := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	return languages[i]
}

var english = words{
	Code: "en", Tag: "en", Name: "English",
	Language: "Language", SandboxName: "Sandbox", SandboxHint: "No real money moves here.",

	Asks:        "%s asks to share revenue with you",
	Lead:        "Please check the details. Nothing happens until you answer.",
	Message:     "Message from %s",
	Details:     "Details",
	Seller:      "Seller",
	SellerID:    "Seller ID",
	Certificate: "Certificate number",
	Ending:      "ending in",
	Store:       "Store",
	Country:     "Country or region",
	EntityType:  "Type",
	Currency:    "Currency",
	Means:       "What confirming means",
	Confirm:     "Confirm",
	Decline:     "Decline",
	Minutes:     "This link can be used for another %d min.",
	Individual:  "Individual",
	Corporate:   "Company",
	Untick:      "To confirm, please tick the box first.",
	Choose:      "Please choose to confirm or to decline.",
	Stale:       "Your answer could not be matched to this page. Please check it and answer once more; the page needs a cookie for that.",
	Consent:     consentEnglish,

	Review:      notice{Kind: wait, Title: "Confirmed, now under review", Text: "You do not need to do anything else. %s will tell you the result."},
	Bound:       notice{Kind: good, Title: "Your account is bound", Text: "%s can now share revenue with you."},
	Declined:    notice{Kind: bad, Title: "You declined", Text: "Nothing was bound. If you change your mind, ask %s for a new link."},
	NotBound:    notice{Kind: bad, Title: "The account was not bound", Text: "Please ask %s for the reason."},
	Revoked:     notice{Kind: bad, Title: "This binding has ended", Text: "%s can no longer share revenue with you by it."},
	DeadLink:    notice{Kind: bad, Title: "This link is not valid any more", Text: "It was replaced, was used, or is not complete. Please ask the platform for a new one."},
	ExpiredLink: notice{Kind: wait, Title: "This link has expired", Text: "Nothing was changed. Please ask the platform for a new one."},
	Foreign:     notice{Kind: bad, Title: "This answer was not sent from this page", Text: "Nothing was changed. Please open the link that you were given, and answer there."},
	Fault:       notice{Kind: bad, Title: "Something went wrong", Text: "Please try again in a moment. If you have answered already, the link tells whether your answer arrived."},
	DeadFile:    notice{Kind: bad, Title: "There is no such error file", Text: "Please query the trade file again: the answer has its link."},
	ExpiredFile: notice{Kind: wait, Title: "This link has expired", Text: "Please query the trade file again: each answer has a new link."},
	ErasedFile:  notice{Kind: bad, Title: "This error file has been erased", Text: "It is not kept any longer. How many rows were wrong is in the answer to a query of the trade file."},
	Return:      "Return to %s",
	ClosePage:   "You may close this page.",

	StartTitle: "Infinia Open",
	StartText:  "This server binds sellers' accounts, takes in trade details and shares revenue.",
	StartAPI:   "Operator's API (OpenAPI)",

	regions: display.English.Regions(),
}

var chinese = words{
	Code: "zh", Tag: "zh-Hans", Name: "简体中文",
	Language: "语言", SandboxName: "沙箱", SandboxHint: "此处不涉及真实资金。",

	Asks:        "%s 请求向您分账",
	Lead:        "请核对以下信息。在您答复之前，不会有任何变更。",
	Message:     "%s 的留言",
	Details:     "详细信息",
	Seller:      "卖家",
	SellerID:    "卖家编号",
	Certificate: "证件号码",
	Ending:      "尾号",
	Store:       "店铺",
	Country:     "国家或地区",
	EntityType:  "主体类型",
	Currency:    "币种",
	Means:       "确认意味着什么",
	Confirm:     "确认",
	Decline:     "拒绝",
	Minutes:     "此链接还可使用 %d 分钟。",
	Individual:  "个人",
	Corporate:   "企业",
	Untick:      "如需确认，请先勾选同意。",
	Choose:      "请选择确认或拒绝。",
	Stale:       "无法确认您的答复来自本页面。请核对后重新答复，并允许本页面使用 Cookie。",
	Consent:     consentChinese,

	Review:      notice{Kind: wait, Title: "已确认，正在审核", Text: "您无需再做任何操作。%s 会告知您结果。"},
	Bound:       notice{Kind: good, Title: "您的账户已绑定", Text: "%s 现在可以向您分账。"},
	Declined:    notice{Kind: bad, Title: "您已拒绝", Text: "未绑定任何账户。如果您改变主意，请向 %s 索取新的链接。"},
	NotBound:    notice{Kind: bad, Title: "账户未绑定", Text: "请向 %s 了解原因。"},
	Revoked:     notice{Kind: bad, Title: "此绑定已解除", Text: "%s 不能再通过它向您分账。"},
	DeadLink:    notice{Kind: bad, Title: "此链接已失效", Text: "它已被替换、已被使用或不完整。请向平台索取新的链接。"},
	ExpiredLink: notice{Kind: wait, Title: "此链接已过期", Text: "未做任何变更。请向平台索取新的链接。"},
	Foreign:     notice{Kind: bad, Title: "该答复并非从本页面发出", Text: "未做任何变更。请打开您收到的链接，并在那里答复。"},
	Fault:       notice{Kind: bad, Title: "出了点问题", Text: "请稍后重试。如果您已经答复，重新打开链接即可看到是否已收到。"},
	DeadFile:    notice{Kind: bad, Title: "没有这个错误文件", Text: "请重新查询交易文件，答复中会给出链接。"},
	ExpiredFile: notice{Kind: wait, Title: "此链接已过期", Text: "请重新查询交易文件，每次答复都会给出新的链接。"},
	ErasedFile:  notice{Kind: bad, Title: "此错误文件已被删除", Text: "该文件已不再保存。查询交易文件的答复中仍有错误行数。"},
	Return:      "返回 %s",
	ClosePage:   "您可以关闭此页面。",

	StartTitle: "Infinia Open",
	StartText:  "本服务器用于绑定卖家账户、接收交易明细并进行分账。",
	StartAPI:   "运营接口（OpenAPI）",

	regions: display.Chinese.Regions(),
}
