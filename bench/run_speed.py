# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem run`: what tracing costs, against heaptrack and against the program alone.

Each round runs each load natively, under asyncmem and under heaptrack, one after the other.  What counts is
the CPU time of all processes: the program's, the recorder's, heaptrack's interpreter; ours includes writing the
final file.  "Added" is what is above the native run of the same round.  A run whose recording says that
something was lost, or that has too few allocations, is not measured.
"""

import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from measure import Broken, Timed, run, seconds, spread
from snapshot_speed import build_workload
from types_speed import ASYNCMEM, BUILD, ROOT, say

MAX_ROUNDS = 5  # heaptrack takes ten seconds and more for each load
HEAPTRACK_S = 180
HEAPTRACK_KIB = 8 << 20  # its interpreter can take 19 GB, in a hash table that does not like the sizes
# Load: its arguments, pairs of malloc and free, and the bar and stretch goal of ours to heaptrack's.
LOOPS = {
    "constant stack": ("constant", 20_000_000, 1 / 10, 1 / 20),
    "call tree, 1 000 live": ("tree", 8_000_000, 1 / 10, 1 / 20),
    "producer and consumer": ("ring", 4_000_000, 1 / 10, 1 / 20),
    "call tree, 1 M live": ("live", 6_000_000, 1 / 5, 1 / 8),
    "random jumps, 1 M live": ("jump", 3_000_000, 1 / 3, 1 / 5),
}
# Rust: mode, rounds, allocations at least; traced against native.
RUST = {
    "BTreeMap": ("btree", 8_000, 10_000_000),
    "JSON tree": ("json", 1_500, 10_000_000),
    "JSON tree, the same each round": ("document", 5_000, 10_000_000),
    "HashMap": ("hash", 30_000, 15_000_000),
}
NATIVE_TIMES, NATIVE_STRETCH = 2.0, 1.5
POLLS = 300
POLL_BAR, POLL_STRETCH = 150, 100
LIVE_SHARE, THREAD_BYTES, SITE_BYTES = 0.5, 64 << 10, 100
BILLION, BILLION_FILE_BYTES = 1_000_000_000, 50_000_000


def build_loops():
    say("building bench/workloads/loops")
    folder = BUILD / "bench/loops"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("loops", "server_load", "steps"):
        run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-g", "-o", folder / name,
             ROOT / f"bench/workloads/loops/{name}.c", "-lpthread"])
    return folder


def traced(command, recording, *options):
    return [ASYNCMEM, "run", "-o", recording, "--no-report", *options, "--", *command]


def report(recording):
    answer = subprocess.run([ASYNCMEM, "report", "--json", recording], capture_output=True, timeout=300)
    if answer.returncode:
        raise Broken(f"asyncmem report ended with {answer.returncode}: {answer.stderr.decode(errors='replace')}")
    return json.loads(answer.stdout)


def checked(recording, nr_allocations):
    """The recording's document; Broken if it is not that of the whole run."""
    document = report(recording)
    missing = {cause: count for cause, count in document["lost"].items() if count}
    if missing:
        raise Broken(f"the recording of {document['program']} lost {missing}")
    if document["totals"]["allocations"] < nr_allocations:
        raise Broken(f"{document['totals']['allocations']} allocations of {document['program']}, not {nr_allocations}")
    return document


class Load:
    """One program, run in three ways; CPU seconds, one for each round."""

    def __init__(self, command, nr_allocations):
        self.command = [str(word) for word in command]
        self.nr_allocations = nr_allocations
        self.native, self.ours, self.peer = Timed(), Timed(), Timed()
        self.sites, self.file_bytes = 0, 0
        self.is_peer_raw = False

    def run_peer(self, folder, heaptrack):
        """As users run it; without its interpreter, in heaptrack's favour, where that one fails."""
        limited = ["sh", "-c", f'ulimit -v {HEAPTRACK_KIB}; exec "$@"', "sh", heaptrack]
        if not self.is_peer_raw:
            try:
                run([*limited, "-o", folder / "heaptrack", *self.command], timed=self.peer, timeout_s=HEAPTRACK_S)
                return
            except Broken as problem:
                say(f"{problem}; from now on raw")
                self.is_peer_raw, self.peer = True, Timed()
        run([*limited, "-r", "-o", folder / "heaptrack", *self.command], timed=self.peer, timeout_s=HEAPTRACK_S)

    def round(self, folder, heaptrack):
        recording = folder / "run.amem"
        run(self.command, timed=self.native)
        run(traced(self.command, recording), timed=self.ours)
        document = checked(recording, self.nr_allocations)
        self.sites, self.file_bytes = len(document["sites"]), recording.stat().st_size
        if heaptrack:
            self.run_peer(folder, heaptrack)

    def added(self, timed):
        alone = self.native.cpu_s[-len(timed.cpu_s):]
        return [one - other for one, other in zip(timed.cpu_s, alone)]

    def each_ns(self, added):
        return f"{statistics.median(added) / self.nr_allocations * 1e9:.0f} ns"


def inverse(value):
    return f"1/{1 / value:.1f}" if value > 0 else "0"


def times(value):
    return f"{value:.2f}x"


def add_loop_row(table, name, load, bar, stretch, heaptrack):
    label = f"run: CPU added to heaptrack's, {name}"
    ours = load.added(load.ours)
    if not heaptrack:
        table.add(label, "no heaptrack", f"asyncmem adds {load.each_ns(ours)} an allocation")
        return
    peer = load.added(load.peer)
    ratios = [one / other for one, other in zip(ours, peer)]
    least = (min(load.ours.cpu_s) - min(load.native.cpu_s)) / (min(load.peer.cpu_s) - min(load.native.cpu_s))
    table.judge(label, statistics.median(ratios), inverse, bar, stretch, more_is_better=False,
                detail=f"{spread(ratios, inverse)}; of the least times {inverse(least)}; an allocation: "
                       f"asyncmem {load.each_ns(ours)}, heaptrack {load.each_ns(peer)}, "
                       f"alone {load.each_ns(load.native.cpu_s)}; {load.sites} sites"
                       f"{'; heaptrack without its interpreter' if load.is_peer_raw else ''}")


