package main

import (
	"fmt"
	"runtime/debug"
)

// versionCmd prints what the program was built from.
type versionCmd struct{}

func (versionCmd) Run(con console) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("the program does not know what it was built from")
	}
	fmt.Fprintf(con.out, "infinia %s, %s\n", info.Main.Version, info.GoVersion)
	return nil
}
