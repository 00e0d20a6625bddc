#!/usr/bin/env bash
# Prometheus 3.16.0: in an OpenMetrics exposition, a family without `# UNIT` gets the unit of the
# family before it.
#
# With the feature flag type-and-unit-labels Prometheus adds the labels __type__ and __unit__ to each
# sample. Its parser keeps the unit of the last `# UNIT` line and does not reset it at the next `# TYPE`,
# so that a count of files that follows a family of bytes is stored as bytes. OpenMetrics 1.0 permits to
# leave UNIT out for a family without a unit.
#
# An empty unit, `# UNIT files ` with the space at its end, resets it and is accepted. psstat writes it.
#
# Seen: `files` with __unit__="bytes" in the first exposition, without __unit__ in the second.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<'GO'
module finding

go 1.26.0

require github.com/prometheus/prometheus v0.316.0
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	text, _ := io.ReadAll(os.Stdin)
	parser, err := textparse.New(text, "application/openmetrics-text; version=1.0.0", labels.NewSymbolTable(),
		textparse.ParserOptions{EnableTypeAndUnitLabels: true})
	for err == nil {
		var entry textparse.Entry
		if entry, err = parser.Next(); err == nil && entry == textparse.EntrySeries {
			var series labels.Labels
			parser.Labels(&series)
			fmt.Println(series)
		}
	}
	if err != io.EOF {
		panic(err)
	}
}
GO
GOFLAGS=-mod=mod CGO_ENABLED=0 go build -o parse .
memory='# TYPE memory_bytes gauge\n# UNIT memory_bytes bytes\nmemory_bytes 1\n'
without=$(printf "$memory"'# TYPE files gauge\nfiles 2\n# EOF\n' | ./parse | grep '"files"')
empty=$(printf "$memory"'# TYPE files gauge\n# UNIT files \nfiles 2\n# EOF\n' | ./parse | grep '"files"')
echo "without UNIT:    $without"
echo "with empty UNIT: $empty"
[[ $without == *'__unit__="bytes"'* && $empty != *__unit__* ]] || { echo "the behavior has changed"; exit 1; }
echo "as described"
