#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every task of a program that counts itself (tests/programs/counted): how it ended, its polls, and what it allocated
are those of the recording, task for task; polls and ends are those of the whole run. Awaits of tasks that were
dropped are right where they are told, and those that are missing were counted as lost."""

import collections
import json
import os
import types
import unittest

from traced import LONG, PROGRAMS, lost, traced

ENDS = ("finished", "aborted", "panicked", "dropped", "never_polled")
ROUNDS = 15 if LONG else 3
# The program has no symbols: counts must hold, names cannot be had.
NAMELESS = os.environ.get("ASYNCMEM_NAMELESS") == "1"
# The innermost futures of the program's tasks that wait.
WAITS = ("core::future::pending::Pending", "Pending", "pending")


class Counted(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        here = types.SimpleNamespace(addCleanup=cls.addClassCleanup)
        result, cls.document, _ = traced(here, [PROGRAMS / "counted", ROUNDS], witness=False)
        if result.status:
            raise AssertionError(f"ended with {result.status}: {result.err[-1000:]}")
        cls.truth = json.loads(result.out)
        cls.rows = {task["runtime_task_id"]: task for task in cls.document["tasks"] if task["runtime_task_id"]}
        cls.kept = [task for task in cls.truth["tasks"] if task["end"] != "never_polled"]

    def columns(self, **columns):
        """Of each task that left a block: the recording's columns and the program's own."""
        of_tracer, of_program = {}, {}
        for task in self.kept:
            row = self.rows.get(task["id"], {})
            of_tracer[task["id"]] = {key: row.get(key) for key in columns}
            of_program[task["id"]] = {key: own(task) for key, own in columns.items()}
        return of_tracer, of_program

    def has_names(self):
        return any(row["future"] for row in self.document["by_type"])

    def assert_columns(self, **columns):
        """Only what differs is shown: the difference of two long texts takes minutes."""
        of_tracer, of_program = self.columns(**columns)
        wrong = [task for task, own in of_program.items() if of_tracer[task] != own]
        shown = [(task, of_tracer[task], of_program[task]) for task in wrong[:10]]
        self.assertEqual((len(wrong), shown), (0, []), "(task, asyncmem's, the program's)")

    def test_names(self):
        self.assertEqual(self.has_names(), not NAMELESS)

    def test_nothing_is_lost(self):
        self.assertEqual(lost(self.document, but=("await_cut",)), {})

    def test_ends(self):
        self.assert_columns(ended=lambda task: task["end"])

    def test_numbers_of_ends(self):
        own = collections.Counter(task["end"] for task in self.truth["tasks"])
        if NAMELESS:  # workers cannot be told from other blocking tasks
            own["finished"] += self.truth["workers"]
        kinds = [row for row in self.document["by_type"] if row["kind"] in ("async", "blocking")]
        self.assertEqual({end: sum(row[end] for row in kinds) for end in ENDS}, {end: own[end] for end in ENDS})
        self.assertEqual(self.document["totals"]["tasks"], len(self.truth["tasks"]) + self.truth["workers"])
        self.assertEqual(sum(row["live_tasks"] for row in kinds), 0)

    def test_polls(self):
        self.assert_columns(polls=lambda task: task["polls"] + task["cancels"], polls_cancel=lambda task: task["cancels"])

    def test_numbers_of_polls(self):
        sums = collections.Counter()
        for task in self.truth["tasks"]:
            sums["polls_blocking" if task["blocking"] else "polls_future"] += task["polls"]
            sums["polls_cancel"] += task["cancels"]
        sums["polls_blocking"] += self.truth["workers"]
        sums["polls"] = sum(sums.values())
        self.assertEqual({key: self.document["totals"][key] for key in sums}, dict(sums))

    def test_allocations(self):
        self.kept = [task for task in self.kept if not task["warms_up"]]
        self.assert_columns(allocations=lambda task: task["allocations"], allocated_bytes=lambda task: task["bytes"])

    def test_what_is_left(self):
        left = collections.Counter((row["live_bytes"], row["live_blocks"]) for row in self.rows.values()
                                   if row["kind"] == "async")
        self.assertEqual(set(left), {(24, 1)})

    def test_kinds(self):
        self.assert_columns(kind=lambda task: "blocking" if task["blocking"] else "async")

    def test_most_at_once(self):
        crowd = [row for row in self.document["by_type"] if "crowd_member" in (row["future"] or "")]
        if NAMELESS:
            crowd = [row for row in self.document["by_type"] if row["tasks"] == ROUNDS * self.truth["crowd"]]
        self.assertEqual([row["most_at_once"] for row in crowd], [self.truth["crowd"]])

    def test_spawned_by(self):
        """The parent is a task's row, or a thread's, which has no id of the runtime's."""
        by_id = {task["id"]: task for task in self.document["tasks"]}
        for task in self.kept:
            parent = by_id.get(self.rows[task["id"]]["parent"], {})
            if not task["blocking"] and task["parent"]:
                self.assertEqual(parent.get("runtime_task_id"), task["parent"], task)

    def test_times(self):
        for task in self.rows.values():
            times = [task[key] for key in ("spawned_at_ns", "first_poll_ns", "last_poll_ns", "ended_at_ns")]
            self.assertEqual(times, sorted(times), task)

    def test_awaits(self):
        """The plan comes while the program runs: early tasks are without a tree, and counted."""
        wrong, nr_without = [], 0
        for task in self.rows.values():
            if task["ended"] not in ("aborted", "dropped"):
                continue
            if not task["await_tree"]:
                nr_without += 1
            elif not any(name in json.dumps(task["await_tree"][-1]) for name in WAITS):
                wrong.append(task)
        self.assertEqual(wrong, [])
        self.assertLessEqual(nr_without, self.document["lost"].get("await_cut", 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
