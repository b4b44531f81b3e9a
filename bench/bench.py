#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Speed and memory as ratios against named peers, measured side by side in one run.

Prints one table.  A row with a bar ends in "ok" or "BELOW"; the exit status is 0 either way and 1
only if something could not be measured.
"""

import argparse
import os
import sys

from heap_speed import measure_heap
from measure import Broken, Table
from report_speed import measure_report
from run_speed import measure_run
from server_speed import measure_server
from snapshot_speed import measure_snapshot
from types_speed import measure_types


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("types", "snapshot", "heap", "run", "server", "report"),
                        help="measure this part alone")
    parser.add_argument("--quick", action="store_true",
                        help="measure on the tests' small server, not on bench/workloads/big; a smaller heap; shorter loads")
    parser.add_argument("--rounds", type=int, default=11,
                        help="rounds, after one that is not counted")
    parser.add_argument("--callgrind", action="store_true",
                        help="count instructions of cached runs too (needs valgrind)")
    parser.add_argument("--slow", action="store_true",
                        help="time a whole rebuild with -Zprint-type-sizes, and trace 10^9 allocations, too")
    return parser.parse_args()


def main():
    chosen = options()
    if chosen.rounds < 1:
        sys.exit("bench: --rounds needs at least 1")
    # The bars are for two cores.
    cpus = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cpus)
    table = Table()
    try:
        if chosen.only in (None, "types"):
            measure_types(table, quick=chosen.quick, nr_rounds=chosen.rounds, slow=chosen.slow,
                          with_callgrind=chosen.callgrind)
        if chosen.only in (None, "snapshot"):
            measure_snapshot(table, quick=chosen.quick, nr_rounds=chosen.rounds)
        if chosen.only in (None, "heap"):
            measure_heap(table, quick=chosen.quick, nr_rounds=chosen.rounds)
        if chosen.only in (None, "run"):
            measure_run(table, quick=chosen.quick, nr_rounds=chosen.rounds, slow=chosen.slow)
        if chosen.only in (None, "server"):
            measure_server(table, quick=chosen.quick, nr_rounds=chosen.rounds)
        if chosen.only in (None, "report"):
            measure_report(table, quick=chosen.quick, nr_rounds=chosen.rounds)
    except (Broken, OSError) as problem:
        print(f"bench: broken: {problem}", file=sys.stderr)
        return 1
    print()
    table.print()
    print()
    print(f"{table.judged} rows have a bar, {table.below} BELOW; {len(cpus)} CPUs, "
          f"load average {os.getloadavg()[0]:.1f} at the end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
