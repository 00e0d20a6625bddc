#!/usr/bin/env bash
# OpenTSDB 2.4.1: a query that ends within the last hour before 2^32 seconds finds nothing.
#
# The status is 200 and the answer is an empty list, without an error. Row keys contain the time of an hour
# as a number of 32 bits, so the end of such a scan does not fit; the query accepts it nevertheless. A client
# that requests everything with the largest time of 32 bits takes that for a store without data.
#
# Seen: one series with end=4294959600, none with end=4294967295.
set -euo pipefail
repository=$(realpath "$(dirname "$0")/..")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$repository/.ci/opentsdb" "$dir"

mkdir data
coproc server { exec java -cp "hbase/*" \
    "$repository/bins/psstat-tcollector/tests/integration/store/OpenTsdb.java" \
    tsd "$dir/data" tsd.core.auto_create_metrics=true 2>log; }
process=$server_PID output=${server[0]} input=${server[1]}
read -r _ port <&"$output"
exec 9<>"/dev/tcp/127.0.0.1/$port"
echo 'put a.metric 1700000000 1 host=a' >&9
sleep 3
exec 9>&-
# series END: the status of a query until END, and the number of series in its answer.
series() {
    curl --silent --globoff --max-time 20 --output answer --write-out '%{http_code} ' \
        "http://127.0.0.1:$port/api/query?start=1&end=$1&m=sum:a.metric%7Bhost=a%7D"
    python3 -c 'import json; print(len(json.load(open("answer"))))'
}
before=$(series 4294959600)
within=$(series 4294967295)
# It ends at the end of its input, and removes its data.
exec {input}>&-
wait "$process" || true
echo "status and series: end an hour before: $before; end within the last hour: $within"
[ "$before, $within" = '200 1, 200 0' ]
