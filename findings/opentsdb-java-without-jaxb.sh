#!/usr/bin/env bash
# OpenTSDB 2.4.1 with Java 17: a query with a wildcard filter is never answered, and breaks the
# connection to HBase.
#
# The TSD uses `javax.xml.bind.DatatypeConverter`, which Java contains up to version 10, and its list of
# dependencies does not name a replacement. It starts and stores points, and queries with literal filters
# are answered. The first query that filters after its scan (`host=a*`) ends in NoClassDefFoundError within
# a callback of the client of HBase. The request gets no answer, and the client closes its connection,
# repeatedly. With jaxb-api 2.3.1 on the class path the same query is answered.
#
# Seen: an answer within a second with jaxb-api; none within 20 seconds without it, and the error in the log.
set -euo pipefail
repository=$(realpath "$(dirname "$0")/..")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
"$repository/.ci/opentsdb" "$dir"

# query: starts HBase and a TSD, stores a point, and prints the status of a query, 000 for none.
query() {
    local server port metric
    mkdir data
    coproc server { exec java -cp "hbase/*" \
        "$repository/bins/psstat-tcollector/tests/integration/store/OpenTsdb.java" \
        tsd "$dir/data" tsd.core.auto_create_metrics=true 2>log; }
    local process=$server_PID output=${server[0]} input=${server[1]}
    read -r _ port <&"$output"
    exec 9<>"/dev/tcp/127.0.0.1/$port"
    echo 'put a.metric 1700000000 1 host=a' >&9
    sleep 3
    exec 9>&-
    curl --silent --globoff --max-time 20 --output answer --write-out '%{http_code}\n' \
        "http://127.0.0.1:$port/api/query?start=1&m=sum:a.metric%7B%7D%7Bhost=wildcard(a*)%7D" || true
    # It ends at the end of its input, and removes its data.
    exec {input}>&-
    wait "$process" || true
}

with=$(query)
rm tsd/jaxb-api-*.jar
without=$(query)
error=$(grep -c -m1 'NoClassDefFoundError: javax/xml/bind/DatatypeConverter' log || true)
echo "with jaxb-api: status $with; without: status $without, error in the log: $error"
[ "$with $without $error" = '200 000 1' ]
