#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Snapshots of programs that run under `asyncmem run`: of each held variable the exact sizes, who allocated it and
where, with any allocator; and all that an untraced program's snapshot tells is told as before."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from traced import ASYNCMEM, PROGRAMS, ROOT, child_of, wait_until

sys.path.insert(0, str(ROOT / "tests" / "snapshot"))
from ends import ends, frame_of, judge, judge_variables  # noqa: E402
from subjects import Subject, ask, snapshot  # noqa: E402

KINDS = ("system", "mimalloc", "jemalloc")
HOLDING = "allocators/src/holding.rs"


class Traced(Subject):
    """A subject under `asyncmem run`; `pid` is the program's own."""

    def __init__(self, test, program, *arguments, options=()):
        folder = tempfile.TemporaryDirectory(prefix="asyncmem-snapshot-of-run-")
        test.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        path = PROGRAMS / program
        super().__init__(ASYNCMEM, "run", "-o", self.folder / "run.amem", "--no-report", *options, "--", path,
                         *arguments, stderr=subprocess.DEVNULL)
        self.recorder = self.pid
        self.program = os.path.realpath(path)

    def truth(self):
        truth = json.loads(self.line())
        children = pathlib.Path(f"/proc/{self.recorder}/task/{self.recorder}/children").read_text().split()
        self.pid, = [int(child) for child in children if os.readlink(f"/proc/{child}/exe") == self.program]
        return truth


def slot_of(document, variable):
    task, = [task for task in document["tasks"] if task["runtime_task_id"] == variable["task"]]
    frames = [frame for frame in task["await_tree"] if (frame["future"] or "").endswith("serves")]
    slot, = [slot for slot in frames[0]["slots"] if slot["name"] == variable["name"]]
    return task, slot


def origins_of(slot):
    """As the truth has them: by line of the program's own, summed up."""
    rows = {}
    for origin in slot["allocated_by"] or []:
        where = (origin["line"] if (origin["file"] or "").endswith(HOLDING) else origin["file"],
                 origin["runtime_task_id"])
        blocks, requested = rows.get(where, (0, 0))
        rows[where] = (blocks + origin["blocks"], requested + origin["requested_bytes"])
    return rows


class AnyAllocator(unittest.TestCase):
    maxDiff = None

    def check_variable(self, document, variable):
        task, slot = slot_of(document, variable)
        self.assertEqual(task["held_is"], "exact", task["held_reason"])
        self.assertEqual((slot["heap_bytes"], slot["heap_is"], slot["requested_bytes"]),
                         (variable["usable"], "exact", variable["requested"]), (variable, slot))
        truth = {(origin["line"], origin["by"]): (origin["blocks"], origin["requested"])
                 for origin in variable["origins"]}
        self.assertEqual(origins_of(slot), truth, (variable, slot))
        by_id = {one["runtime_task_id"]: one["id"] for one in document["tasks"]}
        for origin in slot["allocated_by"]:
            # Of this snapshot, if it lives; the child that made `left` has ended.
            self.assertEqual(origin["task"], by_id.get(origin["runtime_task_id"]))
            self.assertEqual(origin["task"] is None, variable["name"] == "left")
            self.assertIn("allocators::holding::", origin["future"])

    def check(self, kind):
        with Traced(self, f"allocators-{kind}", "hold") as subject:
            truth = subject.truth()["variables"]
            document = snapshot(subject.pid)
            self.assertEqual(subject.finish(), 0)
        self.assertEqual(document["notes"], [])
        for variable in truth:
            self.check_variable(document, variable)
        return document

    def check_heap(self, heap):
        parts = ("cells_bytes", "held_bytes", "maybe_held_bytes", "shared_bytes", "runtime_bytes", "other_bytes",
                 "unknown_bytes")
        self.assertIsNone(heap["problem"])
        self.assertEqual(heap["live_bytes"], sum(heap[part] for part in parts))

    def test_system(self):
        document = self.check("system")
        self.check_heap(document["heap"])
        self.assertEqual(document["heap"]["allocator"], "glibc malloc")

    def test_mimalloc(self):
        document = self.check("mimalloc")
        self.check_heap(document["heap"])
        self.assertEqual(document["heap"]["allocator"], "mimalloc")
        self.assertIsNone(document["heap"]["retained_bytes"])

    def test_jemalloc(self):
        document = self.check("jemalloc")
        self.check_heap(document["heap"])
        self.assertEqual(document["heap"]["allocator"], "jemalloc")

    def test_spawned_by(self):
        with Traced(self, "allocators-system", "hold") as subject:
            subject.truth()
            document = snapshot(subject.pid)
        spawned = [task["spawned_by"] for task in document["tasks"] if task["future"] == "allocators::holding::serves"]
        self.assertTrue(spawned)
        for one in spawned:
            self.assertTrue(one["is_thread"])
            self.assertEqual(one["thread"], "allocators-syst")  # as the kernel cuts it
            self.assertTrue(one["file"].endswith(HOLDING), one)


