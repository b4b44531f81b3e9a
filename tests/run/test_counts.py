#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The totals of a traced run are those of a counting preload placed behind the tracer, to the last byte, and the
program's output and end are those of a run without asyncmem. Every test here compares all of that."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from traced import LONG, PROGRAMS, TORTURE, assert_counts_equal, lost, plain, traced

PYTHON = "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else shutil.which("python3")
MORE = 10 if LONG else 1
# What the program left beside it is told, and is not of its own counts.
CHILDREN = ("children",)


class Equal(unittest.TestCase):
    maxDiff = None

    def check(self, command, *, same_output=True, but=(), single=False, **how):
        """Untraced and traced; the document of the traced run."""
        expected = plain(command, **how)
        result, document, counts = traced(self, command, **how)
        self.assertEqual(result.status, expected.status, result.err)
        if same_output:
            self.assertEqual((result.out, result.err), (expected.out, expected.err))
        assert_counts_equal(self, document, counts, but=but)
        if single:  # one thread: the peak too is exact
            self.assertEqual(document["totals"]["peak_bytes"], counts["peak_bytes"])
        self.assertGreater(counts["allocations"], 0)
        return document


class OfTorture(Equal):
    def test_all_functions(self):
        document = self.check([TORTURE, "mix", 200_000 * MORE], single=True)
        self.assertGreaterEqual(document["totals"]["allocations"], 100_000)

    def test_threads_come_and_go(self):
        self.check([TORTURE, "threads", 1000])

    def test_small_stacks(self):
        self.check([TORTURE, "stacks", 300])

    def test_malloc_in_handlers(self):
        self.check([TORTURE, "signals", 5000 * MORE], single=True)

    def test_malloc_in_handlers_at_any_instruction(self):
        """Also of the tracer itself; a block that was made there has no stack, which is told. The program counts."""
        command = [TORTURE, "storm", 3000 * MORE]
        result, document, _ = traced(self, command, witness=False)
        self.assertEqual(result.out, plain(command).out)
        truth = json.loads(result.err)
        self.assertEqual({key: document["totals"][key] for key in ("allocations", "frees", "unknown_frees")},
                         {"allocations": truth["allocations"], "frees": truth["frees"], "unknown_frees": 0})
        self.assertEqual(lost(document, but=("in_signal",)), {})
        self.assertLessEqual(document["lost"].get("in_signal", 0), 2 * truth["in_tracer"])
        self.assertGreater(truth["in_tracer"], 50, "too few to prove anything")

    def test_fork(self):
        self.check([TORTURE, "fork", 30 * MORE], but=CHILDREN)

    def test_raw_clone(self):
        self.check([TORTURE, "clone", 30 * MORE], but=CHILDREN)

    def test_vfork(self):
        self.check([TORTURE, "vfork", 30 * MORE], but=CHILDREN)

    def test_children_that_share_the_memory(self):
        self.check([TORTURE, "shared", 30 * MORE], but=CHILDREN)

    def test_spawn(self):
        self.check([TORTURE, "spawn", 10 * MORE], but=CHILDREN)

    def test_same_pid_exec(self):
        """The report is of the last program; the first one's blocks are not in it."""
        self.check(["/bin/sh", "-c", f"x=$(echo 1); exec {TORTURE} mix 5000"], but=CHILDREN)


class OfRust(Equal):
    """They print their truth, wait for a line, and end; what they print has addresses and ids in it."""

    def test_programs(self):
        for name in ("nofutures", "planted", "trees", "holds", "runtimes", "random"):
            with self.subTest(program=name):
                self.check([PROGRAMS / name], text="\n" * 50, same_output=False, but=("await_cut",))


class OfReal(Equal):
    def test_python(self):
        script = "import json, re\nrows = [{'number': i, 'text': str(i) * 3} for i in range(20000)]\n" \
                 "print(len(json.dumps(rows)), len(re.findall('9+', json.dumps(rows))))"
        self.check([PYTHON, "-c", script], env={**os.environ, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
                   single=True)

    def test_git(self):
        with tempfile.TemporaryDirectory() as folder:
            git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
            subprocess.run([*git, "init", "-q"], check=True)
            for number in range(200):
                pathlib.Path(folder, f"file{number}").write_text(f"line {number}\n" * number)
            subprocess.run([*git, "add", "."], check=True)
            subprocess.run([*git, "commit", "-qm", "all"], check=True)
            self.check(["git", "-C", folder, "log", "-p", "--stat"])
            self.check(["git", "-C", folder, "fsck", "--full"], but=CHILDREN)

    def test_gcc(self):
        compiler = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True)
        source = pathlib.Path(__file__).resolve().parent / "subjects" / "torture.c"
        self.check([compiler.stdout.strip(), "-quiet", "-O2", "-D_GNU_SOURCE", source, "-o", "-"], single=True)
        # The driver makes children only.
        self.check(["gcc", "-O1", "-D_GNU_SOURCE", "-S", source, "-o", "-"], but=CHILDREN)


if __name__ == "__main__":
    unittest.main()
