#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runtimes of every kind, two copies of tokio and tasks of every kind and status in one process."""

import collections
import unittest

from subjects import Subject, async_tasks, snapshot

SCHEDULERS = {
    "runtimes::on_multi_thread": "multi_thread", "runtimes::child": "multi_thread",
    "plugin::in_plugin": "multi_thread", "runtimes::on_current_thread": "current_thread",
    "runtimes::never_polled": "current_thread", "runtimes::on_local_set": "local",
}


class Runtimes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Subject("runtimes") as subject:
            cls.truth = subject.truth()
            cls.document = snapshot(subject.pid)
            cls.exit_code = subject.finish()
        cls.tasks = cls.document["tasks"]

    def of(self, future):
        return [task for task in self.tasks if task["future"] == future]

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_tasks(self):
        for kind, status, future, count in self.truth["tasks"]:
            with self.subTest(future=future):
                found = self.of(future)
                self.assertEqual(len(found), count)
                self.assertEqual({task["kind"] for task in found}, {kind})
                if status:
                    self.assertEqual({task["status"] for task in found}, {status})

    def test_no_task_too_many(self):
        expected = sum(count for kind, _, _, count in self.truth["tasks"] if kind == "async")
        self.assertEqual(len(async_tasks(self.document)), expected)
        roots = sum(count for kind, _, _, count in self.truth["tasks"] if kind == "root")
        self.assertEqual(sum(task["kind"] == "root" for task in self.tasks), roots)

    def test_workers(self):
        self.assertEqual(sum(task["kind"] == "worker" for task in self.tasks), self.truth["workers"])

    def test_blocking(self):
        found = collections.Counter(task["status"] for task in self.tasks if task["kind"] == "blocking")
        expected = self.truth["blocking"]
        self.assertEqual(found["running"], expected["running"])
        self.assertEqual(sum(found.values()), expected["running"] + expected["queued"])

    def test_owned_is_found_and_what_tokio_counts(self):
        found = [(runtime["owned_tasks"], runtime["found_tasks"]) for runtime in self.document["runtimes"]]
        expected = [(runtime["owned"], runtime["owned"]) for runtime in self.truth["runtimes"]]
        # A runtime that owns nothing (the one of the LocalSet, the one of the blocking tasks) need not be there.
        self.assertEqual(sorted(pair for pair in found if pair != (0, 0)), sorted(expected))

    def test_runtimes_are_told_apart(self):
        owners = collections.defaultdict(set)
        for task in async_tasks(self.document):
            owners[task["runtime"]].add(task["future"])
        expected = [
            {"runtimes::on_multi_thread", "runtimes::parent", "runtimes::child"},
            {"runtimes::busy", "runtimes::woken"}, {"runtimes::cancelled"}, {"runtimes::on_current_thread"},
            {"runtimes::never_polled"}, {"runtimes::on_local_set"}, {"plugin::in_plugin"}]
        self.assertEqual(sorted(map(sorted, owners.values())), sorted(map(sorted, expected)))

    def test_schedulers(self):
        for future, scheduler in SCHEDULERS.items():
            with self.subTest(future=future):
                self.assertEqual({task["scheduler"] for task in self.of(future)}, {scheduler})

    def test_two_copies_of_tokio(self):
        plugin = {task["image"] for task in self.of("plugin::in_plugin")}
        program = {task["image"] for task in self.of("runtimes::child")}
        self.assertEqual((len(plugin), len(program)), (1, 1))
        self.assertNotEqual(plugin, program)

    def test_trees_of_tasks_at_rest(self):
        for task in async_tasks(self.document):
            with self.subTest(future=task["future"], status=task["status"]):
                if task["status"] == "suspended":
                    self.assertEqual(task["await_tree"][0]["future"], task["future"])
                    self.assertTrue(task["await_tree"][0]["state"].startswith("Suspend"))
                elif task["status"] == "never_polled":
                    self.assertEqual(task["await_tree"][0]["state"], "Unresumed")

    def test_roots_are_exact_or_unknown(self):
        """The state of a root is read, or said to be unknown; never the one of a copy moved from."""
        for task in self.tasks:
            if task["kind"] == "root" and task["await_tree"]:
                with self.subTest(future=task["future"]):
                    self.assertEqual(task["await_tree"][0]["future"], task["future"])
                    self.assertNotEqual(task["await_tree"][0]["state"], "Unresumed")


if __name__ == "__main__":
    unittest.main()
