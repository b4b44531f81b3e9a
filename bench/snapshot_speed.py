# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem snapshot` on running programs: how long they stand still, and how long it takes in all.

How long a program stands still is measured inside it: bench/workloads/tasks has a thread that reads the
clock without a pause and tells the largest gap.  The same thread's gaps without a snapshot are the
machine's own; they are printed beside.
"""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import Broken, Timed, run, seconds, spread
from types_speed import ASYNCMEM, BUILD, ROOT, build_big, say

FEW, MANY = 100, 100_000
QUIET_S = 0.3
NO_TASK = "no task has this in its names"  # a short answer, after the same work


def build_workload(name):
    say(f"building bench/workloads/{name}")
    target = BUILD / "bench" / name
    run(["cargo", "build", "--release", "--locked", "--quiet",
         "--manifest-path", ROOT / "bench/workloads" / name / "Cargo.toml", "--target-dir", target], timeout_s=3600)
    return target / "release" / name


class Held:
    """A program that holds tasks until it is ended; it has said so in its first lines."""

    def __init__(self, program, *arguments, nr_lines=1):
        self.process = subprocess.Popen([program, *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.lines = [self.line() for _ in range(nr_lines)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise Broken(f"{self.process.args[0]} ended with {self.process.wait()}")
        return text

    def gaps(self, command=""):
        """What its watcher saw since it was asked last; after "rest" it does not look."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return json.loads(self.line())


class Stops:
    """For one number of tasks, once a round: the stop as seen from inside and by asyncmem, in seconds,
    the machine's own gaps, and how long the whole command took."""

    def __init__(self):
        self.inside_s, self.own_s, self.quiet_s, self.quiet_p99_s = [], [], [], []
        self.whole = Timed()

    def add(self, held, env, out):
        held.gaps()
        time.sleep(QUIET_S)
        quiet = held.gaps()
        document = ask(held, env, out)
        inside = held.gaps("rest")
        run([ASYNCMEM, "snapshot", "--json", held.pid], env=env, timed=self.whole)
        self.inside_s.append(inside["largest_gap_ns"] / 1e9)
        self.own_s.append(document["stop_ns"] / 1e9)
        self.quiet_s.append(quiet["largest_gap_ns"] / 1e9)
        self.quiet_p99_s.append(quiet["p99_gap_ns"] / 1e9)


class Starts:
    """What a snapshot takes besides the stop, with an empty cache and with the plan in it."""

    def __init__(self):
        self.cold_s, self.cached_s = [], []

    def add(self, held, out):
        with tempfile.TemporaryDirectory() as cache:
            for times in (self.cold_s, self.cached_s):
                timed = Timed()
                document = ask(held, {"ASYNCMEM_CACHE_DIR": cache}, out, timed)
                times.append(timed.min_s - document["stop_ns"] / 1e9)
            if not any(Path(cache).glob("*")):
                raise Broken("asyncmem snapshot left no plan in ASYNCMEM_CACHE_DIR")


def ask(held, env, out, timed=None):
    """A snapshot's answer without its tasks."""
    run([ASYNCMEM, "snapshot", "--json", "--match", NO_TASK, held.pid], env=env, stdout=out, timed=timed)
    return json.loads(out.read_bytes())


def check_answer(held, env, out, nr_tasks):
    """What is measured must be the whole work: every task, each with its tree."""
    run([ASYNCMEM, "snapshot", "--json", held.pid], env=env, stdout=out)
    document = json.loads(out.read_bytes())
    tasks = [task for task in document["tasks"] if task["kind"] == "async"]
    if len(tasks) != nr_tasks or any(task["status"] != "suspended" or len(task["await_tree"]) < 2 for task in tasks):
        raise Broken(f"asyncmem snapshot finds {len(tasks)} tasks of {nr_tasks}, or not their trees")


def measure_rounds(few, many, large, nr_rounds):
    stops, starts = {FEW: Stops(), MANY: Stops()}, Starts()
    with tempfile.TemporaryDirectory() as folder:
        few.gaps("rest")  # on two processors one thread that never rests is enough
        many.gaps("rest")
        out, env = Path(folder) / "out", {"ASYNCMEM_CACHE_DIR": folder}
        check_answer(few, env, out, FEW)  # and the plan is in the cache
        check_answer(many, env, out, MANY)
        ask(large, {"ASYNCMEM_CACHE_DIR": str(Path(folder) / "large")}, out)  # the file is in the page cache
        for _ in range(nr_rounds):
            stops[FEW].add(few, env, out)
            stops[MANY].add(many, env, out)
            starts.add(large, out)
    return stops, starts


def add_stop_rows(table, stops, nr_tasks, bar_s, stretch_s):
    table.judge(f"snapshot: stop seen inside, {nr_tasks} tasks", statistics.median(stops.inside_s), seconds,
                bar_s, stretch_s, more_is_better=False, detail=spread(stops.inside_s))
    table.add("  asyncmem's own stop_ns", seconds(statistics.median(stops.own_s)), spread(stops.own_s))
    table.add("  largest gap without a snapshot", seconds(statistics.median(stops.quiet_s)),
              f"{spread(stops.quiet_s)}; 99 of 100 windows of 1 ms have less than "
              f"{seconds(statistics.median(stops.quiet_p99_s))}")


def measure_snapshot(table, *, quick, nr_rounds):
    if not ASYNCMEM.exists():
        raise Broken("build/asyncmem is missing: run make")
    tasks = build_workload("tasks")
    large = tasks if quick else build_big()
    arguments, nr_lines = ([FEW], 1) if quick else (["wait"], 2)
    say(f"snapshot: {nr_rounds} rounds, interleaved")
    with Held(tasks, FEW) as few, Held(tasks, MANY) as many, Held(large, *arguments, nr_lines=nr_lines) as held:
        stops, starts = measure_rounds(few, many, held, nr_rounds)
    add_stop_rows(table, stops[FEW], FEW, 0.005, 0.002)
    add_stop_rows(table, stops[MANY], MANY, 0.1, 0.03)
    whole = stops[MANY].whole
    table.judge(f"snapshot --json, {MANY} tasks, in all", whole.median_s, seconds, 2, more_is_better=False,
                detail=f"> /dev/null, {spread(whole.wall_s)}")
    for name, times, bar_s in (("cold", starts.cold_s, 1), ("cached plan", starts.cached_s, 0.1)):
        table.judge(f"snapshot of {large.name}, {name}: all but the stop", statistics.median(times), seconds, bar_s,
                    more_is_better=False, detail=spread(times))
