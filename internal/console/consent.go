package console

// consentVersion names the texts below in the evidence of every confirmation. They are never edited: other words are
// another version.
const consentVersion = "consent-2026-11"

// consent is what the seller agrees to.
type consent struct {
	Points []string
	Tick   string
}

var consentEnglish = consent{
	Points: []string{
		"The platform named at the top of this page may share revenue to the account that is bound here, in the currency shown above.",
		"You are this seller or may act for it, and the details above are right.",
		"Binding by itself moves no money.",
		"Your answer is recorded with its time, your network address and your browser's description, as evidence.",
		"To end the binding later, ask the platform.",
	},
	Tick: "I have read this and agree.",
}

var consentChinese = consent{
	Points: []string{
		"本页顶部所示的平台可以按上方所示币种，向在此绑定的账户分账。",
		"您是该卖家本人或有权代表该卖家，且以上信息正确无误。",
		"绑定本身不会转移任何资金。",
		"您的答复会连同时间、网络地址和浏览器信息一并记录，作为凭证。",
		"如需日后解除绑定，请联系该平台。",
	},
	Tick: "我已阅读并同意以上内容。",
}
