#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""300 000 tasks came and went, among junk that looks like tasks: those that are left are counted exactly, ten
times in a row."""

import collections
import unittest

from subjects import Subject, async_tasks, snapshot, unboxed

RUNS = 10


class Churn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Subject("churn") as subject:
            cls.truth = subject.truth()
            cls.documents = [snapshot(subject.pid) for _ in range(RUNS)]
            cls.exit_code = subject.finish()

    def compare(self, count, expected):
        """Compares in each of the runs."""
        for run, document in enumerate(self.documents):
            with self.subTest(run=run):
                self.assertEqual(count(document), expected)

    def compare_status(self, status, expected):
        self.compare(lambda document: sum(task["status"] == status for task in async_tasks(document)), expected)

    def compare_reason(self, reason, expected):
        def count(document):
            finished = [task for task in async_tasks(document) if task["status"] == "finished"]
            return sum(reason in (task["finished_because"] or "") for task in finished)
        self.compare(count, expected)

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_suspended(self):
        self.compare_status("suspended", self.truth["suspended"])

    def test_finished(self):
        self.compare_status("finished", self.truth["finished"])

    def test_finished_and_unread(self):
        self.compare_reason("JoinHandle", self.truth["finished_unread"])

    def test_finished_and_pinned(self):
        self.compare_reason("waker", self.truth["finished_pinned"])

    def test_running(self):
        self.compare_status("running", self.truth["running"])

    def test_no_task_too_many(self):
        self.compare(lambda document: len(async_tasks(document)), self.truth["total"])

    def test_by_future(self):
        self.compare(lambda document: dict(collections.Counter(
            unboxed(task["future"]) for task in async_tasks(document))), self.truth["by_future"])

    def test_no_cell_twice(self):
        def twice(document):
            ids = collections.Counter(task["runtime_task_id"] for task in async_tasks(document))
            return [number for number, times in ids.items() if times > 1]
        self.compare(twice, [])

    def test_workers(self):
        self.compare(lambda document: sum(task["kind"] == "worker" for task in document["tasks"]),
                     self.truth["workers"])

    def test_the_runtime_counts_the_same(self):
        expected = [(self.truth["alive"], self.truth["alive"])]
        self.compare(lambda document: [(runtime["owned_tasks"], runtime["found_tasks"])
                                       for runtime in document["runtimes"]], expected)

    def test_cells_are_as_large_as_the_futures_need(self):
        for task in async_tasks(self.documents[0]):
            if task["future"] != "churn::work::huge":  # in a box of its own
                self.assertGreaterEqual(task["cell_bytes"], task["future_bytes"])


if __name__ == "__main__":
    unittest.main()
