# SPDX-License-Identifier: MIT OR Apache-2.0
"""The account of the whole heap: how long it takes, what memory it needs, how long the program stands still.

bench/workloads/heap holds as many tasks and blocks as it is told to and counts them itself; an account
that does not agree with its count is not measured.  Each round has the account and `--no-heap` of a small
and of a large heap, one after the other.  A stop is what the watcher inside saw (snapshot_speed.py), without the
time for which it could run but had no processor: the account has threads of its own.  The copy of the page
tables is the kernel's work and grows with the program's memory; the bar is for what is added to it.
"""

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import Broken, Timed, run, run_apart, seconds, spread
from snapshot_speed import NO_TASK, Held, build_workload
from types_speed import ASYNCMEM, say

SMALL, LARGE, QUICK = (100, 100_000), (100_000, 10_000_000), (10_000, 1_000_000)  # tasks, blocks
MAX_ROUNDS = 5  # of half a minute
NS_A_BLOCK = 1000  # 10 s for 10 M
BYTES_A_BLOCK = 120
CLASSES = ("cells", "held", "maybe_held", "shared", "runtime", "other", "unknown")
# malloc counts what lies free in the tcaches of the program's threads as used; libc has blocks of its own.
UNSURE_BYTES, UNSURE_BLOCKS = 1 << 20, 1000
MALLOC_HEADER_BYTES = 8
CORE_BYTES = 3 << 30
# On a busy machine the watcher may not get a processor, and a thread that does not run cannot be stopped.
MAX_TRIES, REFUSED = 5, "did not stop within"


class Heap:
    """What is measured of one program: times in seconds, one for each round."""

    def __init__(self, held):
        self.held = held
        self.truth = json.loads(held.lines[0])
        self.account, self.without = Timed(), Timed()
        self.beyond_s, self.fork_s, self.own_s, self.gap_s = [], [], [], []
        self.without_s, self.quiet_s = [], []
        self.heap = None  # of the last answer
        self.nr_refused = 0
        held.gaps("rest")  # on two processors one thread that never rests is enough

    @property
    def name(self):
        return f"{self.truth['tasks']} tasks, {self.truth['blocks'] / 1e6:g} M blocks"

    def ask(self, env, out, *extra):
        """An answer without its tasks, after the same work, and what was seen inside meanwhile."""
        def snapshot():
            self.held.gaps()
            run(command(self.held, "--match", NO_TASK, *extra), env=env, stdout=out)
            return self.held.gaps()

        seen = self.until_stopped(snapshot)
        return json.loads(out.read_bytes()), seen

    def until_stopped(self, snapshot):
        for _ in range(MAX_TRIES - 1):
            try:
                return snapshot()
            except Broken as problem:
                if REFUSED not in str(problem):
                    raise
                self.nr_refused += 1
        return snapshot()

    def add_stops(self, env, out):
        begin = time.perf_counter()
        document, seen = self.ask(env, out)
        took_s = time.perf_counter() - begin
        self.heap = checked(document, self.truth)
        fork_s = (self.heap["fork_ns"] or 0) / 1e9
        self.fork_s.append(fork_s)
        self.beyond_s.append(max(0, seen["largest_stop_ns"] / 1e9 - fork_s))
        self.own_s.append(max(0, document["stop_ns"] / 1e9 - fork_s))
        self.gap_s.append(seen["largest_gap_ns"] / 1e9)
        _, seen = self.ask(env, out, "--no-heap")
        self.without_s.append(seen["largest_stop_ns"] / 1e9)
        self.held.gaps()
        time.sleep(took_s)  # as long: a longer time has larger gaps
        self.quiet_s.append(self.held.gaps("rest")["largest_stop_ns"] / 1e9)

    def add_times(self, env):
        self.until_stopped(lambda: run_apart(command(self.held), self.account, env=env))
        self.until_stopped(lambda: run_apart(command(self.held, "--no-heap"), self.without, env=env))


def command(held, *extra):
    return [ASYNCMEM, "snapshot", "--json", *extra, held.pid]


