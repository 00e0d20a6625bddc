#!/usr/bin/env bash
# InfluxDB 1.6.7 (Debian 12): its OpenTSDB listener stores 0 for a point without a value.
#
# `POST /api/put` with a data point whose "value" is missing or null is answered with 204, and
# the point is stored with the value 0. OpenTSDB refuses such a point with status 400. So a
# sender whose value is absent creates zeros without a measurement, and gets no error.
#
# Seen: status 204 and a stored 0 for both the missing and the null value.
set -euo pipefail
version=1.6.7~rc0-1+b13
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -o APT::Sandbox::User=root download -qq "influxdb=$version"
dpkg-deb --extract ./*.deb root

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
http=$(port) opentsdb=$(port)
cat >config <<CONFIG
reporting-disabled = true
bind-address = "127.0.0.1:$(port)"
[meta]
  dir = "$dir/meta"
[data]
  dir = "$dir/data"
  wal-dir = "$dir/wal"
[http]
  bind-address = "127.0.0.1:$http"
[[opentsdb]]
  enabled = true
  bind-address = "127.0.0.1:$opentsdb"
  database = "points"
CONFIG
root/usr/bin/influxd -config config >log 2>&1 &
server=$!
for _ in $(seq 200); do
    curl -s "http://127.0.0.1:$http/ping" && break
    sleep 0.1
done

python3 - "$http" "$opentsdb" <<'PYTHON'
import json, sys, time, urllib.error, urllib.parse, urllib.request

http, opentsdb = sys.argv[1:]
now = int(time.time())

def put(name, **fields):
    point = {"metric": name, "tags": {"host": "a"}} | fields
    request = urllib.request.Request(f"http://127.0.0.1:{opentsdb}/api/put", json.dumps(point).encode())
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code

def stored(name):
    query = urllib.parse.urlencode({"db": "points", "epoch": "s", "q": f'SELECT value FROM "{name}"'})
    for _ in range(200):
        answer = json.load(urllib.request.urlopen(f"http://127.0.0.1:{http}/query?{query}"))
        if "series" in answer["results"][0]:
            return answer["results"][0]["series"][0]["values"][0]
        time.sleep(0.1)
    return None

def with_retry(name, **fields):
    # The listener starts after the HTTP server.
    for _ in range(200):
        try:
            if (status := put(name, **fields)) < 500:
                return status
        except urllib.error.URLError:
            pass
        time.sleep(0.1)

# The listener does not create it for points by HTTP.
urllib.request.urlopen(f"http://127.0.0.1:{http}/query", b"q=CREATE DATABASE points")
status = {
    "good": with_retry("good", timestamp=now, value=7),
    "missing": put("missing", timestamp=now),
    "null": put("null", timestamp=now, value=None),
}
values = {name: stored(name) for name in status}
for name in status:
    print(f"{name}: status {status[name]}, stored [time, value] {values[name]}")
zero = lambda name: status[name] == 204 and values[name] == [now, 0]
seen = values["good"] == [now, 7] and zero("missing") and zero("null")
print("as described" if seen else "the behavior has changed")
sys.exit(not seen)
PYTHON
