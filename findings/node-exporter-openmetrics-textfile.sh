#!/usr/bin/env bash
# node_exporter 1.5.0 (Debian 12): the textfile collector accepts an OpenMetrics exposition, and
# serves its counters as untyped, without their help.
#
# OpenMetrics declares a counter under its family (`# TYPE jobs counter`) and appends `_total` to
# the sample. The textfile collector parses the file as Prometheus text format 0.0.4, where both
# names must be equal: `jobs_total` is an undeclared metric. No error is reported
# (node_textfile_scrape_error is 0), and every counter loses type and help.
#
# Seen: `# TYPE jobs_total untyped` and a generic help for the OpenMetrics file, `# TYPE
# tasks_total counter` with its help for a file in the older format.
set -euo pipefail
version=1.5.0-1+b6
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -o APT::Sandbox::User=root download -qq "prometheus-node-exporter=$version"
dpkg-deb --extract ./*.deb root
mkdir files
printf '# HELP jobs Finished jobs.\n# TYPE jobs counter\njobs_total{queue="a"} 3\n# EOF\n' >files/openmetrics.prom
printf '# HELP tasks_total Finished tasks.\n# TYPE tasks_total counter\ntasks_total{queue="a"} 3\n' >files/prometheus.prom
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
root/usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.textfile \
    --collector.textfile.directory=files --web.listen-address="127.0.0.1:$port" >log 2>&1 &
server=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$port/metrics" >metrics && break
    sleep 0.1
done
grep -E 'jobs|tasks|textfile_scrape_error ' metrics
grep -q '^# TYPE jobs_total untyped$' metrics && ! grep -q 'Finished jobs' metrics &&
    grep -q '^# TYPE tasks_total counter$' metrics && grep -q 'Finished tasks' metrics &&
    grep -q '^node_textfile_scrape_error 0$' metrics || { echo "the behavior has changed"; exit 1; }
echo "as described"
