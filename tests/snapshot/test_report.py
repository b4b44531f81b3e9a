#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A snapshot that was kept is shown as it was; a damaged file is an error or says that it is damaged."""

import json
import pathlib
import random
import re
import tempfile
import unittest

from subjects import LONG, Subject, ask, async_tasks

FLIPS = 2000 if LONG else 200
DAMAGED = re.compile(r"damaged|truncated|corrupt|cut|incomplete|checksum", re.IGNORECASE)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.maxDiff = 4000
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        cls.of_text, cls.of_json = cls.folder / "text.snapshot", cls.folder / "json.snapshot"
        with Subject("trees") as subject:
            cls.truth = subject.truth()
            cls.text = ask("snapshot", subject.pid, "-o", cls.of_text).stdout
            cls.json = ask("snapshot", "--json", subject.pid, "-o", cls.of_json).stdout
            cls.exit_code = subject.finish()

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_text(self):
        self.assertEqual(ask("report", self.of_text).stdout, self.text)

    def test_json(self):
        self.assertEqual(ask("report", "--json", self.of_json).stdout, self.json)
        document = json.loads(self.json)
        self.assertEqual(document["schema"], "asyncmem.snapshot/1")
        self.assertEqual(len(async_tasks(document)), self.truth["alive"])

    def test_the_same_options(self):
        task = next(task for task in json.loads(self.json)["tasks"] if task["future"] == "trees::shapes::nested")
        whole = ask("report", self.of_json, "--task", task["id"]).stdout
        for name in ("trees::shapes::nested", "trees::shapes::middle", "trees::shapes::inner"):
            self.assertIn(name, whole)
        matched = json.loads(ask("report", "--json", self.of_json, "--match", "trees::shapes::").stdout)
        self.assertTrue(matched["tasks"])
        self.assertLess(len(matched["tasks"]), len(json.loads(self.json)["tasks"]))

    def test_no_content_of_memory(self):
        """The file has names and sizes, not the words that the program keeps in its variables."""
        self.assertNotIn(b"127.0.0.1", self.of_json.read_bytes())

    def assert_harmless(self, content, what):
        """An error of one line, or an answer: the right one, or one that says it is damaged."""
        path = self.folder / "damaged.snapshot"
        path.write_bytes(content)
        done = ask("report", "--json", path, check=False)
        with self.subTest(what=what):
            self.assertIn(done.returncode, (0, 3), done.stderr)
            if done.returncode == 3:
                self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1), done.stderr)
            elif done.stdout != self.json:
                self.assertRegex(done.stdout + done.stderr, DAMAGED)

    def test_flipped(self):
        content, place = self.of_json.read_bytes(), random.Random(5)
        for _ in range(FLIPS):
            at, bit = place.randrange(len(content)), place.randrange(8)
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            self.assert_harmless(bytes(changed), f"bit {bit} of byte {at}")

    def test_truncated(self):
        content = self.of_json.read_bytes()
        for length in sorted({0, 1, 8, 16, 64, *(len(content) * part // 20 for part in range(20)), len(content) - 1}):
            self.assert_harmless(content[:length], f"{length} of {len(content)} bytes")

    def test_longer(self):
        self.assert_harmless(self.of_json.read_bytes() + b"\0" * 100, "something behind the end")

    def test_not_a_snapshot(self):
        for what, content in {"text": b"hello\n" * 50, "zeros": bytes(4096)}.items():
            path = self.folder / "other"
            path.write_bytes(content)
            done = ask("report", path, check=False)
            with self.subTest(what=what):
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (3, "", 1))
        self.assertEqual(ask("report", self.folder / "nowhere", check=False).returncode, 3)


if __name__ == "__main__":
    unittest.main()
