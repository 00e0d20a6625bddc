"""The simple way: every file of every process, read and parsed in each cycle.

The CPU time of all twice per cycle, then memory, io, file descriptors and, through
the socket tables, connections. Writes a line per cycle.
"""

import os
import re
import time

RULE = re.compile(r"^member-\d+ ")
TABLES = {"tcp": "01", "tcp6": "01", "udp": "01", "udp6": "01", "unix": "03"}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def matched():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if RULE.search(line):
            yield pid


def cpu(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12]), int(fields[17])


def established():
    protocols = {}
    for table, state in TABLES.items():
        state_at, inode_at = (5, 6) if table == "unix" else (3, 9)
        try:
            rows = read(f"/proc/net/{table}").decode("utf-8", "replace").splitlines()[1:]
        except FileNotFoundError:
            continue
        for row in rows:
            fields = row.split()
            if fields[state_at] == state:
                protocols[fields[inode_at]] = table
    return protocols


def cycle():
    before = {}
    for pid in matched():
        try:
            before[pid] = cpu(pid)
        except OSError:
            pass
    time.sleep(1)
    protocols = established()
    sums = {"procs": 0, "ticks": 0, "threads": 0, "rss": 0, "rchar": 0, "fd": 0, "net": 0}
    for pid, (ticks, _) in before.items():
        try:
            now, threads = cpu(pid)
            memory = read(f"/proc/{pid}/statm").split()
            io = dict(line.split(b": ") for line in read(f"/proc/{pid}/io").splitlines())
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        sums["procs"] += 1
        sums["ticks"] += now - ticks
        sums["threads"] += threads
        sums["rss"] += int(memory[1])
        sums["rchar"] += int(io[b"rchar"])
        sums["fd"] += len(links)
        sums["net"] += sum(
            link.startswith("socket:[") and link[8:-1] in protocols for link in links
        )
    print("cycle", sums, flush=True)


while True:
    cycle()
