#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every stack of every allocation is libunwind's, frame by frame, in programs of many kinds.

The library that STACK_CHECK names (stack_check.c) is loaded into them; it compares, and aborts at the first
difference.  With ASYNCMEM_LONG=1 millions of stacks.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import random_c

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
CHECK = os.environ["STACK_CHECK"]
LONG = os.environ.get("ASYNCMEM_LONG") == "1"
PIECES = re.compile(r"(\w+)=(\d+)")
totals = {}


def compilers():
    for name, levels in (("gcc", ("-O0", "-O2", "-O3")), ("clang", ("-O1", "-O2"))):
        if shutil.which(name):
            for level in levels:
                for pointers in ("-fomit-frame-pointer", "-fno-omit-frame-pointer"):
                    yield [name, level, pointers]


class Stacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="asyncmem-stacks-")
        cls.path = pathlib.Path(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def build(self, command, source, *more):
        result = self.path / "program"
        subprocess.run([*command, "-g", "-w", "-o", str(result), str(source), *more], check=True, timeout=300)
        return result

    def check(self, command, least, status=0, limit_s=600, **environment):
        """Runs it with every stack compared; its counts, added up over its processes."""
        counts_file = self.path / "counts"
        counts_file.unlink(missing_ok=True)
        result = subprocess.run(
            [str(word) for word in command], timeout=limit_s, capture_output=True, text=True, errors="replace",
            env={**os.environ, **environment, "LD_PRELOAD": CHECK, "STACK_CHECK_COUNTS": str(counts_file)})
        self.assertEqual(result.returncode, status, result.stderr[-4000:] + result.stdout[-400:])
        counts = {"stacks": 0, "broken": 0, "guessed": 0, "cut": 0, "full": 0, "deepest": 0}
        for line in counts_file.read_text().splitlines():
            for name, number in PIECES.findall(line):
                join = max if name == "deepest" else int.__add__
                counts[name] = join(counts.get(name, 0), int(number))
        self.assertGreaterEqual(counts["stacks"], least)
        self.assertEqual(counts["full"], 0)
        name = self.id().split(".")[-1]
        totals[name] = totals.get(name, 0) + counts["stacks"]
        return counts

    def random_programs(self, signals, programs, rounds, least):
        for command in compilers():
            for seed in range(programs):
                source = self.path / "random.c"
                source.write_text(random_c.Program(seed + 100 * signals, signals).text())
                with self.subTest(command=command, seed=seed):
                    counts = self.check([self.build(command, source), rounds], least)
                    self.assertEqual(counts["broken"], 0)

    def test_random_c(self):
        self.random_programs(False, 12 if LONG else 1, 400 if LONG else 40, 2000)

    def test_random_c_with_signals(self):
        self.random_programs(True, 6 if LONG else 1, 100 if LONG else 20, 500)

    def test_coroutines(self):
        for command in compilers():
            with self.subTest(command=command):
                self.check([self.build(command, PROGRAMS / "coroutines.c"), 200000 if LONG else 4000], 10000)

    @unittest.skipUnless(shutil.which("g++"), "no g++")
    def test_exceptions(self):
        for level in ("-O0", "-O2"):
            program = self.build(["g++", level], PROGRAMS / "exceptions.cc", "-pthread")
            counts = self.check([program, 10000 if LONG else 400], 20000)
            self.assertEqual(counts["broken"], 0)

    @unittest.skipUnless(shutil.which("rustc"), "no rustc")
    def test_panics(self):
        program = self.path / "panics"
        for options in (["-O"], ["-O", "-Cforce-frame-pointers=yes"], []):
            subprocess.run(["rustc", "--edition=2021", *options, "-o", program, PROGRAMS / "panics.rs"], check=True,
                           timeout=300)
            counts = self.check([program, 60 if LONG else 8], 10000)
            self.assertEqual(counts["broken"], 0)

    def test_libraries_come_and_go(self):
        libraries = []
        for i, (kind, frame) in enumerate(((0, 24), (0, 200), (1, 64), (2, 40), (0, 24), (2, 300))):
            library = self.path / f"plugin{i}.so"
            subprocess.run(["gcc", "-O1" if i % 2 else "-O2", "-fno-optimize-sibling-calls", f"-DKIND={kind}",
                            f"-DFRAME={frame}", "-shared", "-fPIC", "-o", library, PROGRAMS / "plugin.c"], check=True)
            libraries.append(library)
        program = self.build(["gcc", "-O2", "-rdynamic"], PROGRAMS / "plugins.c", "-ldl")
        counts = self.check([program, 2000 if LONG else 60, *libraries], 5000)
        self.assertEqual(counts["broken"], 0)

    def test_frames_in_other_registers(self):
        libraries = []
        for name, text in (("late", "int needed(int x); int call(int x) { return needed(x) * 2; }"),
                           ("needed", "int needed(int x) { return x + 1; }")):
            library = self.path / f"{name}.so"
            subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-z,lazy", "-xc", "-", "-o", library], input=text, text=True,
                           check=True)
            libraries.append(library)
        for command in compilers():
            with self.subTest(command=command):
                program = self.build([*command, "-Wl,-z,lazy"], PROGRAMS / "registers.c", "-ldl")
                counts = self.check([program, 2000 if LONG else 50, *libraries], 1000)
                self.assertEqual(counts["broken"], 0)

    def test_code_without_tables(self):
        for command in compilers():
            program = self.build(command, PROGRAMS / "untabled.c")
            counts = self.check([program, 10000 if LONG else 500], 10000)
            self.assertGreater(counts["guessed"], 1000)

    def test_tables_that_lie(self):
        for command in compilers():
            program = self.build(command, PROGRAMS / "liar.c")
            counts = self.check([program, 3000 if LONG else 300], 1000, STACK_CHECK_ALONE="1")
            self.assertGreater(counts["broken"], 100)

    def test_deep_stacks(self):
        program = self.build(["gcc", "-O1"], PROGRAMS / "deep.c")
        counts = self.check([program, 511, 10], 5000)
        self.assertEqual((counts["cut"], counts["broken"]), (0, 0))
        counts = self.check([program, 3000, 2], 5000)
        self.assertGreater(counts["cut"], 3500)

    def test_python(self):
        script = ("import json, decimal, ssl, re, sqlite3, random\n"
                  "for i in range(%d): json.loads(json.dumps({str(j): [j, {'a': decimal.Decimal(j)}.__len__()]"
                  " for j in range(50)})); re.compile(str(random.random()) + '(a|b)*c[d-f]+')")
        counts = self.check([sys.executable, "-c", script % (400 if LONG else 8)], 20000, PYTHONMALLOC="malloc")
        self.assertEqual(counts["broken"], 0)

    @unittest.skipUnless(shutil.which("gdb"), "no gdb")
    def test_gdb(self):
        program = self.build(["gcc", "-O2"], PROGRAMS / "coroutines.c")
        self.check(["gdb", "-nx", "-batch", "-ex", "info functions give", "-ex", "info types .", program], 10000)

    @unittest.skipUnless(shutil.which("clang"), "no clang")
    def test_clang(self):
        source = self.path / "random.c"
        source.write_text(random_c.Program(5, True).text())
        counts = self.check(["clang", "-O2", "-c", "-w", "-o", self.path / "random.o", source], 50000)
        self.assertEqual(counts["broken"], 0)


if __name__ == "__main__":
    try:
        unittest.main()
    finally:
        for name, number in totals.items():
            print(f"{name}: {number} stacks", file=sys.stderr)
        print(f"{sum(totals.values())} stacks compared", file=sys.stderr)
