# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem run` on servers: CPU a request of mini-redis and of one of hyper under a fixed load, traced and alone.

The load (bench/workloads/loops/server_load.c) is 32 clients in a closed loop.  What counts is the CPU of the
server and of asyncmem beside it, from the start to the end, the final file included; the CPU while the load ran is
printed too.  Native and traced runs alternate, each with a server of its own.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import Broken, run, spread
from run_speed import build_loops, checked, times, traced
from types_speed import BUILD, ROOT, say

REQUESTS = 2_000_000
SERVERS = {"mini-redis": "redis", "hyper": "http"}
BAR, STRETCH = 1.06, 1.02
MAX_ROUNDS = 7


def build_servers():
    servers = BUILD / "programs/release/servers"
    if not servers.exists():
        run(["cargo", "build", "--release", "--locked", "--quiet", "--package", "servers", "--manifest-path",
             ROOT / "tests/programs/Cargo.toml", "--target-dir", BUILD / "programs"], timeout_s=3600)
    return servers


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
    """CPU seconds of the whole run, and while the load ran.  The server ends with its stdin."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    with process.stdin, process.stdout:
        try:
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise Broken(f"{command[0]} does not listen")
            before = used_s(process.pid)
            run([*load, port, nr_requests])
            within = used_s(process.pid) - before
            process.stdin.close()
            whole = reaped(process)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise Broken(f"the server ended with {process.returncode}")
    return whole, within


def micro(value):
    return f"{value * 1e6:.2f} us"


def add_rows(table, name, nr_requests, alone, ours, totals):
    ratios = [one[0] / other[0] for one, other in zip(ours, alone)]
    table.judge(f"server: CPU a request of {name}, traced to native", statistics.median(ratios), times, BAR, STRETCH,
                more_is_better=False,
                detail=f"{spread(ratios, times)}; of the least times {times(min(ours)[0] / min(alone)[0])}; "
                       f"a request has {totals['allocations'] / nr_requests:.1f} allocations, "
                       f"{totals['polls'] / nr_requests:.1f} polls")
    within = [one[1] / other[1] for one, other in zip(ours, alone)]
    table.add("  while the load ran, without the file", times(statistics.median(within)), spread(within, times))
    each = [one[0] / nr_requests for one in alone]
    table.add("  CPU a request alone", micro(statistics.median(each)), spread(each, micro))


def measure_server(table, *, quick, nr_rounds):
    loops, servers = build_loops(), build_servers()
    nr_requests = REQUESTS // 10 if quick else REQUESTS
    for name, protocol in SERVERS.items():
        alone, ours = [], []
        load = [loops / "server_load", protocol]
        with tempfile.TemporaryDirectory() as folder:
            recording = Path(folder) / "server.amem"
            for number in range(min(nr_rounds, MAX_ROUNDS)):
                say(f"server: {name}, round {number + 1} of {min(nr_rounds, MAX_ROUNDS)}")
                alone.append(serve([servers, protocol], load, nr_requests))
                ours.append(serve(traced([servers, protocol], recording), load, nr_requests))
                document = checked(recording, nr_requests)
        add_rows(table, name, nr_requests, alone, ours, document["totals"])
