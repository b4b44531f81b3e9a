# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem run` on a server: CPU a request of mini-redis under a fixed load, traced and alone.

The load (bench/workloads/loops/redis_load.c) is 32 clients in a closed loop.  What counts is the CPU of the
server and of asyncmem beside it, from the start to the end, the final file included; the CPU while the load ran is
printed too.  Native and traced runs alternate, each with a server of its own.
"""

import os
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import Broken, run, spread
from run_speed import build_loops, checked, times, traced
from types_speed import BUILD, ROOT, say

REQUESTS = 1_000_000
BAR, STRETCH = 1.06, 1.02
MAX_ROUNDS = 7


def build_server():
    server = BUILD / "programs/release/real-mini-redis"
    if not server.exists():
        run(["cargo", "build", "--release", "--locked", "--quiet", "--package", "real-mini-redis", "--manifest-path",
             ROOT / "tests/programs/Cargo.toml", "--target-dir", BUILD / "programs"], timeout_s=3600)
    return server


def used_s(pid):
    """CPU of a process and of its descendants, with those that it has waited for."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK") + sum(used_s(child) for child in children)


def reaped(process, limit_s=60):
    """Waits for the end of a child; the CPU seconds of it and of those that it waited for."""
    end = time.monotonic() + limit_s
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:
            raise Broken("the server does not end")
        time.sleep(0.01)


def serve(command, load, nr_requests):
    """CPU seconds of the whole run, and while the load ran."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    with process.stdout:
        try:
            line = process.stdout.readline()
            if ":" not in line:
                raise Broken(f"{command[0]} does not listen")
            before = used_s(process.pid)
            run([load, line.rsplit(":", 1)[1].strip(), nr_requests])
            within = used_s(process.pid) - before
            os.kill(process.pid, signal.SIGTERM)  # asyncmem passes it on
            whole = reaped(process)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise Broken(f"the server ended with {process.returncode}")
    return whole, within


def measure_server(table, *, quick, nr_rounds):
    loops, server = build_loops(), build_server()
    nr_requests = REQUESTS // 10 if quick else REQUESTS
    alone, ours = [], []
    with tempfile.TemporaryDirectory() as name:
        recording = Path(name) / "server.amem"
        for number in range(min(nr_rounds, MAX_ROUNDS)):
            say(f"server: round {number + 1} of {min(nr_rounds, MAX_ROUNDS)}")
            alone.append(serve([server, 0], loops / "redis_load", nr_requests))
            ours.append(serve(traced([server, 0], recording), loops / "redis_load", nr_requests))
            document = checked(recording, nr_requests)

    def micro(value):
        return f"{value / nr_requests * 1e6:.2f} us"

    totals = document["totals"]
    ratios = [one[0] / other[0] for one, other in zip(ours, alone)]
    table.judge("server: CPU a request, traced to native", statistics.median(ratios), times, BAR, STRETCH,
                more_is_better=False,
                detail=f"{spread(ratios, times)}; of the least times {times(min(ours)[0] / min(alone)[0])}; "
                       f"a request has {totals['allocations'] / nr_requests:.1f} allocations, "
                       f"{totals['polls'] / nr_requests:.1f} polls")
    within = [one[1] / other[1] for one, other in zip(ours, alone)]
    table.add("  while the load ran, without the file", times(statistics.median(within)), spread(within, times))
    table.add("  CPU a request alone", micro(statistics.median(one[0] for one in alone)),
              spread([one[0] for one in alone], micro))
