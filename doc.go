// Package infinia is the vocabulary of the Infinia API and its Go SDK: a request, a reply and a Client method for each
// operation, the codes, and the receiver of webhooks.
//
// It compiles in nothing but the standard library. In the comments, [D] marks what Infinia's public documentation
// prints, [C] what public integrators' code shows, and [O] what this project decided.
package infinia
