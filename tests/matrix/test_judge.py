#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The matrix's judge can say no: each check is shown an answer that is wrong in one thing.

    python3 tests/matrix/test_judge.py
"""
import copy
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dwarf_futures  # noqa: E402
import matrix  # noqa: E402
import measure_rustc  # noqa: E402
import reorder_tokio  # noqa: E402
import rustc_sizes  # noqa: E402
import snapshot_rows  # noqa: E402

LISTING = """\
print-type-size type: `{async fn body of service::inner::locked()}`: 256 bytes, alignment: 8 bytes
print-type-size type: `{async fn body of generic<[u8; 24]>()}`: 72 bytes, alignment: 8 bytes
print-type-size type: `{async fn body of generic<std::string::String>()}`: 80 bytes, alignment: 8 bytes
print-type-size type: `{async block@src/main.rs:125:31: 125:41}`: 664 bytes, alignment: 8 bytes
print-type-size type: `{async fn body of tokio::sync::mpsc::Sender<usize>::send()}`: 168 bytes, alignment: 8 bytes
print-type-size type: `std::boxed::Box<{async fn body of leaf()}>`: 8 bytes, alignment: 8 bytes
print-type-size type: `std::future::from_generator::GenFuture<[static generator@../subject/src/main.rs:27:39: 34:2]>`: 1024 bytes, alignment: 128 bytes
"""


def future(name, size=256, align=8, kind="async fn", file="src/main.rs", line=59):
    parts = dict.fromkeys(matrix.STATE_PARTS, 0)
    states = [dict(parts, name=s, unexplained_bytes=size)
              for s in ("Unresumed", "Returned", "Panicked", "Suspend0")]
    return {"name": name, "kind": kind, "file": file, "line": line, "size_bytes": size,
            "align_bytes": align, "states": states}


def document(futures, detail="full", reason=""):
    sizes = [f["size_bytes"] for f in futures]
    return {"schema": "asyncmem.types/1", "detail": detail, "detail_reason": reason, "futures": futures,
            "totals": {"count": len(futures), "total_bytes": sum(sizes), "largest_bytes": max(sizes)}}


class Names(unittest.TestCase):
    def test_generics_are_left_out_and_qualified_paths_stay(self):
        for given, plain in (("a::b<C<D>>::f", "a::b::f"), ("a::f<fn(u8) -> u8>::g", "a::f::g"),
                             ("<a::S<T> as b::H<U>>::call", "<a::S as b::H>::call")):
            self.assertEqual(rustc_sizes.strip_generics(given), plain)


class Sizes(unittest.TestCase):
    def setUp(self):
        self.sizes = rustc_sizes.Sizes()
        with tempfile.NamedTemporaryFile("w") as listing:
            listing.write(LISTING)
            listing.flush()
            self.sizes.read("subject", listing.name)

    def found(self, *args, **given):
        return sorted(e.size for e in self.sizes.find(future(*args, **given)))

    def test_only_futures_are_read(self):
        self.assertEqual(len(self.sizes.entries), 6)

    def test_functions_by_path(self):
        self.assertEqual(self.found("subject::service::inner::locked"), [256])
        self.assertEqual(self.found("subject::generic<…>"), [72, 80])
        self.assertEqual(self.found("tokio::sync::mpsc::bounded::Sender<usize>::send"), [168])
        self.assertEqual(self.found("subject::leaf", line=1), [])

    def test_blocks_by_place(self):
        block = "subject::run::{async block#0}"
        self.assertEqual(self.found(block, kind="async block", line=125), [664])
        self.assertEqual(self.found(block, kind="async block", line=126), [])

    def test_wrapped_generators_by_place(self):
        self.assertEqual(self.found("subject::middle", file="/x/subject/src/main.rs", line=27), [1024])


class Answers(unittest.TestCase):
    def setUp(self):
        self.good = document([future("subject::leaf", 224), future("subject::run", 248)])

    def refused(self, check, *args):
        with self.assertRaises(matrix.RowFailed):
            check(*args)

    def test_sums(self):
        matrix.check_sums(self.good)
        for breakage in (lambda d: d["futures"][0]["states"][3].update(slot_bytes=1),
                         lambda d: d["futures"][0]["states"].pop(1),
                         lambda d: d["totals"].update(count=3),
                         lambda d: d["totals"].update(total_bytes=471)):
            bad = copy.deepcopy(self.good)
            breakage(bad)
            self.refused(matrix.check_sums, bad)

    def test_head(self):
        full, names = matrix.ROWS["default"], matrix.ROWS["debug-0"]
        matrix.check_head(self.good, full)
        self.refused(matrix.check_head, dict(self.good, detail="names"), full)
        self.refused(matrix.check_head, dict(self.good, detail_reason="odd"), full)
        self.refused(matrix.check_head, dict(self.good, detail="names", detail_reason="no luck"), names)
        matrix.check_head(dict(self.good, detail="names", detail_reason="needs debug = 2"), names)

    def test_presence(self):
        block = dict(kind="async block")
        whole = [future(n) for n in matrix.FUNCTIONS + ["subject::generic<u8>"]] + [
            future("subject::run::{async block#0}", **block),
            future("subject::run::{async block#1}", **block),
            future("<Svc as Handler>::call::{async block#0}", **block)]
        matrix.check_presence(whole)
        for left_out in range(len(whole)):
            self.refused(matrix.check_presence, whole[:left_out] + whole[left_out + 1:])

    def test_names(self):
        for expected in matrix.TASK_NAMES.values():
            tasks = [future(name, size=None) for name in expected]
            matrix.check_names(tasks, expected)
            for left_out in range(len(tasks)):
                self.refused(matrix.check_names, tasks[:left_out] + tasks[left_out + 1:], expected)
            self.refused(matrix.check_names, tasks + tasks[:1], expected)
            self.refused(matrix.check_names, tasks[:-1] + [future(expected[-1], size=8)], expected)

    def test_same(self):
        futures = self.good["futures"]
        matrix.check_same(futures, copy.deepcopy(futures), "document")
        moved = copy.deepcopy(futures)
        moved[1]["line"] = 60
        matrix.check_same(moved, futures, "sizes")
        self.refused(matrix.check_same, moved, futures, "document")
        self.refused(matrix.check_same, futures[:1], futures, "sizes")


DUMP = """\
0x0000000b: DW_TAG_compile_unit
              DW_AT_name\t("src/main.rs/@/demo")
