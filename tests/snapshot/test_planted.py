#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Blocks of known size, planted in each class of memory, are found in that class, to the byte."""

import json
import os
import unittest

from subjects import Subject, snapshot

CLASSES = ("cells", "held", "maybe_held", "shared", "runtime", "other", "unknown")
# Where the blocks of a plant are that are not cells.
PLANTS = {
    "global": "other", "raw global": "other", "stack": "other", "boxes": "other", "thread": "other", "chain": "other",
    "leaked": "unknown", "hidden": "unknown", "held": "held", "raw": "maybe_held", "shared": "shared",
    "shared with main": "shared", "cells": "cells",
}
NO_TCACHE = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
NO_TCACHE.pop("MALLOC_PERTURB_", None)
HEADER_BYTES = 8  # of a chunk that is in use


def plant(subject, name):
    subject.process.stdin.write(name.encode() + b"\n")
    subject.process.stdin.flush()
    return json.loads(subject.line())


class Planted(unittest.TestCase):
    def setUp(self):
        self.subject = Subject("planted", env=NO_TCACHE)
        self.addCleanup(self.subject.__exit__)
        for _ in range(2):
            self.counted = plant(self.subject, "nothing")
        self.heap = snapshot(self.subject.pid)["heap"]

    def difference(self, name):
        """What a plant added to each class."""
        self.counted = plant(self.subject, name)
        before, self.heap = self.heap, snapshot(self.subject.pid)["heap"]
        return {row: self.heap[row + "_bytes"] - before[row + "_bytes"] for row in (*CLASSES, "live")}

    def test_each_class(self):
        for name, where in PLANTS.items():
            with self.subTest(plant=name):
                added = self.difference(name)
                cells = self.counted["first"]
                expected = dict.fromkeys(CLASSES, 0)
                expected["cells"] = cells
                expected[where] += self.counted["bytes"] - cells
                self.assertEqual({row: bytes for row, bytes in added.items() if bytes},
                                 {row: bytes for row, bytes in {**expected, "live": self.counted["bytes"]}.items() if bytes})

    def test_runtime(self):
        added = self.difference("runtime")
        beside = self.counted["bytes"] - self.counted["first"]
        self.assertEqual(added["cells"], self.counted["first"])
        self.assertEqual(added["live"], self.counted["bytes"])
        self.assertEqual(added["runtime"] + added["other"], beside, added)
        self.assertGreater(added["runtime"], beside // 2, added)

    def test_live_is_what_malloc_counts(self):
        for name in ("nothing", "boxes", "chain", "held"):
            with self.subTest(after=name):
                self.difference(name)
                headers = HEADER_BYTES * self.heap["blocks"]
                self.assertEqual(self.heap["live_bytes"] + headers, self.counted["mallinfo"])

    def test_classes_sum(self):
        for name in PLANTS:
            self.difference(name)
            with self.subTest(after=name):
                self.assertEqual(sum(self.heap[row + "_bytes"] for row in CLASSES), self.heap["live_bytes"])


if __name__ == "__main__":
    unittest.main()
