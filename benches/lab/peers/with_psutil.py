"""The same by psutil's own calls, all that it has of a process at once."""

import time

import psutil


def cycle():
    sums = {"procs": 0, "threads": 0, "rss": 0, "rchar": 0, "fd": 0, "net": 0}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                if not process.cmdline()[:1] or not process.cmdline()[0].startswith("member-"):
                    continue
                process.cpu_times()
                sums["procs"] += 1
                sums["threads"] += process.num_threads()
                sums["rss"] += process.memory_info().rss
                sums["rchar"] += process.io_counters().read_chars
                sums["fd"] += process.num_fds()
                connections = process.connections(kind="all")
                sums["net"] += sum(c.status in ("ESTABLISHED", "NONE") for c in connections)
        except psutil.Error:
            continue
    print("cycle", sums, flush=True)


while True:
    cycle()
    time.sleep(1)
