#!/usr/bin/env bash
# process-exporter 0.7.10 (Debian 12): a process whose main thread has ended has 0 bytes of memory
# and 0 descriptors, and is unknown to an exporter that starts later.
#
# A process lives on when its main thread calls pthread_exit(3) while other threads run: servers
# that start their threads and end main do this. /proc/PID/cmdline, statm and fd of such a
# process are empty; those in /proc/PID/task/TID of a living thread are not. process-exporter
# reads only the former, and reports their zeros as values.
#
# Seen: resident memory and open descriptors above 0 while the main thread runs, and 0 after it
# has ended, although the process still runs with both; from a second exporter no series.
set -euo pipefail
version=0.7.10-3+b5
dir=$(mktemp -d)
trap 'kill "${servers[@]}" "${target:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -o APT::Sandbox::User=root download -qq "prometheus-process-exporter=$version"
dpkg-deb --extract ./*.deb root
# A thread that sleeps, and a main thread that ends when the file `end` exists.
cat >target.py <<'PYTHON'
import ctypes, os, threading, time
threading.Thread(target=lambda: time.sleep(120)).start()
while not os.path.exists("end"):
    time.sleep(0.1)
ctypes.PyDLL(None).pthread_exit(None)
PYTHON
python3 target.py findings-target &
target=$!
cat >config.yml <<'YAML'
process_names:
  - name: target
    cmdline: ['findings-target']
YAML
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
first=$(port) second=$(port)
start() {
    root/usr/bin/prometheus-process-exporter --config.path=config.yml \
        --web.listen-address="127.0.0.1:$1" >"log-$1" 2>&1 &
    servers+=($!)
    for _ in $(seq 100); do
        curl -sf "http://127.0.0.1:$1/metrics" >/dev/null && break
        sleep 0.1
    done
}
# The value of a series: port, name, labels behind groupname.
value() {
    curl -sf "http://127.0.0.1:$1/metrics" |
        sed -n "s/^namedprocess_namegroup_$2{groupname=\"target\"${3:-}} //p"
}
all() { echo "num_procs=$(value "$1" num_procs) resident=$(value "$1" memory_bytes ',memtype="resident"') fds=$(value "$1" open_filedesc)"; }
servers=()
start "$first"
for _ in $(seq 100); do
    [ "$(value "$first" num_procs)" = 1 ] && break
    sleep 0.1
done
before=$(all "$first")
touch end
for _ in $(seq 100); do
    [ "$(cut -d' ' -f3 "/proc/$target/stat")" = Z ] && break
    sleep 0.1
done
after=$(all "$first")
start "$second"
new=$(all "$second")
thread=$(ls "/proc/$target/task" | tail -1)
echo "while the main thread runs: $before"
echo "after it has ended:         $after"
echo "an exporter started then:   $new"
echo "a living thread's statm:    $(cat "/proc/$target/task/$thread/statm")"
[[ $before != *resident=0* && $before == num_procs=1* ]] &&
    [[ $after == "num_procs=1 resident=0 fds=0" && $new == "num_procs= resident= fds=" ]] ||
    { echo "the behavior has changed"; exit 1; }
echo "as described"
