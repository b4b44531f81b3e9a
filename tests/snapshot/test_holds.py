#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What each task holds is what its end frees: every way to hold memory, in a live process, in a core, stripped."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from ends import ends, judge, judge_variables
from subjects import PROGRAMS, Subject, comparable, dump_core, snapshot

LEAST_EXACT = 0.9  # of all held bytes


class Judging(unittest.TestCase):
    def expect_none(self, problems):
        if problems:
            self.fail(f"{len(problems)} differ\n" + "\n".join(problems))


    def expect_equal(self, core, live):
        """A core and the process agree, but for how the account was made and what the kernel counts."""
        core, live = without_moving(core), without_moving(live)
        others = [f"{task}\n  live: {other}" for task, other in zip(core["tasks"], live["tasks"]) if task != other]
        self.expect_none(others)
        self.assertEqual(core, live)


def without_moving(document):
    heap = {key: value for key, value in document["heap"].items()
            if key.endswith("_bytes") and key not in ("rss_bytes", "retained_bytes")}
    tasks = sorted((changed(task) for task in document["tasks"]), key=lambda task: task["cell_address"] or 0)
    return {**comparable({**document, "heap": None, "shared": None}), "heap": heap, "tasks": tasks,
            "shared": sorted(((row["type"], row["bytes"], row["owners"]) for row in document["shared"]), key=repr)}


def changed(task):
    """Without the numbers of rows, which differ from one snapshot to the next, and without what stands on
    stacks: a thread may have been looked at inside its system call or on the way to it."""
    kept_by = [{**keeper, "task": keeper["task"] is not None} for keeper in task["kept_by"] or [] if not keeper["place"]]
    return {**{key: value for key, value in task.items() if key not in ("id", "image", "runtime")}, "kept_by": kept_by}


