# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem types` on a program with much debug info, against others that read the same file.

Every fast command runs once a round, one after the other, so that all see the same machine; the
slow alternatives run once.  "Cold" is a plan that must be compiled, the file in the page cache.
"""

import json
import re
import shutil
import statistics
import tempfile
from pathlib import Path

from measure import Broken, Timed, run, seconds, sections, spin, spread

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
ASYNCMEM = BUILD / "asyncmem"
BIG = ROOT / "bench/workloads/big"
DEMO = BUILD / "programs/release/demo-server"
SLOW_PEER_S = 300  # a peer that takes longer is given up

# What users have today that shows future types: row, program, arguments before the file.
SLOW_PEERS = [
    ("gdb: info types async_fn_env", "gdb", ["-nx", "-batch", "-ex", "info types async_fn_env"]),
    ("llvm-dwarfdump --statistics", "llvm-dwarfdump", ["--statistics"]),
]


def say(text):
    print(f"bench: {text}", flush=True)


def build_big(target=BUILD / "bench/big", env=None, timed=None):
    run(["cargo", "build", "--release", "--locked", "--quiet",
         "--manifest-path", BIG / "Cargo.toml", "--target-dir", target], env=env, timeout_s=3600, timed=timed)
    return target / "release/big"


def build_demo():
    if not DEMO.exists():
        run(["cargo", "build", "--release", "--locked", "--quiet", "--package", "demo-server",
             "--manifest-path", ROOT / "tests/programs/Cargo.toml",
             "--target-dir", BUILD / "programs"], timeout_s=3600)
    return DEMO


def build_libdw_walk():
    """The peer written on libdw; None where there is no libdw to build it with."""
    program = BUILD / "bench/libdw_walk"
    program.parent.mkdir(parents=True, exist_ok=True)
    try:
        run(["cc", "-O2", "-o", program, ROOT / "bench/peers/libdw_walk.c", "-ldw", "-lpthread"])
    except Broken as problem:
        say(f"no libdw peer: {problem}")
        return None
    return program


def commands(binary, cache, walk):
    """Name -> command of what runs in every round, in this order."""
    here = {"ASYNCMEM_CACHE_DIR": str(cache)}
    rows = {
        "cold json": ([ASYNCMEM, "types", "--json", "--no-cache", binary], here),
        "cold text": ([ASYNCMEM, "types", binary], here),
        "cached text": ([ASYNCMEM, "types", binary], here),
        "first json": ([ASYNCMEM, "types", "--json", binary], here),  # from the plan; keeps the answer
        "cached json": ([ASYNCMEM, "types", "--json", binary], here),
    }
    if walk:
        rows["libdw 1"] = ([walk, binary, "1"], None)
        rows["libdw 2"] = ([walk, binary, "2"], None)
    return rows


def measure_rounds(binary, walk, nr_rounds):
    """Name -> Timed, and the seconds of spin() in each round."""
    times, noise = {}, []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        for number in range(nr_rounds + 1):  # the first warms the page cache and is not counted
            noise.append(spin())
            for name, (command, env) in commands(binary, cache, walk).items():
                if name == "cold text":
                    shutil.rmtree(cache, ignore_errors=True)
                timed = times.setdefault(name, Timed()) if number else None
                run(command, env=env, timed=timed)
            if not any(cache.glob("*")):
                raise Broken("asyncmem types left no plan in ASYNCMEM_CACHE_DIR")
    return times, noise[1:]


def check_answers(binary, walk):
    """What is measured must be the whole work: a full answer, the same from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache, out = {"ASYNCMEM_CACHE_DIR": str(Path(folder) / "cache")}, Path(folder) / "out"
        answers = []
        for extra in (["--no-cache"], [], []):
            run([ASYNCMEM, "types", "--json", *extra, binary], env=cache, stdout=out)
            answers.append(json.loads(out.read_bytes()))
        if any(answer != answers[0] for answer in answers):
            raise Broken("asyncmem types says other things from a cached plan")
        if answers[0]["detail"] != "full" or not answers[0]["futures"]:
            raise Broken(f"asyncmem types reads no layouts: {answers[0]['detail_reason']}")
        run([ASYNCMEM, "plan", binary], env=cache, stdout=out)
        kinds = re.search(r"(\d+) task kinds", out.read_text())
        if walk:
            run([walk, binary, "1"], stdout=out)
            walked = out.read_text().strip()
        else:
            walked = ""
    return answers[0]["totals"]["count"], kinds.group(1) if kinds else "?", walked


