#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A traced program that is killed, or kills itself, at any moment: asyncmem ends as it ended, the recording opens, and
at most one event a thread is missing in it, by the count of the witness behind the tracer. Daemons and programs
whose watcher is killed go on to the same result."""

import os
import random
import signal
import subprocess
import time
import unittest

from traced import (LONG, TORTURE, Place, assert_counts_equal, child_of, ended, finish, kill, lost, plain, traced,
                    wait_until)

KILLS = 100 if LONG else 20
BUSY_THREADS = 3
THREADS = BUSY_THREADS + 1


class Killed(unittest.TestCase):
    def check_file(self, place, pid, told):
        """What is in the recording of a program that ended by this signal."""
        counts = place.counts(pid)
        if not place.file.exists():  # killed before there was anything to record
            self.assertRegex(told, "no recording")
            self.assertLessEqual((counts or {"allocations": 0})["allocations"], 1)
            return None
        document = place.report()
        self.assertEqual(document["ended_by"], "signal")
        self.assertEqual(document["pid"], pid)
        if counts is None:  # before its first allocation
            return document
        totals = document["totals"]
        self.assertEqual(lost(document), {})
        for key in ("allocations", "frees"):
            self.assertLessEqual(abs(totals[key] - counts[key]), THREADS, f"{key}: {totals} {counts}")
        self.assertLessEqual(abs(totals["live_blocks"] - (counts["allocations"] - counts["frees"])), THREADS)
        self.assertLessEqual(abs(totals["allocations"] - totals["frees"] - totals["live_blocks"]), THREADS,
                             "the live table and the counters")
        return document

    def kill_once(self, moment_s, *, is_ready):
        place = Place(self)
        process = place.start([TORTURE, "busy", BUSY_THREADS])
        pid = child_of(process)
        self.addCleanup(lambda: ended(process.pid) or kill(pid))
        if is_ready:
            self.assertEqual(process.stdout.readline(), "ready\n")
        time.sleep(moment_s)  # any moment
        kill(pid)
        result = finish(process, limit_s=120)
        self.assertEqual(result.status, -signal.SIGKILL, result.told)
        return self.check_file(place, pid, result.told)

    def test_at_random_moments(self):
        moments = random.Random(1)
        for turn in range(KILLS):
            with self.subTest(turn=turn):
                document = self.kill_once(moments.uniform(0, 0.2), is_ready=True)
                self.assertGreater(document["totals"]["allocations"], 0)

    def test_while_it_starts(self):
        moments = random.Random(2)
        for turn in range(KILLS):
            with self.subTest(turn=turn):
                self.kill_once(moments.uniform(0, 0.03), is_ready=False)

    def test_crashes(self):
        moments = random.Random(3)
        for turn in range(KILLS):
            with self.subTest(turn=turn):
                place = Place(self)
                process = place.start([TORTURE, "crash", moments.randrange(100_000)])
                pid = child_of(process)
                result = finish(process, limit_s=120)
                self.assertEqual(result.status, -signal.SIGSEGV, result.told)
                self.check_file(place, pid, result.told)


class Watcher(unittest.TestCase):
    def test_killed(self):
        """The program does not notice; the file has what was written last, or the report says that there is none."""
        for turn in range(KILLS // 4):
            with self.subTest(turn=turn):
                self.kill_watcher(random.Random(turn).uniform(0, 0.2) if turn % 2 else 1.2)

    def kill_watcher(self, moment_s):
        place = Place(self)
        out = place.folder / "out"
        command = [TORTURE, "steady", 200_000, place.folder / "go"]
        with open(out, "w") as stream:
            process = place.start(command, "--checkpoint", "1", stdout=stream, stderr=subprocess.DEVNULL)
            pid = child_of(process)
            self.addCleanup(lambda: ended(pid) or kill(pid))
            wait_until("it began", lambda: out.read_text())
            time.sleep(moment_s)  # any moment
            process.kill()
            process.wait(60)
        (place.folder / "go").touch()
        wait_until("the program has ended", lambda: ended(pid), 120)
        self.assertEqual(out.read_text(), plain(command).out)
        if place.file.exists():
            document = place.report()
            self.assertIn(document["ended_by"], ("running", "lost"))
            self.assertEqual(document["pid"], pid)

    def test_checkpoints_are_written(self):
        place = Place(self)
        process = place.start([TORTURE, "busy", 1], "--checkpoint", "1")
        pid = child_of(process)
        self.addCleanup(lambda: ended(process.pid) or kill(pid))
        wait_until("a checkpoint is written", place.file.exists)
        first = place.report()
        self.assertEqual(first["ended_by"], "running")
        wait_until("a later one is there", lambda: place.report()["totals"]["allocations"] >
                   first["totals"]["allocations"])
        kill(pid)
        self.assertEqual(finish(process).status, -signal.SIGKILL)


class Daemon(unittest.TestCase):
    def test_goes_on(self):
        """The process that was started ends at once, and with it the run; what it left goes on untraced."""
        place = Place(self)
        expected = plain([TORTURE, "daemon", 20000, place.folder / "plain"])
        result, document, counts = traced(self, [TORTURE, "daemon", 20000, place.folder / "traced"])
        self.assertEqual((result.status, result.out), (expected.status, expected.out))
        for name in ("plain", "traced"):
            path = place.folder / name
            wait_until("the daemon has its result", lambda: path.exists() and path.read_text().endswith("\n"))
        self.assertEqual((place.folder / "plain").read_text(), (place.folder / "traced").read_text())
        assert_counts_equal(self, document, counts, but=("children",))
        self.assertGreaterEqual(document["lost"].get("children", 0), 1)


class Environment(unittest.TestCase):
    def test_children_see_their_own(self):
        """LD_PRELOAD is for the program alone: what it starts has that of the user."""
        command = ["/bin/sh", "-c", "env | grep -e LD_PRELOAD -e ASYNCMEM_RUN; cat /proc/self/maps | grep -c asyncmem"]
        result, _, _ = traced(self, command, witness=False)
        self.assertEqual(result.out, "0\n")
        result, _, _ = traced(self, command, witness=True)
        self.assertEqual(result.out.count("LD_PRELOAD="), 1)
        self.assertNotIn("asyncmem-trace", result.out)

    def test_no_file_stays_open(self):
        command = ["ls", "/proc/self/fd"]
        result, _, _ = traced(self, command, witness=False)
        self.assertEqual(result.out, plain(command, env=dict(os.environ)).out)


if __name__ == "__main__":
    unittest.main()