0x0000002a:   DW_TAG_namespace
                DW_AT_name\t("demo")
0x00000030:     DW_TAG_structure_type
                  DW_AT_name\t("{async_fn_env#0}")
0x00000040:       DW_TAG_member
                    DW_AT_name\t("{async_fn_env#0}")
0x00000041:       NULL
0x00000042:     DW_TAG_namespace
                  DW_AT_name\t("inner")
0x00000050:       DW_TAG_structure_type
                    DW_AT_name\t("{async_block_env#0}<u8>")
                    DW_AT_declaration\t(true)
0x00000060:     DW_TAG_structure_type
                  DW_AT_name\t("{async_fn_env#0}")
"""


class Dwarf(unittest.TestCase):
    def test_futures_are_counted_once_by_their_qualified_names(self):
        self.assertEqual(dwarf_futures.future_paths(DUMP.splitlines()),
                         {"demo::{async_fn_env#0}", "demo::inner::{async_block_env#0}<u8>"})


class Measuring(unittest.TestCase):
    def test_only_the_targets_crates_are_measured(self):
        build = ["rustc", "--crate-name", "subject", "--target", "x", "--emit=dep-info,link",
                 "--out-dir", "deps", "-C", "lto", "-C", "opt-level=3", "-Cstrip=symbols"]
        self.assertEqual(measure_rustc.crate_of(build), "subject")
        self.assertIsNone(measure_rustc.crate_of(["rustc", "--crate-name", "subject"]))
        args = measure_rustc.measuring_args(build, "scratch")
        self.assertNotIn("deps", args)
        self.assertNotIn("lto", args)
        self.assertIn("opt-level=3", args)


TRUTH = {"tasks": [["async", "suspended", None, "tasks::big", 2], ["async", "never_polled", None, "tasks::held", 1],
                   ["async", "finished", "unread", "tasks::kept", 1], ["worker", "running", None, "", 1]],
         "owned": [3]}


def task(number, kind, status, name, **given):
    row = {"id": number, "kind": kind, "status": status, "future": name, "finished_because": None,
           "future_also": [], "future_reason": "no layouts", "await_tree": [], "await_tree_reason": None}
    return dict(row, **given)


class Snapshots(unittest.TestCase):
    def setUp(self):
        self.good = {"notes": [], "runtimes": [{"owned_tasks": 3, "found_tasks": 3}], "tasks": [
            task(1, "async", "suspended", "tasks::big"), task(2, "async", "suspended", "tasks::big"),
            task(3, "async", "never_polled", "tasks::held"),
            task(4, "async", "finished", "tasks::kept", finished_because="its JoinHandle is kept but ..."),
            task(5, "worker", "running", "launch"), task(6, "root", "suspended", "main")]}
        self.named = copy.deepcopy(self.good)
        self.named["tasks"][2]["status"] = "queued"

    def refused(self, check, document, **wrong):
        bad = copy.deepcopy(document)
        for position, keys in wrong.items():
            bad["tasks"][int(position[1:])].update(keys)
        with self.assertRaises(snapshot_rows.Wrong):
            check(TRUTH, bad)

    def test_all_equal(self):
        check = snapshot_rows.check_all_equal
        check(TRUTH, self.good)
        for wrong in ({"status": "queued"}, {"kind": "blocking"}, {"future": "tasks::held"}, {"future": None},
                      {"kind": "root"}):
            self.refused(check, self.good, t0=wrong)
        self.refused(check, self.good, t3={"finished_because": "1 waker or abort handle keeps the cell"})

    def test_a_merged_name_is_right_when_the_other_is_told(self):
        merged = {"future": "tasks::kept", "future_also": ["tasks::big"]}
        self.good["tasks"][0].update(merged)
        snapshot_rows.check_all_equal(TRUTH, self.good)
        self.refused(snapshot_rows.check_all_equal, self.good, t0={"future_also": ["tasks::held"]})

    def test_owned(self):
        snapshot_rows.check_owned(TRUTH, self.good)
        self.good["runtimes"][0]["owned_tasks"] = 4
        self.refused(snapshot_rows.check_owned, self.good)

    def test_without_layouts(self):
        check = snapshot_rows.check_nothing_invented
        self.assertEqual(check(TRUTH, self.named), 4)
        for wrong in ({"future": "tasks::held"}, {"future_reason": None}, {"await_tree": [{}]},
                      {"future": "tasks::kept"}):
            self.refused(check, self.named, t0=wrong)
        snapshot_rows.check_statuses(TRUTH, self.named)
        self.refused(snapshot_rows.check_statuses, self.named, t0={"status": "queued"})

    def test_an_unknown_tokio_is_told(self):
        check = snapshot_rows.judge_unknown
        check(TRUTH, self.named)
        self.refused(check, self.named, t0={"status": "running"})
        del self.named["tasks"][0]
        self.refused(check, self.named)
        self.named["notes"] = ["its tokio has another order"]
        check(TRUTH, self.named)


class Reordering(unittest.TestCase):
    def test_fields_move_with_their_comments(self):
        source = "struct Header {\n    /// One.\n    pub(super) one: A<B, C>,\n\n    pub(super) two: D,\n}\n"
        self.assertEqual(reorder_tokio.reorder(source, "Header", ["two"]),
                         "struct Header {\n\n    pub(super) two: D,\n    /// One.\n    pub(super) one: A<B, C>,\n}\n")
        with self.assertRaises(ValueError):
            reorder_tokio.reorder(source, "Header", ["three"])


class Table(unittest.TestCase):
    def test_rows_lean_on_rows_and_expect_something(self):
        for name, spec in matrix.ROWS.items():
            self.assertTrue(set(spec["needs"]) <= set(matrix.ROWS), name)
            self.assertIn(spec["detail"], ("full", "names", "none"))
            if spec["crate"] == "subject":
                self.assertEqual(spec["sizes"] is None, spec["detail"] != "full", name)


if __name__ == "__main__":
    unittest.main()