def add_native_row(table, name, load):
    ratios = [one / alone for one, alone in zip(load.ours.cpu_s, load.native.cpu_s)]
    table.judge(f"run: CPU traced to native, {name}", statistics.median(ratios), times, NATIVE_TIMES, NATIVE_STRETCH,
                more_is_better=False,
                detail=f"{spread(ratios, times)}; of the least times "
                       f"{times(min(load.ours.cpu_s) / min(load.native.cpu_s))}; "
                       f"{load.each_ns(load.added(load.ours))} an allocation; {load.sites} sites")
    if load.peer.cpu_s:
        ratios = [one / alone for one, alone in zip(load.peer.cpu_s, load.native.cpu_s)]
        table.add("  the same under heaptrack", times(statistics.median(ratios)), spread(ratios, times))


def measure_loads(table, folder, loops, allocs, nr_rounds, share):
    heaptrack = shutil.which("heaptrack")
    loads = {name: Load([loops / "loops", mode, pairs // share], pairs // share)
             for name, (mode, pairs, _, _) in LOOPS.items()}
    rust = {name: Load([allocs, mode, rounds // share], nr // share) for name, (mode, rounds, nr) in RUST.items()}
    for number in range(nr_rounds):
        say(f"run: round {number + 1} of {nr_rounds}")
        for load in [*loads.values(), *rust.values()]:
            load.round(folder, heaptrack)
    for name, (_, _, bar, stretch) in LOOPS.items():
        add_loop_row(table, name, loads[name], bar, stretch, heaptrack)
    for name, load in rust.items():
        add_native_row(table, name, load)


# --- the poll hook ---------------------------------------------------------------------------------


def instructions(loops, allocs, recording=None):
    """Those of POLLS polls and their wakes; with a recording they are traced."""
    command = [loops / "steps"]
    polls = [allocs, "polls", POLLS]
    with tempfile.NamedTemporaryFile() as out:
        run(command + (traced(polls, recording) if recording else polls), stdout=out.name)
        return int(Path(out.name).read_text())


def measure_polls(table, folder, loops, allocs):
    """Instructions that a poll takes more when it is traced."""
    say("counting instructions of a poll")
    recording = folder / "polls.amem"
    alone = instructions(loops, allocs) / POLLS
    added = instructions(loops, allocs, recording) / POLLS - alone
    nr_polls = report(recording)["totals"]["polls"]
    if nr_polls < POLLS:
        raise Broken(f"{nr_polls} polls were traced, not {POLLS}")
    table.judge("run: poll hook, with that of its wake, instructions", added,
                lambda value: f"{value:.0f}", POLL_BAR, POLL_STRETCH, more_is_better=False,
                detail=f"stepped one by one; a poll and its wake alone {alone:.0f}")


# --- the live region -------------------------------------------------------------------------------


def region_bytes(pid):
    """Of the memory files that asyncmem holds."""
    total = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "memfd:" in str(link.readlink()):
                total += link.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    if not total:
        raise Broken("asyncmem has no memory file open")
    return total


def measure_region(table, folder, loops, share):
    nr_pairs = 6_000_000 // share
    recording = folder / "region.amem"
    process = subprocess.Popen([str(word) for word in traced([loops / "loops", "live", nr_pairs, "hold"], recording)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        heap = int(process.stdout.readline() or 0)  # as libc counts it, with its own eight bytes a block
        if not heap:
            raise Broken("the program that holds a large heap did not start")
        used = region_bytes(process.pid)
        process.stdin.close()
        process.wait(120)
    finally:
        process.kill()
    document = checked(recording, nr_pairs)
    nr_sites, nr_threads = len(document["sites"]), 9
    bar = LIVE_SHARE * heap + THREAD_BYTES * nr_threads + SITE_BYTES * nr_sites

    def megabytes(value):
        return f"{value / 1e6:.1f} MB"

    table.judge("run: live region", used, megabytes, bar, more_is_better=False,
                detail=f"live heap {megabytes(heap)} in {document['totals']['live_blocks']} blocks, of which the program "
                       f"asked for {megabytes(document['totals']['live_bytes'])}, "
                       f"{nr_threads} threads, {nr_sites} sites")


def measure_billion(table, folder, loops):
    say(f"running {BILLION} allocations once")
    load = Load([loops / "loops", "tree", BILLION], BILLION)
    load.round(folder, None)
    table.judge("run: recording of 10^9 allocations", load.file_bytes, lambda value: f"{value / 1e6:.2f} MB",
                BILLION_FILE_BYTES, more_is_better=False,
                detail=f"{load.sites} sites; CPU {seconds(load.ours.cpu_s[0])}, alone {seconds(load.native.cpu_s[0])}")


def measure_run(table, *, quick, nr_rounds, slow):
    if not ASYNCMEM.exists():
        raise Broken("build/asyncmem is missing: run make")
    loops, allocs, share = build_loops(), build_workload("allocs"), 10 if quick else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_loads(table, folder, loops, allocs, min(nr_rounds, MAX_ROUNDS), share)
        measure_polls(table, folder, loops, allocs)
        measure_region(table, folder, loops, share)
        if slow:
            measure_billion(table, folder, loops)