class AsUntraced(unittest.TestCase):
    """The ends of tasks free what is said, and the variables hold what they say, with all ways to hold memory."""

    def expect_none(self, problems):
        if problems:
            self.fail(f"{len(problems)} differ\n" + "\n".join(problems))

    def requested_of(self, document, cases):
        by_id = {task["runtime_task_id"]: task for task in document["tasks"]}
        for case in cases:
            task = by_id.get(case["ids"][0])
            for say in case["says"] if task else ():
                frame = frame_of(task, say, "holds")
                slots = [slot for slot in frame["slots"] if slot["name"] == say["slot"]] if frame else []
                if say["status"] == "live" and say["bytes"] and len(slots) == 1 and task["held_is"] == "exact":
                    yield case, say, slots[0]

    def test_every_way_to_hold(self):
        with Traced(self, "holds", 1) as subject:
            cases = subject.truth()["tasks"]
            document = snapshot(subject.pid)
            freed = ends(subject, cases)
        judged = judge(document, cases, freed)
        self.expect_none(judged.problems)
        self.expect_none(judge_variables(document, cases, "holds"))
        self.assertGreaterEqual(judged.exact_bytes, 0.9 * judged.all_bytes)
        compared = list(self.requested_of(document, cases))
        self.assertGreater(len(compared), 150)
        for case, say, slot in compared:
            with self.subTest(case=case["name"], slot=say["slot"]):
                self.assertEqual(slot["requested_bytes"], say["requested"])
                self.assertEqual(sum(origin["requested_bytes"] for origin in slot["allocated_by"]), say["requested"])


class Told(unittest.TestCase):
    def test_text_and_file(self):
        with Traced(self, "allocators-system", "hold") as subject:
            truth = subject.truth()["variables"]
            file = subject.folder / "one.amem"
            ask("snapshot", "-o", file, subject.pid)
            document = json.loads(ask("report", "--json", file).stdout)
            task, _ = slot_of(document, truth[0])
            shown = ask("report", "--task", task["id"], file).stdout
            variables = ask("report", "--group", "variable", file).stdout
        for variable in (row for row in truth if row["task"] == truth[0]["task"]):
            line = variable["origins"][0]["line"]
            self.assertRegex(shown, rf"from \S+.* \(\S*holding.rs:{line}\), allocated by ", variable)
        self.assertRegex(shown, r"allocated by itself")
        self.assertRegex(shown, r"allocated by task \d+ gives")
        self.assertRegex(shown, r"allocated by an ended task \S+")
        self.assertIn("Spawned by: thread allocators-syst", shown)
        self.assertIn("most of it from", variables)

    def test_without_its_recorder(self):
        """It was killed: the region is read through the program, where nothing else has it."""
        with Traced(self, "allocators-system", "hold") as subject:
            truth = subject.truth()["variables"]
            os.kill(subject.recorder, 9)
            subject.process.wait(60)
            program = subject.pid
            try:
                document = snapshot(program)
            finally:
                os.kill(program, 9)
        for variable in truth:
            _, slot = slot_of(document, variable)
            self.assertEqual((slot["heap_bytes"], slot["requested_bytes"]), (variable["usable"], variable["requested"]))

    def test_without_stacks(self):
        with Traced(self, "allocators-system", "hold", options=("--stacks", "none")) as subject:
            truth = subject.truth()["variables"]
            document = snapshot(subject.pid)
        for variable in truth:
            _, slot = slot_of(document, variable)
            self.assertEqual(slot["requested_bytes"], variable["requested"])
            self.assertTrue(all(origin["line"] is None for origin in slot["allocated_by"]))


class BeforeShutdown(unittest.TestCase):
    """A runtime takes a task out of its list and then drops it: the stored snapshot has those that are on the way, too."""

    def stored(self, *command, text=None):
        """The report, and its snapshot from before a runtime dropped its tasks."""
        with tempfile.TemporaryDirectory(prefix="asyncmem-shutdown-") as folder:
            file = pathlib.Path(folder) / "run.amem"
            subprocess.run([ASYNCMEM, "run", "-o", file, "--no-report", "--", *command], input=text, text=True,
                           stdout=subprocess.DEVNULL, timeout=120, check=True)
            report = json.loads(ask("report", "--json", file).stdout)
        kept, = [row["snapshot"] for row in report["snapshots"] if row["why"] == "shutdown"]
        return report, kept

    def test_workers_side_by_side(self):
        report, kept = self.stored(PROGRAMS / "chat-server", "200")
        waiting = [task for task in kept["tasks"] if task["future"] == "chat_server::deliver"]
        self.assertEqual(len(waiting), 200)
        row, = [row for row in report["by_type"] if row["future"] == "chat_server::deliver"]
        self.assertEqual((row["tasks"], row["dropped"]), (200, 200))
        packets = [slot["requested_bytes"] for task in waiting for frame in task["await_tree"] for slot in frame["slots"]
                   if slot["name"] == "packet"]
        self.assertEqual(packets, [4096] * 200)

    def test_one_thread_after_another_runtime(self):
        """Another runtime was dropped a moment before, with fewer tasks; one with fewer tasks follows."""
        _, kept = self.stored(PROGRAMS / "planted", text="held\nraw\nruntime\nend\n")
        names = sorted(task["future"] for task in kept["tasks"])
        self.assertEqual(names, ["core::future::pending::Pending<()>", "planted::has_raw", "planted::holds",
                                 "planted::large_cell"])
        slot, = [slot for task in kept["tasks"] for frame in task["await_tree"] for slot in frame["slots"]
                 if slot["name"] == "held"]
        self.assertEqual(slot["requested_bytes"], 107_000)


if __name__ == "__main__":
    unittest.main()
