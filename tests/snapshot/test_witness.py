#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""async-backtrace, a crate that the program itself calls at each await, says the same as asyncmem does from
outside: for each task the same ways from its first await to its last, by fn, file and line."""

import pathlib
import re
import unittest

from expected_trees import shown
from subjects import Subject, async_tasks, snapshot

FRAME = re.compile(r"(?P<bars>[ │├└]*)╼ (?:(?P<times>\d+)x )?(?P<name>\S+) at (?P<file>\S+):(?P<line>\d+):\d+")


def ways(nodes):
    """All ways from the top to a leaf. A node is (depth, times, step)."""
    found, way = [], []
    for number, (depth, times, step) in enumerate(nodes):
        way = way[:depth] + [(times, step)]
        if number + 1 == len(nodes) or nodes[number + 1][0] <= depth:
            count = 1
            for times, _ in way:
                count *= times
            found += [tuple(step for _, step in way)] * count
    return sorted(found)


def witnessed(lines):
    nodes = []
    for line in lines:
        match = FRAME.fullmatch(line)
        nodes.append((len(match["bars"]) // 3 + (len(match["bars"]) % 3 > 0), int(match["times"] or 1),
                      (match["name"], pathlib.PurePath(match["file"]).name, int(match["line"]))))
    return ways(nodes)


def as_the_compiler_names_it(name):
    """`f` is `f::{{closure}}` there, as is a block in a plain fn; a block in an async fn has one more."""
    plain = re.sub(r"\{(async block|closure)#\d+\}", "{{closure}}", name)
    in_plain_fn = name == "witness::descend::{async block#0}"
    return plain if in_plain_fn else plain.replace("::{{closure}}", "") + "::{{closure}}" * (
        plain.count("{{closure}}") + 1)


def seen(task):
    return ways([(place.depth, 1, (as_the_compiler_names_it(place.future), place.file, place.line))
                 for place in shown(task, "witness")])


class Witness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Subject("witness") as subject:
            cls.truth = subject.truth()
            cls.document = snapshot(subject.pid)
            cls.exit_code = subject.finish()

    def test_program_ends_well(self):
        self.assertEqual(self.exit_code, 0)

    def test_as_many_tasks(self):
        self.assertEqual(len(async_tasks(self.document)), self.truth["alive"])

    def test_same_ways(self):
        by_root = {way[0][0][0]: way for way in map(witnessed, self.truth["trees"])}
        self.assertEqual(len(by_root), self.truth["alive"])
        for task in async_tasks(self.document):
            with self.subTest(task=task["future"]):
                self.assertEqual(seen(task), by_root[as_the_compiler_names_it(task["future"])])


if __name__ == "__main__":
    unittest.main()
