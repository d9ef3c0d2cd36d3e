package gate

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/openinfinia/infinia"
)

// Fault is something that goes wrong on purpose, in the sandbox, so that an integrator can see what his program does then.
type Fault struct {
	Operation infinia.Operation // empty: any
	Code      infinia.Code      // the answer; the call is not carried out
	LoseReply bool              // the call is carried out, and the connection breaks instead of the answer
	Delay     time.Duration     // before anything else
	Times     int               // how many calls it meets; it is gone afterwards
}

// Faults holds what is to go wrong. The zero value is none.
type Faults struct {
	mu   sync.Mutex
	list []Fault // guarded by mu
}

// Add puts a fault behind those that are there already.
func (f *Faults) Add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fault)
}

// List returns the faults that are still to come.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// Clear removes all.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// take finds the first fault for an operation and uses it up once. A nil f, as in production, has none.
func (f *Faults) take(o infinia.Operation) (Fault, bool) {
	if f == nil {
		return Fault{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(fault Fault) bool { return fault.Operation == "" || fault.Operation == o })
	if i < 0 {
		return Fault{}, false
	}
	fault := f.list[i]
	if f.list[i].Times--; f.list[i].Times <= 0 {
		f.list = slices.Delete(f.list, i, i+1)
	}
	return fault, true
}

// meet has the fault happen, before the call is carried out: it waits, and says whether the call goes on.
func (f Fault) meet(ctx context.Context) error {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Code != "" && !f.LoseReply {
		return infinia.Errorf(f.Code)
	}
	return nil
}

// lose breaks the connection in place of an answer.
func (f Fault) lose() {
	if f.LoseReply {
		panic(http.ErrAbortHandler)
	}
}
