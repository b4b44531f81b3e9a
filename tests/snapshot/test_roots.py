#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Root tasks: what block_on drives has no cell; it is told from the stacks of the threads."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from subjects import PROGRAMS, Subject, ask, async_tasks, dump_core, snapshot


def roots_of(document):
    return [task for task in document["tasks"] if task["kind"] == "root"]


def names(document):
    return sorted(((task["future"], task["status"], task["scheduler"]) for task in roots_of(document)), key=str)


class Roots(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        with Subject("roots") as subject:
            cls.truth = subject.truth()
            cls.documents = [snapshot(subject.pid) for _ in range(10)]
            cls.core = dump_core(subject.pid, cls.folder) if shutil.which("gcore") else None
            cls.text = ask("snapshot", subject.pid).stdout
            cls.file = cls.folder / "kept"
            ask("snapshot", "-o", cls.file, subject.pid)
        cls.document = cls.documents[0]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def of(self, future):
        [task] = [task for task in roots_of(self.document) if task["future"] == future]
        return task

    def test_all_and_no_others(self):
        expected = sorted(map(tuple, self.truth["roots"]), key=str)
        for document in self.documents:
            named = [row for row in names(document) if not row[0].startswith("dyn ")]
            self.assertEqual(named, expected)
            self.assertEqual(len(roots_of(document)), len(expected) + self.truth["others"])

    def test_roots_are_no_tasks_of_a_runtime(self):
        self.assertEqual(len(async_tasks(self.document)), self.truth["async"])
        for runtime in self.document["runtimes"]:
            if runtime["owned_tasks"] is not None:
                self.assertEqual(runtime["owned_tasks"], runtime["found_tasks"])
        for root in roots_of(self.document):
            self.assertEqual((root["cell_bytes"], root["cell_address"], root["runtime_task_id"]), (0, None, None))

    def test_sizes(self):
        self.assertGreater(self.of("roots::large")["future_bytes"], self.truth["large"])
        self.assertIsNone(self.of("roots::ByHand")["future_bytes"])
        self.assertTrue(self.of("roots::ByHand")["future_reason"])

    def test_state_is_unknown_and_why_is_told(self):
        for root in roots_of(self.document):
            with self.subTest(future=root["future"]):
                [frame] = root["await_tree"]
                self.assertEqual((frame["future"], frame["state"]), (root["future"], None))
                self.assertTrue(root["await_tree_reason"])

    def test_places_are_those_of_the_source(self):
        lines = (pathlib.Path(__file__).parent.parent / "programs/roots/src/main.rs").read_text().split("\n")
        for name in ["on_runtime", "on_handle", "in_local_set", "boxed", "holds", "inner"]:
            [frame] = self.of(f"roots::{name}")["await_tree"]
            self.assertTrue(frame["file"].endswith("roots/src/main.rs"))
            self.assertTrue(lines[frame["line"] - 1].startswith(f"async fn {name}("))

    def test_a_fn_is_no_await(self):
        futures = {root["future"] for root in roots_of(self.document)}
        placed = [row for row in self.document["by_await"] if row["file"] and row["future"] in futures]
        self.assertEqual(placed, [])
        self.assertIn("unknown place", self.text)

    def test_by_type_counts_them(self):
        rows = {row["future"]: row for row in self.document["by_type"]}
        self.assertEqual((rows["roots::on_handle"]["tasks"], rows["roots::on_handle"]["cell_bytes"]), (1, 0))

    def test_report_shows_the_same(self):
        shown = ask("report", self.file).stdout
        for future, _, _ in self.truth["roots"]:
            if future.startswith("roots::on_"):
                self.assertIn(future, shown)

    def test_core_equals_live(self):
        if not self.core:
            self.skipTest("gcore is not installed")
        moved = self.folder / "moved"
        shutil.copy(PROGRAMS / "roots", moved)
        for more in [[], ["--exe", moved]]:
            document = snapshot("--core", self.core, *more)
            self.assertEqual(names(document), names(self.document))
            self.assertEqual(*({root["future"]: root["future_bytes"] for root in roots_of(each)}
                               for each in (document, self.document)))

    def stripped(self, *options):
        """A copy of the program without debug info."""
        if not shutil.which("objcopy"):
            self.skipTest("objcopy is not installed")
        path = self.folder / "roots"
        subprocess.run(["objcopy", "-g", *options, str(PROGRAMS / "roots"), str(path)], check=True)
        return str(path)

    def expect_unknown(self, document):
        self.assertEqual(roots_of(document), [])
        self.assertEqual(len([note for note in document["notes"] if "block_on" in note]), 1)

    def test_without_debug_info_they_are_unknown_and_it_is_told(self):
        with Subject(self.stripped()) as subject:
            subject.line()
            self.expect_unknown(snapshot(subject.pid))
            self.assertEqual(names(snapshot("--symbols", PROGRAMS / "roots", subject.pid)), names(self.document))

    def test_a_rebuild_says_nothing_of_this_code(self):
        with Subject(self.stripped("-R", ".note.gnu.build-id")) as subject:
            subject.line()
            self.expect_unknown(snapshot("--symbols", PROGRAMS / "roots", subject.pid))


if __name__ == "__main__":
    unittest.main()
