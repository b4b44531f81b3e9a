#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Any allocator: the system's, mimalloc and jemalloc as #[global_allocator] behind a wrapper, released, with fat LTO
and in debug. The wrapper's own counts, inside the program and above the allocator, are those of the tracer below it:
in all and for each task. A library with a tokio of its own that the program loads is counted as well."""

import json
import os
import pathlib
import subprocess
import unittest

from traced import BUILD, LONG, PROGRAMS, ROOT, lost, traced

DESTRUCTOR_BYTES = 32
PLUGIN_TASKS = 25
KINDS = ("system", "mimalloc", "jemalloc")
# How it is built: cargo's options and its folder.  jemalloc is built once: its C takes a minute.
FLAVOURS = {"fat": (["--profile", "fat"], "fat"), "debug": (["--profile", "dev"], "debug")}


def jemalloc_library():
    found = sorted(PROGRAMS.glob("build/tikv-jemalloc-sys-*/out/lib/libjemalloc_pic.a"))
    return {"JEMALLOC_OVERRIDE": str(found[0])} if found else {}


def build(flavour):
    options, folder = FLAVOURS[flavour]
    target = BUILD / "allocators"
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--manifest-path", ROOT / "tests/programs/Cargo.toml",
                    "--target-dir", target, "-p", "allocators", *options], check=True, timeout=1500,
                   env={**os.environ, **jemalloc_library()})
    return target / folder


class Allocators(unittest.TestCase):
    maxDiff = None

    def check(self, folder, kind, *arguments):
        result, document, counts = traced(self, [pathlib.Path(folder) / f"allocators-{kind}", *arguments])
        self.assertEqual(result.status, 0, result.err + result.told)
        truth = json.loads(result.out)
        self.assertEqual(lost(document, but=("await_cut",)), {})  # where the plan was not ready at the abort
        self.check_totals(document, truth, counts, kind)
        self.check_tasks(document, truth)
        return document

    def check_totals(self, document, truth, counts, kind):
        """All: with an allocator that is linked in, what the wrapper counts and what C asks malloc for."""
        totals = {key: document["totals"][key] for key in ("allocations", "allocated_bytes", "frees")}
        of_both = {key: counts[key] + (truth[key] if kind != "system" else 0) for key in totals}
        self.assertEqual(totals, of_both)

    def check_tasks(self, document, truth):
        # By its name too: the ids of another tokio in the process are others.
        seen = {task["runtime_task_id"]: task for task in document["tasks"]
                if any(name in (task["future"] or "") for name in ("works", "is_aborted"))}
        of_tracer = {row["id"]: {key: seen.get(row["id"], {}).get(key)
                                 for key in ("allocations", "allocated_bytes", "live_bytes")} for row in truth["tasks"]}
        of_program = {row["id"]: {key: row[key] for key in ("allocations", "allocated_bytes", "live_bytes")}
                      for row in truth["tasks"]}
        for task, row in of_tracer.items():
            # A thread's first destructor of a thread-local costs the C library a block, which it has from malloc itself.
            more = row["allocations"] - of_program[task]["allocations"]
            self.assertIn(more, (0, 1))
            row["allocations"] -= more
            row["allocated_bytes"] -= more * DESTRUCTOR_BYTES
        self.assertEqual(of_tracer, of_program)
        ends = [seen[row["id"]]["ended"] for row in truth["tasks"]]
        self.assertEqual(ends, ["finished"] * (len(ends) - 10) + ["aborted"] * 10)

    def test_released(self):
        for kind in KINDS:
            with self.subTest(allocator=kind):
                self.check(PROGRAMS, kind)

    @unittest.skipUnless(LONG, "builds for minutes")
    def test_fat_lto(self):
        folder = build("fat")
        for kind in KINDS:
            with self.subTest(allocator=kind):
                self.check(folder, kind)

    @unittest.skipUnless(LONG, "builds for a minute")
    def test_debug(self):
        folder = build("debug")
        for kind in KINDS:
            with self.subTest(allocator=kind):
                self.check(folder, kind)

    def test_library_with_its_own_tokio(self):
        """Tasks of the plugin are counted by their own names; those of the program stay as they were."""
        for kind in KINDS:
            with self.subTest(allocator=kind):
                document = self.check(PROGRAMS, kind, PROGRAMS / "libplugin.so")
                rows = [row for row in document["by_type"] if "in_plugin" in (row["future"] or "")]
                self.assertEqual([row["tasks"] for row in rows], [PLUGIN_TASKS])
                self.assertEqual([row["live_tasks"] for row in rows], [PLUGIN_TASKS])

    def test_stripped(self):
        """Without its symbols an allocator that is linked in cannot be found: that is told, not hidden."""
        stripped = BUILD / "allocators-stripped"
        for kind in ("mimalloc", "jemalloc"):
            with self.subTest(allocator=kind):
                subprocess.run(["strip", "--strip-all", "-o", stripped, PROGRAMS / f"allocators-{kind}"], check=True)
                result, document, _ = traced(self, [stripped])
                self.assertEqual(result.status, 0)
                truth = json.loads(result.out)
                self.assertLess(document["totals"]["allocations"], truth["allocations"], "it is found now: good")
                self.assertGreater(document["lost"].get("unseen_block", 0), 1000)
                self.assertRegex(json.dumps(document["lost_reasons"]), "allocator")


if __name__ == "__main__":
    unittest.main()
