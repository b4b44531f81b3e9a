#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The oracle itself: it reads rustc's listing rightly, accepts a true report and refuses each false one."""

import copy
import unittest

import rust_names
import rustc_listing
import types_oracle

# Two variables `x` at the second await; an upvar that is moved into a local; a drop flag; a zero-sized slot.
LISTING = """\
print-type-size type: `other::Thing`: 8 bytes, alignment: 8 bytes
print-type-size     field `.a`: 8 bytes
print-type-size type: `{async fn body of net::Conn::read<std::string::String>()}`: 192 bytes, alignment: 8 bytes
print-type-size     discriminant: 1 bytes
print-type-size     variant `Unresumed`: 8 bytes
print-type-size         upvar `.self`: 8 bytes, offset: 0 bytes, alignment: 8 bytes
print-type-size     variant `Suspend0`: 120 bytes
print-type-size         upvar `.self`: 8 bytes, offset: 0 bytes, alignment: 8 bytes
print-type-size         local `.self`: 8 bytes
print-type-size         local `.x`: 100 bytes
print-type-size         padding: 4 bytes
print-type-size         local `.mark`: 0 bytes, alignment: 1 bytes
print-type-size         local `.__awaitee`: 1 bytes, alignment: 1 bytes, type: {async fn body of nap()}
print-type-size     variant `Suspend1`: 159 bytes
print-type-size         upvar `.self`: 8 bytes, offset: 0 bytes, alignment: 8 bytes
print-type-size         local `.self`: 8 bytes
print-type-size         local `.x`: 100 bytes
print-type-size         padding: 4 bytes
print-type-size         local `.__awaitee`: 1 bytes, alignment: 1 bytes, type: {async fn body of nap()}
print-type-size         local `..coroutine_field7`: 1 bytes, type: bool
print-type-size         padding: 6 bytes
print-type-size         local `.y`: 8 bytes, alignment: 8 bytes
print-type-size         local `.x`: 24 bytes
print-type-size     variant `Returned`: 8 bytes
print-type-size         upvar `.self`: 8 bytes, offset: 0 bytes, alignment: 8 bytes
print-type-size     variant `Panicked`: 8 bytes
print-type-size         upvar `.self`: 8 bytes, offset: 0 bytes, alignment: 8 bytes
print-type-size     end padding: 31 bytes
"""


def slot(name, offset, size, upvar=False):
    return {"name": name, "type": "T", "offset_bytes": offset, "size_bytes": size, "upvar": upvar}


def state(name, slots, shares, hidden=0, awaits="demo::nap"):
    counts = dict(zip(types_oracle.SHARES, shares))
    point = {"file": "net.rs", "line": 3, "future": awaits} if name.startswith("Suspend") else None
    return {"name": name, "await": point, "slots": slots, "hidden_slots": hidden, "discriminant_bytes": 1,
            **counts}


def true_report():
    """What is true of the listing while the first `x` is the visible one."""
    first = [slot("self", 8, 8), slot("x", 16, 100), slot("mark", 120, 0)]
    second = [slot("self", 8, 8), slot("x", 16, 100), slot("__2", 121, 1), slot("y", 128, 8)]
    states = [
        state("Unresumed", [slot("self", 0, 8, True)], (8, 0, 0, 118, 66)),
        state("Suspend0", first, (108, 1, 8, 9, 66)),
        state("Suspend1", second, (117, 1, 8, 0, 66), hidden=1),
        state("Returned", [], (0, 0, 8, 118, 66)),
        state("Panicked", [], (0, 0, 8, 118, 66)),
    ]
    future = {"name": "demo::net::conn::Conn::read<String>", "kind": "async fn", "file": "net.rs", "line": 1,
              "size_bytes": 192, "align_bytes": 8, "states": states, "chain": []}
    totals = {"count": 1, "total_bytes": 192, "mean_bytes": 192, "largest_bytes": 192}
    return {"futures": [future], "totals": totals}


