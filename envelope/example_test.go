package envelope_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/openinfinia/infinia/envelope"
)

// A client seals a call for the platform; the platform opens it, the signature
// first.
func Example() {
	client, platform := exampleKey("client-4096"), exampleKey("platform-4096")

	data, err := envelope.Encrypt([]byte(`{"requestNo":"RS-1"}`), &platform.PublicKey, envelope.FullBlock)
	if err != nil {
		panic(err)
	}
	signature, err := envelope.Sign(data, client)
	if err != nil {
		panic(err)
	}
	body, err := json.Marshal(envelope.Request{Version: "1.0", AppID: "demo", DataType: "JSON", RequestData: data, Signature: signature})
	if err != nil {
		panic(err)
	}

	r, err := envelope.ParseRequest(body)
	if err != nil {
		panic(err)
	}
	if _, err := envelope.Verify(r.RequestData, r.Signature, &client.PublicKey); err != nil {
		panic(err)
	}
	plain, err := envelope.Decrypt(r.RequestData, platform)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.AppID, string(plain))
	// Output: demo {"requestNo":"RS-1"}
}

func ExampleParseRequest() {
	_, err := envelope.ParseRequest([]byte(`{"version":"2.0","appId":"demo","dataType":"JSON","requestData":17}`))
	if bad, ok := errors.AsType[*envelope.FormatError](err); ok {
		for _, f := range bad.Faults {
			fmt.Printf("%s %s (%s)\n", f.Field, f.Rule, f.Kind)
		}
	}
	// Output:
	// version must be 1.0 or 1.0.0 or 1.0.1 (range)
	// requestData must be a string (format)
	// signature is missing (missing)
}

func ExampleResponse_SigningText() {
	platform := exampleKey("platform-4096")
	r := envelope.Response{AppID: "demo", Code: "SEC-001", Message: "not authenticated"}
	signature, err := envelope.Sign(r.SigningText(), platform)
	if err != nil {
		panic(err)
	}
	r.Signature = signature

	_, err = envelope.Verify(r.SigningText(), r.Signature, &platform.PublicKey)
	fmt.Println(r.SigningText(), err)
	// Output: demo|SEC-001|not authenticated| <nil>
}

func ExampleExplain() {
	platform, another := exampleKey("platform-2048"), exampleKey("client-4096")
	data, err := envelope.Encrypt([]byte(`{}`), &another.PublicKey, envelope.FullBlock)
	if err != nil {
		panic(err)
	}
	_, err = envelope.Decrypt(data[:400], platform)
	fmt.Println(err)
	fmt.Println(envelope.Explain(err))
	// Output:
	// envelope: the data cannot be read
	// 256-byte blocks expected, 300 bytes came: last block cut
}

func ExampleFingerprint() {
	fmt.Println(envelope.Fingerprint(&exampleKey("client-2048").PublicKey))
	// Output:
	// SHA256:2lKv7K2YrY9GH+oTwuntpldKMhZCFNyKi7sGLq8BJYU
}

func exampleKey(name string) *rsa.PrivateKey {
	b, err := os.ReadFile("testdata/keys/test-" + name + ".pem")
	if err != nil {
		panic(err)
	}
	key, err := envelope.ParsePrivateKey(b)
	if err != nil {
		panic(err)
	}
	return key
}
