// Package envelope opens and seals the Infinia envelope: the JSON object in
// which every call, answer and notification travels.
//
// The sender encrypts its text for the receiver ([Encrypt]), then signs the
// Base64 that came out ([Sign]). The receiver reads the object
// ([ParseRequest], [ParseResponse], [ParseNotification]), checks the signature
// ([Verify]) and only then spends private-key operations ([Decrypt]): the other
// order lets a stranger burn the server's time, and gives him an oracle.
// Keys come in whatever form a partner sends them ([ParsePublicKey],
// [ParsePrivateKey]).
//
// A failure tells the sender nothing but that it failed. What was wrong is
// kept aside for the log and the sandbox ([Explain], [ExplainSignature]).
//
// The package knows neither apps nor operations, HTTP nor settings. Marks in
// the comments say where a fact comes from: [D] the public documentation, [C]
// public code of an integrator, [O] our own decision.
package envelope