def checked(document, truth):
    """The account of an answer; Broken if it is not that of the whole heap."""
    heap = document.get("heap")
    if not heap or heap["live_bytes"] is None:
        raise Broken(f"asyncmem makes no account of the heap: {document.get('notes')}")
    nr_tasks = sum(runtime["found_tasks"] for runtime in document["runtimes"])
    if nr_tasks != truth["tasks"]:
        raise Broken(f"asyncmem snapshot finds {nr_tasks} tasks of {truth['tasks']}")
    live = heap["live_bytes"]
    if sum(heap[f"{name}_bytes"] for name in CLASSES) != live:
        raise Broken(f"the classes do not add up to the live heap: {heap}")
    expected = truth["malloc_bytes"] - MALLOC_HEADER_BYTES * truth["blocks"]
    if abs(live - expected) > UNSURE_BYTES:
        raise Broken(f"a live heap of {live} bytes, but malloc says {expected}")
    if abs(heap["blocks"] - truth["blocks"]) > UNSURE_BLOCKS:
        raise Broken(f"a live heap of {heap['blocks']} blocks, but the program counts {truth['blocks']}")
    return heap


def measure_rounds(heaps, nr_rounds):
    with tempfile.TemporaryDirectory() as folder:
        out, env = Path(folder) / "out", {"ASYNCMEM_CACHE_DIR": folder}
        for heap in heaps:  # then the plan is in the cache
            document, _ = heap.ask(env, out)
            heap.held.gaps("rest")
            checked(document, heap.truth)
        for number in range(nr_rounds):
            say(f"heap: round {number + 1} of {nr_rounds}")
            for heap in heaps:
                heap.add_stops(env, out)
                heap.add_times(env)


def add_stop_rows(table, heap):
    table.judge(f"heap: stop beyond the fork, {heap.name}", statistics.median(heap.beyond_s), seconds, 0.02, 0.005,
                more_is_better=False, detail=f"seen inside, {spread(heap.beyond_s)}")
    table.add("  the fork (heap.fork_ns)", seconds(statistics.median(heap.fork_s)),
              f"{spread(heap.fork_s)}; {heap.heap.get('how') or 'not said how'}")
    rows = [("asyncmem's own stop_ns beyond the fork", heap.own_s),
            ("largest gap, with waiting for a processor", heap.gap_s), ("stop with --no-heap", heap.without_s),
            ("largest stop seen without a snapshot", heap.quiet_s)]
    for name, times in rows:
        table.add(f"  {name}", seconds(statistics.median(times)), spread(times))
    if heap.nr_refused:
        table.add("  snapshots refused, and tried again", str(heap.nr_refused), "a thread got no processor")


def add_cost_rows(table, heap, *, judge):
    """Seconds in all, and bytes of memory for each block, both beside --no-heap."""

    def number(value):
        return f"{value:.0f} B"

    nr_blocks = heap.truth["blocks"]
    bytes_a_block = [(account - without) / nr_blocks
                     for account, without in zip(heap.account.rss_bytes, heap.without.rss_bytes)]
    memory = (f"peak RSS {max(heap.account.rss_bytes) / 1e6:.0f} MB, "
              f"with --no-heap {max(heap.without.rss_bytes) / 1e6:.0f} MB")
    took, needs = f"heap: snapshot --json in all, {heap.name}", f"heap: memory a block, {heap.name}"
    if judge:
        table.judge(took, heap.account.median_s, seconds, nr_blocks * NS_A_BLOCK / 1e9, more_is_better=False,
                    detail=f"> /dev/null, {spread(heap.account.wall_s)}")
        table.judge(needs, statistics.median(bytes_a_block), number, BYTES_A_BLOCK, more_is_better=False, detail=memory)
    else:
        table.add(took, seconds(heap.account.median_s), f"> /dev/null, {spread(heap.account.wall_s)}")
        table.add(needs, number(statistics.median(bytes_a_block)), memory)
    table.add("  in all with --no-heap", seconds(heap.without.median_s), spread(heap.without.wall_s))
    table.add("  CPU of all threads", seconds(statistics.median(heap.account.cpu_s)), spread(heap.account.cpu_s))


