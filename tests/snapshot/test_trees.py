#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The await tree of a task for each shape that an await can have, line by line as the source says it."""

import json
import pathlib
import unittest

from expected_trees import expected, shown
from subjects import WORKSPACE, PROGRAMS, Subject, ask, async_tasks, snapshot

SOURCE = WORKSPACE / "trees" / "src"


class TheTruthItself(unittest.TestCase):
    def test_every_expected_place_is_an_await(self):
        """A tag on a wrong line, or a name that is none, is a mistake in the source's comments."""
        document = json.loads(ask("types", "--json", PROGRAMS / "trees").stdout)
        awaits = {(future["name"], pathlib.PurePath(state["await"]["file"] or "").name, state["await"]["line"])
                  for future in document["futures"] for state in future["states"] if state["await"]}
        for name, tree in expected(SOURCE).items():
            for place in tree:
                with self.subTest(tree=name, place=str(place)):
                    self.assertIn((place.future, place.file, place.line), awaits)


class Trees(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expected = expected(SOURCE)
        with Subject("trees") as subject:
            cls.truth = subject.truth()
            cls.document = snapshot(subject.pid)
            cls.exit_code = subject.finish()

    def task(self, name):
        found = [task for task in self.document["tasks"] if task["future"] == name]
        self.assertEqual(len(found), 1, name)
        return found[0]

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_as_many_as_there_are(self):
        self.assertEqual(len(self.expected), self.truth["tasks"])
        self.assertEqual(len(async_tasks(self.document)), self.truth["alive"])

    def test_trees(self):
        for name, tree in self.expected.items():
            with self.subTest(tree=name):
                self.assertEqual([str(place) for place in shown(self.task(name), "trees")],
                                 [str(place) for place in tree])

    def test_trees_are_whole(self):
        for task in async_tasks(self.document):
            with self.subTest(task=task["future"]):
                self.assertIsNone(task["await_tree_reason"])

    def test_everything_is_suspended_but_what_yielded(self):
        for task in async_tasks(self.document):
            with self.subTest(task=task["future"]):
                yields = task["future"] == "trees::leaves::yields"
                self.assertEqual(task["status"], "queued" if yields else "suspended")
                self.assertIsNone(task["finished_because"])

    def test_children_of_a_join_set_are_tasks(self):
        children = [task for task in self.document["tasks"] if task["future"] == "trees::many::child"]
        self.assertEqual(len(children), self.truth["alive"] - self.truth["tasks"])

    def test_parents_come_before_their_children(self):
        for task in async_tasks(self.document):
            with self.subTest(task=task["future"]):
                frames = task["await_tree"]
                self.assertEqual([frame["parent"] for frame in frames].count(-1), 1)
                for number, frame in enumerate(frames):
                    self.assertLess(frame["parent"], number)
                    has_child = any(other["parent"] == number for other in frames)
                    self.assertEqual(frame["leaf"], not has_child, frame)

    def test_by_await_counts_the_tasks(self):
        self.assertEqual(sum(row["tasks"] for row in self.document["by_await"]), self.truth["alive"])

    def test_by_type_counts_the_tasks(self):
        mine = [row for row in self.document["by_type"] if row["future"].startswith("trees::")]
        self.assertEqual(sum(row["tasks"] for row in mine), self.truth["alive"])

    def test_ids_are_unique(self):
        self.assertEqual(len({task["id"] for task in self.document["tasks"]}), len(self.document["tasks"]))

    def test_slots(self):
        frames = self.task("trees::shapes::nested")["await_tree"]
        middle = next(frame for frame in frames if frame["future"] == "trees::shapes::middle")
        self.assertEqual({slot["name"]: slot["inline_bytes"] for slot in middle["slots"]}, {"ballast": 100})


class Generics(unittest.TestCase):
    def test_every_instance_of_a_generic_future(self):
        with Subject("generics") as subject:
            truth = subject.truth()
            document = snapshot(subject.pid)
            self.assertEqual(subject.finish(), 0)
        self.assertEqual(len(async_tasks(document)), truth["alive"])
        selects = [task for task in document["tasks"] if task["future"].startswith("generics::select_handle<")]
        self.assertEqual(len(selects), truth["selects"])
        for task in selects:
            with self.subTest(task=task["future"]):
                below = [frame["future"].split("<")[0] for frame in task["await_tree"]]
                self.assertIn("tokio::runtime::task::join::JoinHandle", below)
                self.assertIn("tokio::time::sleep::Sleep", below)
                self.assertIsNone(task["await_tree_reason"])


if __name__ == "__main__":
    unittest.main()
