// Package sim is a simulation of the whole books, judged from outside: a seeded scheduler makes calls, operators' acts,
// trade files, webhooks, clock jumps and crashes on several nodes, and a naive model, written from the contract, predicts
// what each of them may answer and change. It shares no code with the engine; whatever the two disagree on is a fault.
//
// On SQLite the nodes share what one of them has opened, on PostgreSQL each opens the database by itself. The same seed gives
// the same steps, answers and rows. There is nothing here but tests: see TestSim, or make sim.
package sim