def add_class_row(table, heap):
    live = heap.heap["live_bytes"]
    shares = [f"{name.replace('_', ' ')} {heap.heap[f'{name}_bytes'] / live:.1%}" for name in CLASSES]
    table.add("  live heap", f"{live / 1e6:.0f} MB", f"{', '.join(shares)}; of the bytes asked for "
              f"{heap.truth['task_bytes'] / heap.truth['bytes']:.1%} by or for tasks")


def add_gcore_row(table, heap):
    """A core is a copy of the same memory; who holds what in it, or which block is live, it does not say."""
    label = "gcore: the same memory to a file, no account"
    with tempfile.TemporaryDirectory() as folder:
        if not shutil.which("gcore"):
            table.add(label, "absent")
            return
        if shutil.disk_usage(folder).free < CORE_BYTES:
            table.add(label, "no room", f"in {folder}")
            return
        say("running gcore once")
        timed = Timed()
        heap.held.gaps()
        run(["gcore", "-o", Path(folder) / "core", heap.held.pid], timed=timed)
        stop_s = heap.held.gaps("rest")["largest_stop_ns"] / 1e9
        size = sum(path.stat().st_size for path in Path(folder).glob("core.*"))
    table.add(label, f"{timed.median_s / heap.account.median_s:.1f}x ours",
              f"{seconds(timed.median_s)} once; the program stands still for {seconds(stop_s)}; {size / 1e6:.0f} MB")


def start_s(words):
    """Seconds from the start of a program until it holds all, and until it has ended by itself."""
    begin = time.perf_counter()
    with subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        while not (line := process.stdout.readline()).startswith("{"):
            if not line:
                raise Broken(f"{words[0]} ended with {process.wait()}")
        holds_s = time.perf_counter() - begin
        process.stdin.close()
        process.stdout.read()
    return holds_s, time.perf_counter() - begin


def add_heaptrack_rows(table, program, size):
    """It counts from the program's first block on and tells who allocated, not who holds."""
    label = f"heaptrack: start of {program.name} under it"
    if not shutil.which("heaptrack") or not shutil.which("heaptrack_print"):
        table.add(label, "absent")
        return
    say("running heaptrack once")
    with tempfile.TemporaryDirectory() as folder:
        data, timed = Path(folder) / "out", Timed()
        native_s, _ = start_s([program, *size])
        holds_s, ended_s = start_s(["heaptrack", "-o", data, program, *size])
        files = list(Path(folder).glob("out*"))
        if not files:
            raise Broken("heaptrack left no file")
        run_apart(["heaptrack_print", "-f", files[0]], timed)
    table.add(label, f"{holds_s / native_s:.1f}x native",
              f"{seconds(holds_s)} once, native {seconds(native_s)}; needed before it can say anything, and it "
              "says who allocated, not who holds")
    table.add("  its file's end, and heaptrack_print", seconds(ended_s - holds_s + timed.median_s),
              f"peak RSS {timed.rss_bytes[0] / 1e6:.0f} MB")


def measure_heap(table, *, quick, nr_rounds):
    if not ASYNCMEM.exists():
        raise Broken("build/asyncmem is missing: run make")
    program, size = build_workload("heap"), QUICK if quick else LARGE
    nr_rounds = min(nr_rounds, MAX_ROUNDS)
    say(f"heap: {nr_rounds} rounds, interleaved")
    with Held(program, *SMALL) as few, Held(program, *size) as many:
        small, large = Heap(few), Heap(many)
        measure_rounds([small, large], nr_rounds)
        add_cost_rows(table, large, judge=not quick)  # what is the same for every program counts little
        add_class_row(table, large)
        add_stop_rows(table, large)
        add_gcore_row(table, large)
        add_cost_rows(table, small, judge=False)
        add_stop_rows(table, small)
    add_heaptrack_rows(table, program, size)
