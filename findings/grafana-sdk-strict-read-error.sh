#!/usr/bin/env bash
# Grafana's Foundation SDK for Go 0.0.22: the strict reader of dashboards returns an error for every
# dashboard, also if it finds nothing.
#
# `Dashboard.UnmarshalJSONStrict` collects errors in a slice, `cog.BuildErrors`, and returns it as an
# `error`. A nil slice in an interface is not nil: `err != nil` holds, with an empty message. So a
# program with the usual check refuses every dashboard. `Validate` of the same type returns nil.
#
# Seen: for a valid dashboard an error of length 0 and with an empty message; for one with an unknown
# field an error of length 1; nil from `Validate`.
set -euo pipefail
version=v0.0.22
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<GO
module read

go 1.21

require github.com/grafana/grafana-foundation-sdk/go $version
GO
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	const valid = `{"title":"a","schemaVersion":39,"annotations":{"list":[]},"templating":{"list":[]}}`
	const unknown = `{"titel":"a","schemaVersion":39,"annotations":{"list":[]},"templating":{"list":[]}}`
	for _, text := range []string{valid, unknown} {
		var read dashboard.Dashboard
		err := read.UnmarshalJSONStrict([]byte(text))
		errs, _ := err.(cog.BuildErrors)
		fmt.Printf("strict: nil %t, errors %d, message %q; validate: nil %t\n",
			err == nil, len(errs), fmt.Sprint(err), read.Validate() == nil)
	}
}
GO
GOFLAGS=-mod=mod go run . >seen
cat seen
diff seen - <<'EXPECTED'
strict: nil false, errors 0, message ""; validate: nil true
strict: nil false, errors 1, message "Dashboard: unexpected field 'titel'"; validate: nil true
EXPECTED
echo "as described: version $version"
