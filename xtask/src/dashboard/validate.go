// Reads dashboards strictly: unknown fields, wrong types and values outside of a range are errors.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The strict reader returns an empty list, which is not nil, if it finds nothing.
func isError(err error) bool {
	var list cog.BuildErrors
	return err != nil && !(errors.As(err, &list) && err.Error() == "")
}

func main() {
	// The readers of data sources and panels.
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, name := range os.Args[1:] {
		var read dashboard.Dashboard
		text, err := os.ReadFile(name)
		if err == nil {
			err = read.UnmarshalJSONStrict(text)
		}
		if !isError(err) {
			err = read.Validate()
		}
		if isError(err) {
			fmt.Printf("%s: %v\n", name, err)
			failed = true
		} else {
			fmt.Printf("%s: %d panels and rows\n", name, len(read.Panels))
		}
	}
	if failed {
		os.Exit(1)
	}
}
