#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A core says what the process said at the same moment, also where the program is no longer at its place."""

import json
import pathlib
import shutil
import tempfile
import unittest

from subjects import PROGRAMS, Subject, ask, async_tasks, comparable, dump_core, snapshot


@unittest.skipUnless(shutil.which("gcore"), "needs gcore (Debian: gdb)")
class Core(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.maxDiff = 4000
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.binary = cls.folder / "server"
        shutil.copy(PROGRAMS / "trees", cls.binary)
        with Subject(cls.binary) as subject:
            cls.truth = subject.truth()
            cls.live = snapshot(subject.pid)
            cls.core = dump_core(subject.pid, cls.folder)
            cls.live_again = snapshot(subject.pid)
            cls.exit_code = subject.finish()
        cls.moved = cls.folder / "elsewhere"

    def with_binary_away(self, *arguments, **more):
        self.binary.rename(self.moved)
        try:
            return ask("snapshot", "--core", self.core, *arguments, **more)
        finally:
            self.moved.rename(self.binary)

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_nothing_moved_meanwhile(self):
        self.assertEqual(comparable(self.live), comparable(self.live_again))

    def test_core_equals_live(self):
        document = snapshot("--core", self.core)
        self.assertEqual(len(async_tasks(document)), self.truth["alive"])
        self.assertEqual(comparable(document), comparable(self.live))

    def test_schema_is_the_same(self):
        document = snapshot("--core", self.core)
        self.assertEqual(document["schema"], "asyncmem.snapshot/1")
        self.assertEqual(document.keys(), self.live.keys())

    def test_exe_where_it_is_now(self):
        expected = ask("snapshot", "--core", self.core, "--json").stdout
        moved = self.with_binary_away("--exe", self.moved, "--json").stdout
        self.assertEqual(moved.replace(str(self.moved), str(self.binary)), expected)

    def test_binary_away_is_told_with_the_remedy(self):
        done = self.with_binary_away(check=False)
        self.assertIn("--exe", done.stderr + done.stdout)
        self.assertIn(done.returncode, (0, 3, 4))
        if done.returncode:
            self.assertEqual(done.stdout, "")

    def test_text_of_a_core(self):
        text = ask("snapshot", "--core", self.core, "--match", "trees::shapes::nested").stdout
        self.assertIn("trees::shapes::nested", text)

    def test_truncated_core(self):
        """Cut anywhere, a core gives an error or tasks that are there: never others, never a crash."""
        known = {(task["future"], task["runtime_task_id"]) for task in self.live["tasks"]}
        size = self.core.stat().st_size
        cut = self.folder / "cut"
        for part in (0.0, 0.0001, 0.1, 0.5, 0.9, 0.999):
            with self.subTest(part=part):
                with open(self.core, "rb") as whole, open(cut, "wb") as file:
                    file.write(whole.read(int(size * part)))
                done = ask("snapshot", "--core", cut, "--json", check=False)
                self.assertIn(done.returncode, (0, 3))
                if done.returncode == 0:
                    self.assertRegex(done.stderr + done.stdout, "(?i)truncated|cut|shorter|incomplete")
                    found = {(task["future"], task["runtime_task_id"]) for task in json.loads(done.stdout)["tasks"]}
                    self.assertLessEqual(found, known)


if __name__ == "__main__":
    unittest.main()
