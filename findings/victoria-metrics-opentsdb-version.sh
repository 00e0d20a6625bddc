#!/usr/bin/env bash
# VictoriaMetrics 1.79.5 (Debian 12): the OpenTSDB listener closes a connection that starts
# with `version`.
#
# tcollector asks `version` on every new connection, to learn whether a TSD answers, and
# OpenTSDB answers with a line of text. VictoriaMetrics takes a connection that does not start
# with `put` for HTTP: it answers "HTTP/1.1 400 Bad Request" and closes. tcollector accepts any
# answer, and sends its points into the closed connection: they are lost, and nothing is logged.
#
# A good engineer expects that a listener for OpenTSDB's telnet protocol, which accepts `put`,
# answers the other command of every client, or at least keeps the connection open.
#
# Seen: answer "HTTP/1.1 400 Bad Request", connection closed, 0 of 1 points stored. The same
# point on a connection that starts with `put` is stored.
set -euo pipefail
version=1.79.5+ds1-2+b5
dir=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -o APT::Sandbox::User=root download -qq "victoria-metrics=$version"
dpkg-deb --extract ./*.deb root

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
http=$(port) telnet=$(port)
root/usr/bin/victoria-metrics -storageDataPath=data -httpListenAddr="127.0.0.1:$http" \
    -opentsdbListenAddr="127.0.0.1:$telnet" >log 2>&1 &
server=$!
for _ in $(seq 100); do
    curl -s "http://127.0.0.1:$http/health" >/dev/null && break
    sleep 0.1
done

python3 - "$http" "$telnet" <<'PYTHON'
import json, socket, sys, time, urllib.request

http, telnet = sys.argv[1:]

def send(first, name):
    """Sends a first command, then a point; returns the answer and whether the server closed."""
    connection = socket.create_connection(("127.0.0.1", int(telnet)))
    connection.settimeout(2)
    answer, closed = b"", False
    if first:
        connection.sendall(first)
        try:
            answer = connection.recv(4096)
            time.sleep(0.5)
            closed = connection.recv(4096) == b""
        except TimeoutError:
            pass
    try:
        connection.sendall(b"put %s %d 1 host=a\n" % (name, time.time()))
    except OSError:
        closed = True
    time.sleep(0.5)
    connection.close()
    return answer, closed

def stored(name):
    url = f"http://127.0.0.1:{http}/api/v1/export?match[]={name}"
    for _ in range(100):
        text = urllib.request.urlopen(url).read()
        if text:
            return len(json.loads(text.splitlines()[0])["values"])
        time.sleep(0.1)
    return 0

answer, closed = send(b"version\n", b"after_version")
print("answer to `version`:", answer.splitlines()[0] if answer else answer)
print("connection closed:", closed)
points = stored("after_version")
print("points stored behind `version`:", points)
send(b"", b"put_first")
direct = stored("put_first")
print("points stored on a connection that starts with `put`:", direct)
seen = answer.startswith(b"HTTP/1.1 400") and closed and points == 0 and direct == 1
print("as described" if seen else "the behavior has changed")
sys.exit(not seen)
PYTHON