class TheJudgeItself(unittest.TestCase):
    """It sees each kind of lie in an answer that is otherwise right."""

    CASE = {"name": "one", "status": "suspended", "ids": [7], "cells": [136], "shared": 0, "together": False,
            "says": [{"frame": "", "slot": "kept", "status": "live", "bytes": 1000, "requested": 990},
                     {"frame": "below", "slot": "early", "status": "gone", "bytes": 0, "requested": 0}]}
    FREED = [{"bytes": 1136, "blocks": 2, "sizes": [1000, 136]}]

    def task(self, **changed):
        kept = {"name": "kept", "status": "live", "heap_bytes": 1000, "heap_is": "exact", "requested_bytes": 990}
        early = {"name": "early", "status": "gone", "heap_bytes": 0, "heap_is": "exact", "requested_bytes": 0}
        frames = [{"future": "holds::one", "slots": [{**kept, **changed.pop("kept", {})}], "hidden": None},
                  {"future": "holds::below", "slots": [{**early, **changed.pop("early", {})}], "hidden": None}]
        return {"id": 1, "runtime_task_id": 7, "status": "suspended", "held_bytes": 1000, "held_is": "exact",
                "shared_bytes": 0, "maybe_held_bytes": 0, "await_tree": frames, **changed}

    def problems(self, **changed):
        document = {"tasks": [self.task(**changed)], "shared": []}
        return judge(document, [self.CASE], [self.FREED]).problems + judge_variables(document, [self.CASE], "holds")

    def test_truth(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(self.problems(held_bytes=800, held_is="at_least", kept={"heap_bytes": 800}), [])

    def test_lies(self):
        for lie in ({"held_bytes": 1008}, {"held_bytes": 992}, {"held_bytes": 1008, "held_is": "at_least"},
                    {"held_bytes": 799, "held_is": "at_least"}, {"held_bytes": None}, {"runtime_task_id": 8},
                    {"status": "queued"}, {"kept": {"heap_bytes": 992}}, {"kept": {"status": "gone"}},
                    {"kept": {"heap_is": "at_least"}}, {"kept": {"requested_bytes": 1000}}, {"kept": {"name": "other"}},
                    {"early": {"heap_bytes": 24}}, {"early": {"status": "live"}}):
            with self.subTest(lie=lie):
                self.assertTrue(self.problems(**lie))


class Holds(Judging):
    @classmethod
    def setUpClass(cls):
        cls.maxDiff = 4000
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        with Subject("holds") as subject:
            cls.truth = subject.truth()
            cls.cases = cls.truth["tasks"]
            cls.document = snapshot(subject.pid)
            cls.core = dump_core(subject.pid, cls.temporary.name) if shutil.which("gcore") else None
            cls.freed = ends(subject, cls.cases)
            cls.exit_code = subject.process.wait(60)
        cls.judged = judge(cls.document, cls.cases, cls.freed)

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_every_task(self):
        self.expect_none(self.judged.problems)

    def test_most_is_exact(self):
        self.assertGreaterEqual(self.judged.exact_bytes, LEAST_EXACT * self.judged.all_bytes)
        self.assertGreaterEqual(self.judged.exact_tasks, LEAST_EXACT * self.judged.tasks)

    def test_variables(self):
        problems = judge_variables(self.document, self.cases, "holds")
        self.expect_none(problems)

    def test_slots_add_up(self):
        """A block is in one slot at most: all slots of a task together are not more than it holds."""
        for task in self.document["tasks"]:
            if task["held_bytes"] is not None:
                with self.subTest(task=task["future"], id=task["runtime_task_id"]):
                    slots = [slot for frame in task["await_tree"] for slot in frame["slots"]]
                    self.assertLessEqual(sum(slot["heap_bytes"] or 0 for slot in slots), task["held_bytes"])
                    for slot in slots:
                        self.assertIn(slot["status"], ("live", "gone", "unsure"))
                        if slot["status"] == "gone":
                            self.assertFalse(slot["heap_bytes"])

    def test_maybe_held_is_not_held(self):
        """A pointer without an owner: the task has its address, and its end does not free it."""
        by_id = {task["runtime_task_id"]: task for task in self.document["tasks"]}
        for name, least in (("raw_without_an_owner", 900), ("leaked", 1700), ("not_dropped", 1800)):
            with self.subTest(name=name):
                case = next(case for case in self.cases if case["name"] == name)
                task = by_id[case["ids"][0]]
                self.assertEqual(task["held_bytes"], 0)
                if task["maybe_held_bytes"]:  # else a stack has the address in a word that is not used any more
                    self.assertGreaterEqual(task["maybe_held_bytes"], least)
                    self.assertLess(task["maybe_held_bytes"], least + 64)
                else:
                    self.assertGreaterEqual(self.document["heap"]["other_bytes"], least)

    def test_shared_names_its_tasks(self):
        ids = {task["runtime_task_id"]: task["id"] for task in self.document["tasks"]}
        for case in self.cases:
            if len(case["ids"]) > 1 and case["shared"]:
                with self.subTest(case=case["name"]):
                    tasks = sorted(ids[number] for number in case["ids"])
                    rows = [row for row in self.document["shared"] if sorted(row["tasks"]) == tasks]
                    self.assertEqual(sum(row["bytes"] for row in rows), case["shared"], rows)
                    for task in self.document["tasks"]:
                        if task["id"] in tasks:
                            self.assertEqual(task["shared_bytes"], case["shared"])

    def test_shared_with_main(self):
        case = next(case for case in self.cases if case["name"] == "arc_kept_by_main")
        task = next(task for task in self.document["tasks"] if task["runtime_task_id"] == case["ids"][0])
        rows = [row for row in self.document["shared"] if row["tasks"] == [task["id"]] and row["bytes"] >= 2345]
        self.assertEqual([row["owners"] for row in rows], [2])
        self.assertIn("Vec", rows[0]["type"] or "")

    def test_classes_sum_to_what_is_live(self):
        heap = self.document["heap"]
        classes = ("cells", "held", "maybe_held", "shared", "runtime", "other", "unknown")
        self.assertEqual(sum(heap[name + "_bytes"] for name in classes), heap["live_bytes"])
        tasks = self.document["tasks"]
        self.assertEqual(sum(task["held_bytes"] or 0 for task in tasks), heap["held_bytes"])
        self.assertLessEqual(heap["unknown_bytes"], 0.05 * heap["live_bytes"])
        # What the program's own allocator counts; C's own blocks (threads, stdio) come on top.
        self.assertGreaterEqual(heap["live_bytes"], self.truth["live_bytes"])
        self.assertLess(heap["live_bytes"], self.truth["live_bytes"] + 100_000)

    def test_core_equals_live(self):
        if self.core is None:
            self.skipTest("needs gcore (Debian: gdb)")
        document = snapshot("--core", self.core)
        judged = judge(document, self.cases, self.freed)
        self.expect_none(judged.problems)
        self.expect_equal(document, self.document)


class Stripped(Judging):
    """Without names and layouts: what a task holds is known all the same."""

    def test_every_task(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "holds"
            subprocess.run(["strip", "-o", path, PROGRAMS / "holds"], check=True, timeout=60)
            with Subject(path) as subject:
                cases = subject.truth()["tasks"]
                document = snapshot(subject.pid)
                freed = ends(subject, cases)
        # Without layouts what was never polled looks like what is in a queue.
        for case in cases:
            case["status"] = "queued" if case["status"] == "never_polled" else case["status"]
        judged = judge(document, cases, freed)
        self.expect_none(judged.problems)
        self.assertGreaterEqual(judged.exact_bytes, LEAST_EXACT * judged.all_bytes)


class Many(Judging):
    def test_the_same_many_times(self):
        """Every case some times over in one process: no block is two tasks'."""
        with Subject("holds", 5) as subject:
            cases = subject.truth()["tasks"]
            document = snapshot(subject.pid)
            freed = ends(subject, cases)
        judged = judge(document, cases, freed)
        self.expect_none(judged.problems)


if __name__ == "__main__":
    unittest.main()