def callgrind(binary):
    """Instructions of a cached run, text and JSON; these do not depend on the machine's load."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        env = {"ASYNCMEM_CACHE_DIR": str(Path(folder) / "cache")}
        # The first, which is not counted, leaves the plan; only a run under valgrind leaves one
        # that fits the others, because the plan's key has the identity of /proc/self/exe in it.
        for name, extra in (("first", []), ("text", []), ("json", ["--json"])):
            said = run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
                        ASYNCMEM, "types", *extra, binary], env=env)
            counts[name] = int(re.search(r"Collected : (\d+)", said).group(1))
    del counts["first"]
    return counts


def add_own_rows(table, times, info_mb, debug_bytes, judge_memory):
    cold, cached = times["cold json"], times["cached text"]

    def rate(value):
        return f"{value:.0f} MB/s"

    table.judge("types, cold: .debug_info a second", info_mb / cold.median_s, rate, 60, 500,
                detail=f"--json --no-cache, {spread(cold.wall_s)}")
    table.add("  the same, best round", rate(info_mb / cold.min_s))
    table.add("  the same, a second of CPU", rate(info_mb / statistics.median(cold.cpu_s)),
              f"CPU of all threads {spread(cold.cpu_s)}")
    peak = max(max(cold.rss_bytes), max(times["cold text"].rss_bytes))
    share = f"peak RSS {peak / 1e6:.0f} MB of {debug_bytes / 1e6:.0f} MB"
    if judge_memory:
        table.judge("types, cold: memory / debug sections", peak / debug_bytes,
                    lambda value: f"{value:.2f}x", 1.5, more_is_better=False, detail=share)
    else:
        table.add("types, cold: memory / debug sections", f"{peak / debug_bytes:.2f}x", share)
    table.judge("types, cold / cached plan", times["cold text"].median_s / cached.median_s,
                lambda value: f"{value:.1f}x", 20,
                detail=f"default text; best rounds {times['cold text'].min_s / cached.min_s:.1f}x")
    table.add("  cold", seconds(times["cold text"].median_s), spread(times["cold text"].wall_s))
    table.add("  cached", seconds(cached.median_s), spread(cached.wall_s))
    for label, name in (("  cached plan, first --json", "first json"),
                        ("  cached, --json again", "cached json")):
        table.add(label, seconds(times[name].median_s),
                  f"{spread(times[name].wall_s)}; cold / this "
                  f"{cold.median_s / times[name].median_s:.1f}x")


def add_peer_rows(table, times, binary):
    ours = times["cold json"].median_s
    for name, label in (("libdw 1", "libdw walk, 1 thread"), ("libdw 2", "libdw walk, 2 threads")):
        if name in times:
            table.add(label, f"{times[name].median_s / ours:.1f}x ours",
                      f"{spread(times[name].wall_s)}, {max(times[name].rss_bytes) / 1e6:.0f} MB")
        else:
            table.add(label, "absent")
    for label, program, arguments in SLOW_PEERS:
        if not shutil.which(program):
            table.add(label, "absent")
            continue
        say(f"running {program} once")
        timed = Timed()
        try:
            run([program, *arguments, binary], timeout_s=SLOW_PEER_S, timed=timed)
            table.add(label, f"{timed.median_s / ours:.0f}x ours",
                      f"{seconds(timed.median_s)} once, {max(timed.rss_bytes) / 1e6:.0f} MB")
        except Broken as problem:
            table.add(label, "no answer", str(problem))


def add_rebuild_row(table, ours_s):
    """What the compiler's own listing costs: the crate and all it needs are compiled anew."""
    say("rebuilding with -Zprint-type-sizes")
    target, timed = BUILD / "bench/type-sizes", Timed()
    shutil.rmtree(target, ignore_errors=True)
    build_big(target, {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zprint-type-sizes"}, timed)
    shutil.rmtree(target, ignore_errors=True)
    table.add("rebuild with -Zprint-type-sizes", f"{timed.median_s / ours_s:.0f}x ours",
              f"{seconds(timed.median_s)} once")


def measure_types(table, *, quick, nr_rounds, slow, with_callgrind):
    if not ASYNCMEM.exists():
        raise Broken("build/asyncmem is missing: run make")
    if not quick:
        say("building bench/workloads/big (minutes, the first time)")
    binary = build_demo() if quick else build_big()
    walk = build_libdw_walk()
    sizes = sections(binary)
    debug_bytes = sum(size for name, size in sizes.items() if name.startswith(".debug_"))
    info_mb = sizes[".debug_info"] / 1e6
    nr_futures, nr_kinds, walked = check_answers(binary, walk)
    say(f"{binary.name}: {debug_bytes / 1e6:.1f} MB of debug sections, "
        f".debug_info {info_mb:.1f} MB; {nr_futures} future types, {nr_kinds} task kinds")
    if walked:
        say(f"libdw walk: {walked}")
    say(f"{nr_rounds} rounds, interleaved")
    times, noise = measure_rounds(binary, walk, nr_rounds)
    # Python's own pages count in ru_maxrss, which matters only beside a small program.
    add_own_rows(table, times, info_mb, debug_bytes, judge_memory=not quick)
    if with_callgrind:
        for name, count in callgrind(binary).items():
            table.add(f"types, cached, {name}: instructions", f"{count / 1e6:.1f} M", "callgrind")
    add_peer_rows(table, times, binary)
    if slow:
        add_rebuild_row(table, times["cold json"].median_s)
    table.add("noise: the same loop in each round", f"{max(noise) / min(noise):.2f}x",
              spread(noise))
