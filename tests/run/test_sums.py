#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Totals of a recording are the sums of their parts, while the program runs as well as at its end."""

import unittest

import traced

SUMMED = ("allocations", "allocated_bytes", "frees", "freed_bytes", "live_bytes", "live_blocks")
OUTSIDE = ("root", "worker", "thread")


class Sums(unittest.TestCase):
    def setUp(self):
        self.place = traced.Place(self)

    def record(self, command, *options, text=None):
        process = self.place.start(command, *options, stdin=traced.subprocess.PIPE,
                                   env=self.place.environment(witness=False))
        done = traced.finish(process, text)
        self.assertEqual(done.status, 0, done.told)
        return self.place.report()

    def check_types(self, report):
        totals, types = report["totals"], report["by_type"]
        for key in SUMMED:
            self.assertEqual(totals[key], sum(row[key] for row in types), key)
        self.assertEqual(totals["polls"], sum(row["polls"] for row in types))
        self.assertEqual(totals["polls"],
                         totals["polls_future"] + totals["polls_blocking"] + totals["polls_cancel"])
        self.assertEqual(totals["tasks"],
                         sum(row["tasks"] for row in types if row["kind"] not in ("root", "thread")))
        for row in types:
            ends = ("not_ended", "finished", "aborted", "panicked", "dropped", "never_polled")
            if row["kind"] not in OUTSIDE:
                self.assertEqual(row["tasks"], sum(row[end] for end in ends), row)
                self.assertGreaterEqual(row["tasks"], row["most_at_once"])
                # As if so many had been there all the time.
                if row["kind"] == "async":
                    self.assertLessEqual(row["idle_ns"], row["most_at_once"] * report["duration_ns"], row["future"])

    def check_sites(self, report):
        totals, sites = report["totals"], report["sites"]
        for key in (*SUMMED, "temporary"):
            self.assertEqual(totals[key], sum(row[key] for row in sites), key)

    def check_all(self, report):
        self.check_types(report)
        self.check_sites(report)

    def check_settled(self, report):
        """Nothing was being counted: no row is needed for what does not fit."""
        self.check_all(report)
        self.assertEqual(report["totals"]["allocated_bytes"] - report["totals"]["freed_bytes"],
                         report["totals"]["live_bytes"])
        self.assertEqual(report["totals"]["allocations"] - report["totals"]["frees"],
                         report["totals"]["live_blocks"])
        self.assertEqual([row for row in report["by_type"] if row["kind"] == "unknown"], [])

    def test_programs(self):
        for command in (["python3", "-c", "import json; print(len(json.dumps(list(range(99999)))))"],
                        [traced.PROGRAMS / "planted"], [traced.PROGRAMS / "churn"],
                        [traced.PROGRAMS / "random", "3"]):
            with self.subTest(command=command):
                self.check_settled(self.record(command))

    def test_without_stacks(self):
        report = self.record([traced.PROGRAMS / "churn"], "--stacks", "none")
        self.check_settled(report)
        self.assertEqual(len(report["sites"]), 1)

    def test_sampled(self):
        """Types and totals are exact; sites say how far off they may be."""
        report = self.record([traced.PROGRAMS / "churn"], "--stacks", "sampled=65536")
        self.check_types(report)
        total, sites = report["totals"]["allocated_bytes"], report["sites"]
        error = sum(row["error_bytes"] ** 2 for row in sites) ** 0.5
        self.assertGreater(error, 0)
        self.assertLess(abs(sum(row["allocated_bytes"] for row in sites) - total), 5 * error)

    def test_while_it_runs(self):
        """Checkpoints are read while eight threads allocate."""
        process = self.place.start(["python3", "-c", BUSY], "--checkpoint", "1", stdin=traced.subprocess.PIPE,
                                   env=self.place.environment(witness=False))
        try:
            seen = 0
            for _ in range(3):
                traced.wait_until("there is a new checkpoint", lambda: self.place.file.exists() and
                                  self.place.report()["totals"]["allocations"] > seen)
                report = self.place.report()
                self.assertEqual(report["ended_by"], "running")
                self.check_all(report)
                seen = report["totals"]["allocations"]
        finally:
            done = traced.finish(process, "\n")
        self.assertEqual(done.status, 0, done.told)
        self.check_settled(self.place.report())


BUSY = """
import threading, sys
end = threading.Event()
def work():
    while not end.is_set():
        [bytes(n) for n in range(600, 900)]
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
sys.stdin.readline()
end.set()
for thread in threads: thread.join()
"""

if __name__ == "__main__":
    unittest.main()
