#!/bin/sh
# Writes the openssl-*.txt vectors with nothing but OpenSSL 3 and a POSIX shell.
# Run it in this folder; each run differs, since the padding is random.
set -eu
keys=../keys
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
by=$(openssl version | cut -d' ' -f1,2)

# The documented Account Binding example.
binding='{"requestNo":"ABR-20250903-0001","sellerId":"SELLER-123456","sellerCertNo":"91310108MA1KXXXXXX","sellerName":"Acme Trading Ltd.","storeName":"Acme Official Store","storeUrl":"https://store.example.com/acme","entityType":"Corporate","country":"CHN","currency":"CNH","note":"First-time binding","backlinkUrl":"https://merchant.example.com/seller/SELLER-123456"}'
short='{"requestNo":"RS-1","sellerName":"阿克梅贸易","note":"naïve €"}'

base64_line() { openssl base64 -A; }

# blocks KEY BYTES [pkeyopt...]: encrypts stdin to raw blocks on stdout.
blocks() {
	key=$1 bytes=$2
	shift 2
	rm -f "$tmp"/part*
	split -b "$bytes" -a 3 - "$tmp/part"
	for part in "$tmp"/part*; do
		openssl pkeyutl -encrypt -pubin -inkey "$keys/test-$key.pub.pem" -in "$part" "$@"
	done
}
pkcs1() { blocks "$1" "$2" -pkeyopt rsa_padding_mode:pkcs1; }

# sign KEY [dgst options...]: signs stdin.
sign() {
	key=$1
	shift
	openssl dgst -sign "$keys/test-$key.pem" "$@"
}
sign_right() { printf %s "$1" | sign client-4096 -sha256 | base64_line; }

# write NAME EXPECT OPEN-KEY DATA SIGNATURE ABOUT PLAIN EXPLAIN
write() {
	{
		printf "%s\n" "about: $6"
		printf "%s\n" "made-by: $by, make-openssl.sh"
		printf "%s\n" "expect: $2"
		printf "%s\n" "verify-key: test-client-4096.pub.pem"
		printf "%s\n" "open-key: test-$3.pem"
		printf "%s\n" "body: {\"version\":\"1.0\",\"appId\":\"demo\",\"dataType\":\"JSON\",\"requestData\":\"$4\",\"signature\":\"$5\"}"
		if [ -n "$7" ]; then printf "%s\n" "plain: $7"; fi
		if [ -n "${8-}" ]; then printf "%s\n" "explain: $8"; fi
	} >"openssl-$1.txt"
}
good() { write "$1" open "$2" "$3" "$(sign_right "$3")" "$4" "$5"; }
unreadable() { write "data-$1" unreadable "${5-platform-4096}" "$2" "$(sign_right "$2")" "$3" "" "$4"; }
signature() { write "signature-$1" signature platform-4096 "$data" "$2" "$3" "" "$4"; }

good binding-64-byte-blocks platform-4096 "$(printf %s "$binding" | pkcs1 platform-4096 64 | base64_line)" \
	"the documented binding example in blocks of 64 bytes, 4096 Base64 characters" "$binding"
good binding-full-blocks platform-4096 "$(printf %s "$binding" | pkcs1 platform-4096 501 | base64_line)" \
	"the documented binding example in full blocks" "$binding"
good one-byte-blocks platform-2048 "$(printf %s "$short" | pkcs1 platform-2048 1 | base64_line)" \
	"one byte a block: characters of several bytes are split" "$short"
good full-2048 platform-2048 "$(printf %s "$binding" | pkcs1 platform-2048 245 | base64_line)" "a platform key of 2048 bits" "$binding"
good full-3072 platform-3072 "$(printf %s "$short" | pkcs1 platform-3072 373 | base64_line)" "a platform key of 3072 bits" "$short"
good full-8192 platform-8192 "$(printf %s "$short" | pkcs1 platform-8192 1013 | base64_line)" "a platform key of 8192 bits" "$short"

