#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`--symbols FILE`: a program built with debug = 0, also stripped, with layouts from its rebuild with debug = 2.

The two builds differ in addresses, in the order of functions and here and there in code. What is found must be
right: held against the symbols of the program, and its snapshot against one of the debug = 2 program itself.

ASYNCMEM_PROGRAMS is where the debug = 2 programs are (build/programs); those with debug = 0 are built into
`symbols` below ASYNCMEM_BUILD (build).
"""

import collections
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "snapshot"))
from subjects import PROGRAMS, ROOT, WORKSPACE, Subject, ask, async_tasks, snapshot  # noqa: E402

BUILD = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")).absolute() / "symbols"
NAMES = ("trees", "traps")


@functools.cache
def program(name, stripped=False):
    """The program built with debug = 0, or a stripped copy of it."""
    path = BUILD / "release" / name
    if stripped:
        copy = BUILD / f"{name}.stripped"
        subprocess.run(["strip", "--strip-all", "-o", copy, program(name)], check=True)
        return copy
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--config", "profile.release.debug=0",
                    "--target-dir", BUILD, *(word for other in NAMES for word in ("-p", other))],
                   cwd=WORKSPACE, check=True, timeout=1500)
    return path


@functools.cache
def plan(*arguments):
    return json.loads(ask("plan", "--json", "--no-cache", *arguments).stdout)


def adopted(name, stripped=False):
    return plan("--symbols", PROGRAMS / name, program(name, stripped))


def found(document):
    """Address of the vtable -> row."""
    return {task["vtable_address"]: task for task in document["tasks"] if task["vtable_address"] is not None}


@functools.cache
def functions(path):
    """Address -> names without their hashes."""
    names = collections.defaultdict(set)
    listing = subprocess.run(["nm", "--demangle", "--defined-only", path], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        address, kind, name = line.split(maxsplit=2)
        if kind in "tTwW":
            names[int(address, 16)].add(re.sub(r"(::h[0-9a-f]{16})?(\.llvm\.\d+)?$", "", name))
    return names


def for_each_program(check):
    """A test of each program, with its symbols and without."""
    def test(self):
        for name in NAMES:
            for stripped in (False, True):
                with self.subTest(program=name, stripped=stripped):
                    check(self, name, stripped, adopted(name, stripped))
    return test


class Plans(unittest.TestCase):
    @for_each_program
    def test_every_vtable_is_found_or_told(self, name, stripped, document):
        missing = sum(task["vtable_address"] is None for task in document["tasks"])
        told = [re.search(r"addresses of (\d+) of (\d+) task kinds are unknown: .+", note)
                for note in document["notes"]]
        told = [(int(match[1]), int(match[2])) for match in told if match]
        self.assertEqual(told, [(missing, len(document["tasks"]))] if missing else [])
        self.assertLess(missing, len(document["tasks"]) // 20)

    @for_each_program
    def test_vtables_are_those_of_the_program(self, name, stripped, document):
        own = found(plan(program(name, stripped)))
        rows = found(document)
        self.assertLessEqual(set(rows), set(own))
        self.assertEqual(len(rows), sum(task["vtable_address"] is not None for task in document["tasks"]))
        for address, task in rows.items():
            for key in ("poll_address", "trailer_offset_bytes", "scheduler_offset_bytes", "id_offset_bytes"):
                self.assertEqual(task[key], own[address][key], task["full_name"])

    def test_types_are_those_that_symbols_name(self):
        """Drop glue names the task's future down to the closure; no generics, so the function must agree."""
        for name in NAMES:
            with self.subTest(program=name):
                rows, checked = found(adopted(name)), 0
                for address, own in found(plan(program(name))).items():
                    if own["future"] and address in rows:
                        function = own["future"].split("::{")[0].split("<")[0]
                        self.assertIn(function, rows[address]["full_name"])
                        self.assertEqual(own["scheduler"], rows[address]["scheduler"], own["future"])
                        checked += 1
                self.assertGreater(checked, len(rows) // 2)

    def test_poll_functions_have_the_same_name(self):
        """A row's poll in the program and that of the rebuild's row of the same type."""
        for name in NAMES:
            with self.subTest(program=name):
                polls = collections.defaultdict(set)
                for task in plan(PROGRAMS / name)["tasks"]:
                    polls[task["full_name"], task["scheduler"]] |= functions(PROGRAMS / name)[task["poll_address"]]
                for task in found(adopted(name)).values():
                    own = functions(program(name))[task["poll_address"]]
                    self.assertTrue(own & polls[task["full_name"], task["scheduler"]], (task["full_name"], own))

    def test_symbols_make_no_difference(self):
        for name in NAMES:
            with self.subTest(program=name):
                whole, stripped = found(adopted(name)), found(adopted(name, stripped=True))
                for address in set(whole) & set(stripped):
                    self.assertEqual(whole[address]["full_name"], stripped[address]["full_name"])
                    self.assertEqual(whole[address]["scheduler"], stripped[address]["scheduler"])

    @for_each_program
    def test_types_are_those_of_the_rebuild(self, name, stripped, document):
        self.assertEqual(sorted((task["full_name"], task["scheduler"]) for task in document["tasks"]),
                         sorted((task["full_name"], task["scheduler"]) for task in plan(PROGRAMS / name)["tasks"]))

    @for_each_program
    def test_trait_objects_are_found(self, name, stripped, document):
        self.assertGreater(document["trait_object_vtables"], 20)

    def test_a_rebuild_of_another_program_is_refused(self):
        done = ask("plan", "--no-cache", "--symbols", PROGRAMS / "traps", program("trees"), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is not a rebuild of", done.stderr)


def trees(document):
    """The tasks of a snapshot as a multiset: what they are, how they stand, where they wait."""
    return collections.Counter(
        (task["future"], task["status"], task["scheduler"],
         tuple((frame["parent"], frame["future"], frame["state"], frame["line"])
               for frame in task["await_tree"] or []))
        for task in async_tasks(document))


class Snapshots(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Subject("trees") as subject:
            subject.truth()
            cls.expected = trees(snapshot("--no-cache", subject.pid))
            assert subject.finish() == 0

    def check(self, path):
        with Subject(path) as subject:
            truth = subject.truth()
            document = snapshot("--no-cache", "--symbols", PROGRAMS / "trees", subject.pid)
            self.assertEqual(subject.finish(), 0)
        self.assertEqual(len(async_tasks(document)), truth["alive"])
        self.assertEqual(trees(document), self.expected)

    def test_program_with_symbols(self):
        self.check(program("trees"))

    def test_stripped_program(self):
        self.check(program("trees", stripped=True))


if __name__ == "__main__":
    unittest.main()
