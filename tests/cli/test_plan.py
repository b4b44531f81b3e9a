#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem plan`: task kinds and vtables, with what each level of detail still tells."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ASYNCMEM = os.environ.get("ASYNCMEM", "build/asyncmem")
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", "build/programs")) / "release"
VTABLE_WORDS = 10


def plan(binary, *options):
    done = subprocess.run([ASYNCMEM, "plan", "--json", "--no-cache", *options, binary], capture_output=True,
                          text=True, check=True)
    return json.loads(done.stdout)


def poll_functions(binary):
    """Addresses of tokio's raw::poll instances, from the symbol table."""
    listing = subprocess.run(["nm", binary], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0], 16) for line in listing.splitlines()
            if re.search(r"5tokio7runtime4task3raw4poll", line)}


class TaskKinds(unittest.TestCase):
    def test_vtables_have_exactly_the_poll_functions(self):
        for name in ("traps", "demo-server", "real-mini-redis", "real-bore"):
            document = plan(PROGRAMS / name)
            self.assertEqual({task["poll_address"] for task in document["tasks"]},
                             poll_functions(PROGRAMS / name), name)

    def test_every_vtable_is_named(self):
        for task in plan(PROGRAMS / "traps")["tasks"]:
            self.assertIsNotNone(task["future"], task)
            self.assertEqual(task["named_by"], "debug info")
            self.assertIn(task["kind"], ("async", "blocking", "worker"))
            self.assertIn(task["scheduler"], ("multi_thread", "current_thread", "local", "blocking pool"))

    def test_offsets_lie_in_the_cell(self):
        for task in plan(PROGRAMS / "traps")["tasks"]:
            self.assertLess(task["scheduler_offset_bytes"], task["id_offset_bytes"])
            self.assertLess(task["id_offset_bytes"], task["trailer_offset_bytes"])
            if task["cell_bytes"] is not None:
                self.assertLess(task["trailer_offset_bytes"], task["cell_bytes"])

    def test_no_tasks(self):
        document = plan(PROGRAMS / "nofutures")
        self.assertEqual(document["tasks"], [])
        self.assertEqual(document["futures"], 0)


class LessDetail(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.binary = pathlib.Path(self.folder.name) / "program"

    def tearDown(self):
        self.folder.cleanup()

    def test_symbols_only(self):
        shutil.copy(PROGRAMS / "traps", self.binary)
        subprocess.run(["strip", "--strip-debug", self.binary], check=True)
        whole, document = plan(PROGRAMS / "traps"), plan(self.binary)
        self.assertEqual(document["detail"], "names")
        self.assertIn("debug = 2", document["detail_reason"])
        vtables = [task for task in document["tasks"] if task["vtable_address"] is not None]
        self.assertEqual({task["vtable_address"] for task in vtables},
                         {task["vtable_address"] for task in whole["tasks"]})
        # A name read from symbols is the name that debug info has, closures being all they know.
        by_address = {task["vtable_address"]: task for task in whole["tasks"]}
        named = [task for task in vtables if task["future"]]
        self.assertGreater(len(named), len(vtables) // 2)
        for task in named:
            function = task["future"].split("::{")[0].split("<")[0]
            self.assertIn(function, by_address[task["vtable_address"]]["future"])

    def test_stripped(self):
        shutil.copy(PROGRAMS / "traps", self.binary)
        subprocess.run(["strip", self.binary], check=True)
        whole, document = plan(PROGRAMS / "traps"), plan(self.binary)
        self.assertEqual(document["detail"], "none")
        self.assertIn("stripped", document["detail_reason"])
        keys = ("vtable_address", "poll_address", "trailer_offset_bytes", "id_offset_bytes")
        self.assertEqual([[task[key] for key in keys] for task in document["tasks"]],
                         [[task[key] for key in keys] for task in whole["tasks"]])

    def test_text_says_the_same(self):
        done = subprocess.run([ASYNCMEM, "plan", PROGRAMS / "demo-server"], capture_output=True, text=True,
                              check=True)
        document = plan(PROGRAMS / "demo-server")
        self.assertIn(f"{document['futures']} futures", done.stdout)
        self.assertIn(f"{len(document['tasks'])} task kinds", done.stdout)
        self.assertIn(document["build_id"], done.stdout)


if __name__ == "__main__":
    unittest.main()