data=$(printf %s "$short" | pkcs1 platform-4096 501 | base64_line)
signature signed-plain-text "$(printf %s "$short" | sign client-4096 -sha256 | base64_line)" \
	"the plain text was signed" "over another text"
signature signed-decoded-bytes "$(printf %s "$data" | openssl base64 -d -A | sign client-4096 -sha256 | base64_line)" \
	"the decoded bytes were signed" "verifies over the decoded bytes"
signature signed-with-line-end "$(echo "$data" | sign client-4096 -sha256 | base64_line)" \
	"the Base64 text was signed with a line end" "printf, not echo"
signature sha1 "$(printf %s "$data" | sign client-4096 -sha1 | base64_line)" "SHA-1 in place of SHA-256" "hashed with SHA-1"
signature pss "$(printf %s "$data" | sign client-4096 -sha256 -sigopt rsa_padding_mode:pss | base64_line)" \
	"PSS padding" "padded with PSS"
signature hex "$(printf %s "$data" | sign client-4096 -sha256 | od -An -v -tx1 | tr -d ' \n')" "the signature is hex" "hex, not Base64"
signature url-safe "$(sign_right "$data" | tr '+/' '-_')" "the signature is URL-safe Base64" "URL-safe Base64"
signature another-key "$(printf %s "$data" | sign platform-4096 -sha256 | base64_line)" \
	"signed with a key that is not registered" "signed with another private key"
signature another-size "$(printf %s "$data" | sign client-2048 -sha256 | base64_line)" \
	"signed with a key of another size" "the signature has 256 bytes"
signature another-text "$(sign_right "another text")" "signed by the right key over another text" "over another text"

unreadable oaep "$(printf %s "$short" | blocks platform-4096 470 -pkeyopt rsa_padding_mode:oaep | base64_line)" \
	"OAEP padding" "OAEP with SHA-1"
unreadable another-key "$(printf %s "$short" | pkcs1 client-4096 501 | base64_line)" "encrypted for another key" "for another key"
unreadable another-size "$(printf %s "$short" | pkcs1 platform-2048 245 | base64_line)" \
	"encrypted for a smaller key" "for a key of 2048 bits"
unreadable cut-block "$(printf %s "$short" | pkcs1 platform-4096 64 | head -c 700 | base64_line)" \
	"the last block is cut" "700 bytes came"
unreadable damaged-block "$( { printf '{"a":"1"' | pkcs1 platform-4096 64; printf '}' | pkcs1 client-4096 64; } | base64_line)" \
	"the second block is for another key: the first must not come out alone" "1 of 2 blocks open"
unreadable empty-block "$( { printf '{}' | pkcs1 platform-4096 64; : >"$tmp/none"
	openssl pkeyutl -encrypt -pubin -inkey $keys/test-platform-4096.pub.pem -in "$tmp/none" -pkeyopt rsa_padding_mode:pkcs1; } | base64_line)" \
	"a block without text" "holds no text"
unreadable base64-per-block "$(printf '{' | pkcs1 platform-4096 1 | base64_line)$(printf '}' | pkcs1 platform-4096 1 | base64_line)" \
	"each block encoded by itself" "several Base64 texts"
unreadable url-safe "$(printf %s "$data" | tr '+/' '-_')" "URL-safe Base64" "URL-safe Base64"
unreadable unpadded "$(printf %s "$data" | tr -d =)" "Base64 without its padding" "wrong padding"
wrapped=$(printf %s "$data" | openssl base64 -d -A | openssl base64)
write data-line-breaks unreadable platform-4096 "$(printf %s "$wrapped" | sed '$!s/$/\\n/' | tr -d '\n')" "$(sign_right "$wrapped")" \
	"Base64 with line breaks" "" "line breaks"
unreadable not-utf8 "$(printf '{"a":"\377"}' | pkcs1 platform-4096 501 | base64_line)" "the text is Latin-1" "not UTF-8"
text='{"requestNo":"RS-1"}'
write data-plain-text unreadable platform-4096 "$(printf %s "$text" | sed 's/"/\\"/g')" "$(sign_right "$text")" \
	"no encryption at all" "" "the data is plain text"