class Oracle(unittest.TestCase):
    def setUp(self):
        self.layout = rustc_listing.parse(LISTING.splitlines(), "demo")[0]
        self.report = true_report()
        self.future = self.report["futures"][0]

    def problems(self):
        return types_oracle.Comparison(self.future, self.layout).problems

    def test_offsets_are_worked_out(self):
        entries = self.layout.states["Suspend1"]
        self.assertEqual([(e.name, e.offset, e.size) for e in entries],
                         [("self", 0, 8), ("self", 8, 8), ("x", 16, 100), ("__awaitee", 120, 1),
                          (rustc_listing.UNNAMED, 121, 1), ("y", 128, 8), ("x", 136, 24)])

    def test_unknown_line_is_an_error(self):
        lines = LISTING.replace("padding: 6", "stuffing: 6").splitlines()
        self.assertRaises(rustc_listing.ListingError, rustc_listing.parse, lines, "demo")

    def test_true_report_is_accepted(self):
        self.assertEqual(self.problems(), [])
        self.assertEqual(types_oracle.totals_problems(self.report), [])

    def test_the_other_of_two_merged_slots_is_accepted(self):
        second = self.future["states"][2]
        second["slots"][1] = slot("x", 136, 24)
        second.update(slot_bytes=41, unexplained_bytes=142)
        # The other states now see 136..160 as somebody's.
        for number, share in ((0, 142), (1, 33), (3, 142), (4, 142)):
            self.future["states"][number].update(other_states_bytes=share, unexplained_bytes=42)
        self.assertEqual(self.problems(), [])

    def test_each_falsehood_is_refused(self):
        def change(path, value):
            *way, last = path
            place = self.future
            for step in way:
                place = place[step]
            place[last] = value

        falsehoods = {
            "size": (["size_bytes"], 200),
            "alignment": (["align_bytes"], 16),
            "state renamed": (["states", 1, "name"], "Suspend9"),
            "slot renamed": (["states", 1, "slots", 1, "name"], "z"),
            "slot of another size": (["states", 1, "slots", 1, "size_bytes"], 99),
            "slot elsewhere": (["states", 1, "slots", 1, "offset_bytes"], 20),
            "slot called an upvar": (["states", 1, "slots", 0, "upvar"], True),
            "slot missing": (["states", 2, "slots"], self.future["states"][2]["slots"][:-1]),
            "slot twice": (["states", 1, "slots"], self.future["states"][1]["slots"][:1] * 2),
            "hidden slot not counted": (["states", 2, "hidden_slots"], 0),
            "slot_bytes": (["states", 1, "slot_bytes"], 109),
            "awaited_bytes": (["states", 1, "awaited_bytes"], 2),
            "dead_upvar_bytes": (["states", 1, "dead_upvar_bytes"], 0),
            "other_states_bytes": (["states", 1, "other_states_bytes"], 10),
            "unexplained_bytes": (["states", 1, "unexplained_bytes"], 65),
            "discriminant_bytes": (["states", 1, "discriminant_bytes"], 2),
            "await missing": (["states", 1, "await"], None),
            "await of another future": (["states", 1, "await", "future"], "demo::sleep"),
            "await where nothing waits": (["states", 0, "await"], {"future": "demo::nap"}),
        }
        for name, (path, value) in falsehoods.items():
            with self.subTest(name):
                self.setUp()
                change(path, copy.deepcopy(value))
                self.assertNotEqual(self.problems(), [])

    def test_wrong_totals_are_refused(self):
        for key in self.report["totals"]:
            with self.subTest(key):
                totals = dict(self.report["totals"])
                totals[key] += 2
                self.assertNotEqual(types_oracle.totals_problems({**self.report, "totals": totals}), [])


class RustNames(unittest.TestCase):
    def test_keys(self):
        for text, key, modules, generics in [
            ("tokio::sync::mutex::Mutex<T>::lock<u64>", "Mutex::lock", ("tokio", "sync", "mutex"), ("T", "u64")),
            ("<kinds::Svc as kinds::Handler<a::B>>::call", "<Svc as Handler>::call", (), ("B",)),
            ("a::f<&'static str, alloc::vec::Vec<u8, alloc::alloc::Global>>", "f", ("a",), ("&str", "Vec<u8>")),
            ("a::Child::wait::{closure#0}::read::<X>", "Child::wait::read", ("a",), ("X",)),
            ("run<{async fn body of a::stop()}>", "run", (), ("stop",)),
            ("p::{impl#5}::wait", "{impl#5}::wait", ("p",), ()),
            ("f<Box<dyn a::Error + a::Sync + b::Send>>", "f", (), ("Box<dynError+Send+Sync>",)),
            ("f<fn(u8) -> Vec<u8>, u8>", "f", (), ("fn(u8)->Vec<u8>", "u8")),
        ]:
            path = rust_names.parse_path(text)
            self.assertEqual((path.key, path.modules, path.generics), (key, modules, generics))

    def test_re_exports(self):
        self.assertTrue(rust_names.re_exported(("tokio", "sync"), ("tokio", "sync", "mutex")))
        self.assertFalse(rust_names.re_exported(("tokio", "sync"), ("futures", "sync")))
        self.assertFalse(rust_names.re_exported(("tokio", "net"), ("tokio", "sync", "mutex")))

    def test_generics(self):
        self.assertTrue(rust_names.generics_agree(("T", "u64"), ("u64",)))
        self.assertFalse(rust_names.generics_agree(("u32",), ("u64",)))
        self.assertTrue(rust_names.generics_agree(("{closure#0}",), ("{closure@a.rs:1:2:1:3}",)))
        self.assertFalse(rust_names.generics_agree(("nap",), ("{asyncblock@a.rs:1:2:1:3}",)))


if __name__ == "__main__":
    unittest.main()
