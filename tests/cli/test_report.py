#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem report`: what a snapshot file shows, wrong usage, files that are damaged or something else."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ASYNCMEM = os.environ.get("ASYNCMEM", str(ROOT / "build" / "asyncmem"))
CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "snapshot"
SAMPLE, NO_HEAP = CORPUS / "sample", CORPUS / "sample-no-heap"


def report(*arguments, **options):
    options = {"capture_output": True, "text": True, "timeout": 60,
               "env": os.environ | {"COLUMNS": "100"}} | options
    return subprocess.run([ASYNCMEM, "report", *map(str, arguments)], **options)


class Shows(unittest.TestCase):
    def test_text(self):
        done = report(SAMPLE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("/srv/bin/demo (pid 4242): 9 tasks: ", done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ +2 +2,048 +>= 5,400 +demo::handler +src/frame\.rs:12 +socket read$")
        self.assertIn("Of 140 kB resident, 110 kB is live heap: it is really in use.\n", done.stdout)
        self.assertIn("waits at main.rs:20 and holds 90.0 kB: 90.0 kB in `names`.\n", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_without_the_heap(self):
        done = report(NO_HEAP)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^ +2 +2,048 +960 +demo::handler +src/frame\.rs:12 +socket read$")
        self.assertEqual(done.stdout.lower().count("heap"), 1)
        document = json.loads(report("--json", NO_HEAP).stdout)
        self.assertEqual([document[key] for key in ("heap", "shared", "by_variable")], [None, None, None])
        self.assertIn("not known", report("--group", "variable", NO_HEAP).stdout)

    def test_selections(self):
        self.assertIn("└─ tokio::sync::mpsc::Recv  waits for: channel receive", report("--task", 3, SAMPLE).stdout)
        self.assertIn("2 of 9 tasks: 2 finished", report("--match", "FINISHED", SAMPLE).stdout)
        self.assertIn("FUTURE THAT AWAITS", report("--group", "await", SAMPLE).stdout)
        self.assertNotIn("AWAIT", report("--group", "type", SAMPLE).stdout)
        self.assertIn("Left out: 6 groups with 7 tasks", report("--top", 1, SAMPLE).stdout)
        self.assertIn("Left out: 6 groups with 6 tasks", report("--top", 1, NO_HEAP).stdout)
        self.assertRegex(report("--group", "variable", SAMPLE).stdout,
                         r"(?m)^ +2 +>= 5,300 +5,000 +demo::handler +conn +TcpStream$")
        self.assertIn("Left out: 2 variables; ", report("--group", "variable", "--top", 1, SAMPLE).stdout)

    def test_json(self):
        document = json.loads(report("--json", SAMPLE).stdout)
        self.assertEqual(document["schema"], "asyncmem.snapshot/1")
        self.assertEqual([task["id"] for task in document["tasks"]], list(range(1, 10)))
        self.assertEqual(sum(group["tasks"] for group in document["by_type"]), 9)
        self.assertEqual(sum(document["by_status"].values()), 9)
        self.assertEqual(document["heap"]["live_bytes"], sum(document["heap"][f"{name}_bytes"] for name in (
            "cells", "held", "maybe_held", "shared", "runtime", "other", "unknown")))
        one = json.loads(report("--json", "--task", 3, SAMPLE).stdout)
        self.assertEqual(one["tasks"], [document["tasks"][2]])

    def test_every_key_is_documented(self):
        text = (ROOT / "docs" / "JSON.md").read_text().split("## asyncmem.snapshot/1")[1]

        def keys(value):
            if isinstance(value, dict):
                for key, below in value.items():
                    yield key
                    yield from keys(below)
            elif isinstance(value, list):
                for below in value:
                    yield from keys(below)

        for key in set(keys(json.loads(report("--json", SAMPLE).stdout))):
            self.assertIn(f"`{key}`", text, key)


class Refuses(unittest.TestCase):
    def expect(self, status, words, *arguments, **options):
        done = report(*arguments, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, r"\Aasyncmem: [^\n]+\n\Z")
        self.assertIn(words, done.stderr)

    def test_wrong_usage(self):
        self.expect(2, "which file?")
        self.expect(2, "one file at a time", SAMPLE, SAMPLE)
        self.expect(2, "--group takes type, await or variable, not 'x'", "--group", "x", SAMPLE)
        self.expect(2, "--task takes a number from 1 on, not '0'", "--task", "0", SAMPLE)
        self.expect(2, "--top takes a number from 1 on, not 'no'", "--top", "no", SAMPLE)
        self.expect(2, "no task 10: its tasks are 1 to 9", "--task", "10", SAMPLE)
        self.expect(2, "no option '--nothing'", "--nothing", SAMPLE)

    def test_other_files(self):
        self.expect(3, "No such file", "/nonexistent")
        self.expect(3, "not a recording of asyncmem", ASYNCMEM)
        self.expect(3, "is a directory", ROOT)

    def test_full_disk(self):
        for arguments in ([SAMPLE], ["--json", SAMPLE]):
            with open("/dev/full", "wb") as full:
                self.expect(3, "could not be written", *arguments, capture_output=False, stdout=full,
                            stderr=subprocess.PIPE)


class Damaged(unittest.TestCase):
    def test_an_answer_says_so(self):
        whole = SAMPLE.read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "cut.snap"
            answers = 0
            for size in range(1, len(whole), 37):
                path.write_bytes(whole[:size])
                done = report(path)
                self.assertIn("damaged" if size >= 48 else path.name, done.stdout + done.stderr)
                self.assertIn(done.returncode, (0, 3))
                answers += done.returncode == 0
            self.assertGreater(answers, 10)


if __name__ == "__main__":
    unittest.main()
