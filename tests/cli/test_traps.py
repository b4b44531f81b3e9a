#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem types --json` on tests/programs/traps: a test for each trap, held against the trap's own truth.

Lines come from the markers in the source (`// @await:NAME`, `// @fn:NAME`, `// @macro:NAME`), sizes from the
types written there. ASYNCMEM names the program (build/asyncmem), ASYNCMEM_PROGRAMS the target directory the
Rust programs are built into (build/programs/target).
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORKSPACE = ROOT / "tests" / "programs"
ASYNCMEM = pathlib.Path(os.environ.get("ASYNCMEM", ROOT / "build" / "asyncmem"))
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", ROOT / "build" / "programs" / "target"))
SHARES = ["slot_bytes", "awaited_bytes", "dead_upvar_bytes", "other_states_bytes", "unexplained_bytes"]
NAP_BYTES = 24  # traps::nap: what the tests below call the awaited share


@functools.cache
def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", str(PROGRAMS),
               "-p", "traps", "-p", "nofutures"]
    subprocess.run(command, cwd=WORKSPACE, check=True, timeout=1500,
                   env=dict(os.environ, CARGO_PROFILE_RELEASE_DEBUG="2"))


@functools.cache
def report(program="traps"):
    build()
    command = [str(ASYNCMEM), "types", str(PROGRAMS / "release" / program), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=120)
    return json.loads(done.stdout)


@functools.cache
def markers():
    """(kind, name) -> (file name, line). A `@fn` marker means the line below it."""
    found = {}
    for path in sorted((WORKSPACE / "traps" / "src").glob("*.rs")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := re.search(r"// @(await|fn|macro):(\S+)$", line):
                if (match[1], match[2]) in found:
                    raise ValueError(f"{path}:{number}: the marker {match[0]} is there twice")
                found[match[1], match[2]] = (path.name, number + (match[1] == "fn"))
    return found


class Traps(unittest.TestCase):
    """What the tests share."""

    def future(self, name):
        found = [future for future in report()["futures"] if future["name"] == name]
        if not found:
            last = re.sub(r"<.*", "", name.split("::")[-1])
            near = [f["name"] for f in report()["futures"] if last in f["name"] and "briefly" not in f["name"]]
            self.fail(f"no future is named {name}; near it: {near}")
        self.assertEqual(len(found), 1, f"{name} must be there once")
        return found[0]

    def suspends(self, future):
        return [state for state in future["states"] if state["name"].startswith("Suspend")]

    def states_at(self, future, marker, count=1):
        """The states whose await point is the marked line."""
        file, line = markers()["await", marker]
        awaits = [state["await"] for state in self.suspends(future)]
        found = [state for state in self.suspends(future) if state["await"]["line"] == line
                 and pathlib.PurePath(state["await"]["file"]).name == file]
        places = [f"{a['file']}:{a['line']}" for a in awaits]
        self.assertEqual(len(found), count, f"{future['name']} at {file}:{line}; its awaits: {places}")
        return found

    def state_at(self, future, marker):
        return self.states_at(future, marker)[0]

    def slots(self, state):
        """Name -> size; zero-sized slots do not matter."""
        named = {slot["name"]: slot["size_bytes"] for slot in state["slots"] if slot["size_bytes"] > 0}
        self.assertEqual(len(named), sum(slot["size_bytes"] > 0 for slot in state["slots"]), state["slots"])
        return named

    def assert_slots(self, state, /, **expected):
        self.assertEqual(self.slots(state), expected)
        self.assertEqual(state["slot_bytes"], sum(expected.values()))

    def unnamed(self, state):
        """The slots without a name of the user's: [(type, size)]."""
        return [(slot["type"], slot["size_bytes"]) for slot in state["slots"]
                if re.fullmatch(r"__\d+", slot["name"])]

    def assert_place(self, future, marker):
        file, line = markers()["fn", marker]
        self.assertEqual((pathlib.PurePath(future["file"]).name, future["line"]), (file, line))


class EveryFuture(Traps):
    """What holds for each future type of the program."""

    def test_document(self):
        document = report()
        self.assertEqual(document["schema"], "asyncmem.types/1")
        self.assertEqual(document["detail"], "full")
        self.assertRegex(document["build_id"] or "", r"^[0-9a-f]{40}$")

    def test_shares_sum_to_the_size(self):
        for future in report()["futures"]:
            for state in future["states"]:
                with self.subTest(future=future["name"], state=state["name"]):
                    self.assertEqual(sum(state[share] for share in SHARES), future["size_bytes"])
                    self.assertLessEqual(state["discriminant_bytes"], state["unexplained_bytes"])

    def test_await_on_suspended_states_only(self):
        for future in report()["futures"]:
            for state in future["states"]:
                with self.subTest(future=future["name"], state=state["name"]):
                    suspended = state["name"].startswith("Suspend")
                    self.assertEqual(state["await"] is not None, suspended)

    def test_slots_do_not_overlap_nor_leave_the_future(self):
        for future in report()["futures"]:
            for state in future["states"]:
                with self.subTest(future=future["name"], state=state["name"]):
                    end = 0
                    for slot in sorted(state["slots"], key=lambda slot: slot["offset_bytes"]):
                        if slot["size_bytes"] > 0:
                            self.assertGreaterEqual(slot["offset_bytes"], end, slot)
                            end = slot["offset_bytes"] + slot["size_bytes"]
                    self.assertLessEqual(end, future["size_bytes"])

    def test_no_awaited_future_nor_discriminant_among_the_slots(self):
        names = {slot["name"] for f in report()["futures"] for s in f["states"] for slot in s["slots"]}
        self.assertFalse(names & {"__awaitee", "__state"})

    def test_every_await_has_every_key(self):
        """A document that only grows has each key in each row, null where there is nothing to say."""
        keys = {"file", "line", "in_macro", "macro_file", "macro_line", "future", "waits_for"}
        missing = {key for future in report()["futures"] for state in self.suspends(future)
                   for key in keys - set(state["await"])}
        self.assertEqual(missing, set())

    def test_totals(self):
        sizes = [future["size_bytes"] for future in report()["futures"]]
        totals = report()["totals"]
        self.assertEqual(totals["count"], len(sizes))
        self.assertEqual(totals["total_bytes"], sum(sizes))
        self.assertEqual(totals["largest_bytes"], max(sizes))

    def test_every_marked_await_is_found(self):
        """No await point is lost, whatever the future is called."""
        seen = set()
        for future in report()["futures"]:
            for state in self.suspends(future):
                seen.add((pathlib.PurePath(state["await"]["file"]).name, state["await"]["line"]))
        marked = {place for (kind, _), place in markers().items() if kind == "await"}
        self.assertEqual(sorted(marked - seen), [])

    def test_every_marked_future_is_found(self):
        seen = {(pathlib.PurePath(f["file"] or "").name, f["line"]) for f in report()["futures"]}
        marked = {place for (kind, _), place in markers().items() if kind == "fn"}
        self.assertEqual(sorted(marked - seen), [])

    def test_names_carry_no_compiler_noise(self):
        noise = re.compile(r"_env#|\{async_|\{\{closure")
        self.assertEqual([f["name"] for f in report()["futures"] if noise.search(f["name"])], [])

    def test_names_of_the_program_itself_tell_the_type_of_an_impl(self):
        """Of tokio's unused methods the binary has types but no symbol: nothing in it tells their impl's
        type. The program's own methods are all there."""
        own = [f["name"] for f in report()["futures"]
               if pathlib.PurePath(f["file"] or "").name in {file for file, _ in markers().values()}
               and "traps" in (f["file"] or "")]
        self.assertGreater(len(own), 100)
        self.assertEqual([name for name in own if "{impl#" in name], [])


class NoFutures(unittest.TestCase):
    def test_a_program_without_futures(self):
        document = report("nofutures")
        self.assertEqual(document["futures"], [])
        self.assertEqual(document["totals"]["count"], 0)
        self.assertEqual(document["totals"]["total_bytes"], 0)


class Variables(Traps):
    """Which variables have a slot."""

    def named_like(self, beginning):
        found = [future for future in report()["futures"] if future["name"].startswith(beginning)]
        self.assertEqual(len(found), 1, beginning)
        return found[0]

    def test_function_item_has_no_bytes(self):
        state = self.state_at(self.named_like("traps::slots::function_item<"), "function_item")
        sizes = {slot["name"]: slot["size_bytes"] for slot in state["slots"]}
        self.assertEqual(sizes, {"f": 0, "n": 1})

    def test_local_at_the_place_of_an_empty_argument(self):
        state = self.state_at(self.named_like("traps::slots::empty_argument<"), "empty_argument")
        sizes = {slot["name"]: slot["size_bytes"] for slot in state["slots"]}
        self.assertEqual(sizes["g"], 1)
        self.assertEqual(state["hidden_slots"], 0)

    def test_shadowed_local_is_hidden(self):
        future = self.future("traps::slots::shadowed")
        self.assert_place(future, "shadowed")
        first = self.state_at(future, "shadow_first")
        self.assert_slots(first, x=100)
        self.assertEqual(first["hidden_slots"], 0)
        second = self.state_at(future, "shadow_second")
        slots = self.slots(second)
        self.assertEqual(set(slots), {"x", "first"})
        self.assertIn(slots["x"], (100, 24))
        self.assertEqual(second["hidden_slots"], 1)
        self.assertGreaterEqual(second["unexplained_bytes"], 124 - slots["x"])

    def test_two_shadowed_locals_are_hidden(self):
        future = self.future("traps::slots::shadowed_thrice")
        state = self.state_at(future, "shadow_three")
        slots = self.slots(state)
        self.assertEqual(set(slots), {"step", "first", "second"})
        self.assertIn(slots["step"], (40, 56, 72))
        self.assertEqual(state["hidden_slots"], 2)
        self.assertGreaterEqual(state["unexplained_bytes"], 40 + 56 + 72 - slots["step"])

    def test_doubled_arguments_are_dead_upvars(self):
        state = self.state_at(self.future("traps::slots::doubled"), "doubled")
        self.assert_slots(state, name=24, count=8)
        self.assertEqual(state["dead_upvar_bytes"], 32)
        self.assertEqual(state["hidden_slots"], 0)
        self.assertEqual(state["awaited_bytes"], NAP_BYTES)
        self.assertFalse(any(slot["upvar"] for slot in state["slots"]))

    def test_arguments_are_slots_before_the_first_poll(self):
        future = self.future("traps::slots::doubled")
        unresumed = next(state for state in future["states"] if state["name"] == "Unresumed")
        self.assert_slots(unresumed, name=24, count=8)
        self.assertEqual(unresumed["dead_upvar_bytes"], 0)

    def test_argument_not_kept_across_the_await(self):
        state = self.state_at(self.future("traps::slots::not_kept"), "not_kept")
        self.assert_slots(state, half=8)
        self.assertEqual(state["dead_upvar_bytes"], 8)

    def test_argument_given_away(self):
        state = self.state_at(self.future("traps::slots::given_away"), "given_away")
        self.assert_slots(state)
        self.assertEqual(state["dead_upvar_bytes"], 24)

    def test_argument_borrowed_then_given_away_keeps_its_slot(self):
        future = self.future("traps::slots::borrowed_then_given_away")
        state = self.state_at(future, "borrowed_then_given_away")
        self.assertEqual(self.slots(state)["words"], 24)
        self.assertEqual(state["dead_upvar_bytes"], 24)

    def test_drop_flag_of_a_maybe_moved_variable(self):
        state = self.state_at(self.future("traps::slots::maybe_moved"), "maybe_moved")
        self.assertEqual(self.slots(state)["load"], 24)
        self.assertEqual(self.unnamed(state), [("bool", 1)])
        self.assertEqual(state["slot_bytes"], 25)
        self.assertEqual(state["dead_upvar_bytes"], 1)

    def test_two_drop_flags(self):
        state = self.state_at(self.future("traps::slots::maybe_moved_two"), "maybe_moved_two")
        slots = self.slots(state)
        self.assertEqual((slots["first"], slots["second"]), (24, 24))
        self.assertEqual(self.unnamed(state), [("bool", 1)] * 2)
        self.assertEqual(state["dead_upvar_bytes"], 2)

    def test_variable_out_of_scope_has_no_slot(self):
        future = self.future("traps::slots::out_of_scope")
        self.assert_slots(self.state_at(future, "out_of_scope"), last=1)
        self.assertLess(future["size_bytes"], 2048)

    def test_variables_of_other_states(self):
        future = self.future("traps::slots::one_after_the_other")
        early = self.state_at(future, "early")
        late = self.state_at(future, "late")
        self.assert_slots(early, early=600)
        self.assert_slots(late, late=200)
        # `late` lies where `early` was, and either awaits a nap: what is left of the larger is the other's.
        self.assertEqual(early["other_states_bytes"], 0)
        self.assertEqual(late["other_states_bytes"], (600 + NAP_BYTES) - (200 + NAP_BYTES))

    def test_unnamed_temporary(self):
        state = self.state_at(self.future("traps::slots::temporary"), "temporary")
        temporaries = self.unnamed(state)
        self.assertEqual([size for _, size in temporaries], [24])
        self.assertRegex(temporaries[0][0], r"String$")

    def test_scrutinee_of_a_match(self):
        state = self.state_at(self.future("traps::slots::scrutinee"), "scrutinee")
        temporaries = self.unnamed(state)
        self.assertEqual([size for _, size in temporaries], [24])
        self.assertRegex(temporaries[0][0], r"Vec<u8")
        self.assertEqual(self.slots(state)["first"], 8)

    def test_guard_across_an_await(self):
        state = self.state_at(self.future("traps::slots::guard_across_await"), "guard_across_await")
        self.assert_slots(state, guard=16)
        self.assertRegex(state["slots"][0]["type"], r"MutexGuard<u64")
        self.assertEqual(state["dead_upvar_bytes"], 8)

    def test_parts_of_a_pattern(self):
        self.assert_slots(self.state_at(self.future("traps::slots::pattern"), "pattern"), left=32, right=24)

    def test_discriminant_of_two_bytes(self):
        future = self.future("traps::slots::wide_discriminant")
        self.assertGreater(len(self.suspends(future)), 256)
        for state in future["states"]:
            self.assertEqual(state["discriminant_bytes"], 2)
        self.assert_slots(self.state_at(future, "wide_discriminant"), kept=9)


class Names(Traps):
    """What futures are called, where they start and of which kind they are."""

    def check(self, name, marker, kind, awaits=None):
        future = self.future(name)
        self.assertEqual(future["kind"], kind)
        self.assert_place(future, marker)
        return self.state_at(future, awaits or marker)

    def test_generic_instances(self):
        number = self.check("traps::kinds::generic<u32>", "generic", "async fn")
        text = self.check("traps::kinds::generic<String>", "generic", "async fn")
        self.assert_slots(number, value=4)
        self.assert_slots(text, value=24)
        self.assertNotEqual(self.future("traps::kinds::generic<u32>")["size_bytes"],
                            self.future("traps::kinds::generic<String>")["size_bytes"])

    def test_const_generic_instances(self):
        for length in (16, 48):
            name = f"traps::kinds::generic_length<{length}>"
            self.assert_slots(self.check(name, "generic_length", "async fn"), bytes=length)

    def test_inherent_method(self):
        state = self.check("traps::kinds::Conn::read", "Conn::read", "async fn", "inherent")
        self.assert_slots(state, self=8)
        self.assertEqual(state["dead_upvar_bytes"], 8)

    def test_method_of_a_generic_type(self):
        found = [f for f in report()["futures"]
                 if re.fullmatch(r"traps::kinds::Pool(<\w+>)?::fill(<[^>]*>)?", f["name"])]
        self.assertEqual(len(found), 1, [f["name"] for f in report()["futures"] if "fill" in f["name"]])
        self.assertIn("u16", found[0]["name"])
        self.assertIn("&str", found[0]["name"])
        self.assert_place(found[0], "Pool::fill")
        state = self.state_at(found[0], "generic_impl")
        self.assertEqual(self.slots(state), {"self": 8, "with": 16})

    def test_trait_method(self):
        state = self.check("<Svc as Handler>::call", "Svc::call", "async fn", "trait_method")
        self.assert_slots(state, self=8, request=8)
        self.assertEqual(state["dead_upvar_bytes"], 16)

    def test_trait_method_of_another_type(self):
        state = self.check("<Logged as Handler>::call", "Logged::call", "async fn",
                           "trait_method_calls_trait_method")
        self.assertEqual(state["await"]["future"], "<Svc as Handler>::call")

    def test_async_trait_method(self):
        file, line = markers()["await", "async_trait"]
        found = [f for f in report()["futures"] for s in self.suspends(f)
                 if s["await"]["line"] == line and pathlib.PurePath(s["await"]["file"]).name == file]
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0]["kind"], "async block")
        self.assertEqual(found[0]["name"], "<MemStore as Store>::load::{async block#0}")
        # The macro moves each argument into a local of its name. In a block nothing proves that it is
        # no shadowing, so the capture keeps its slot beside the local's.
        state = self.state_at(found[0], "async_trait")
        slots = sorted((slot["name"], slot["upvar"], slot["size_bytes"]) for slot in state["slots"])
        self.assertEqual(slots, [("__self", False, 8), ("key", False, 24), ("key", True, 24),
                                 ("self", True, 8)])

    def test_block_with_a_capture_by_move(self):
        name = "traps::kinds::block_by_move::{async block#0}"
        state = self.check(name, "block_by_move", "async block")
        self.assert_slots(state, text=24)
        self.assertTrue(state["slots"][0]["upvar"])
        self.assertEqual(state["dead_upvar_bytes"], 0)

    def test_block_with_a_capture_by_reference(self):
        name = "traps::kinds::block_by_ref::{async block#0}"
        state = self.check(name, "block_by_ref_inner", "async block")
        self.assertEqual([(slot["size_bytes"], slot["upvar"]) for slot in state["slots"]], [(8, True)])
        self.assertRegex(state["slots"][0]["name"], r"^(_ref__)?text$")
        outer = self.check("traps::kinds::block_by_ref", "block_by_ref", "async fn")
        self.assertEqual(self.slots(outer)["text"], 24)
        self.assertEqual(outer["await"]["future"], name)

    def test_block_that_moves_its_capture_into_a_local(self):
        name = "traps::kinds::block_moves_capture::{async block#0}"
        state = self.check(name, "block_moves_capture", "async block")
        self.assertEqual(self.slots(state)["local"], 24)

    def test_nested_blocks(self):
        name = "traps::kinds::nested_blocks::{async block#0}"
        sizes = []
        for marker in ("block_outer", "block_middle", "block_inner"):
            self.assert_slots(self.check(name, marker, "async block"), seed=32)
            sizes.append(self.future(name)["size_bytes"])
            name += "::{async block#0}"
        self.assertEqual(sizes, sorted(sizes, reverse=True))

    def test_two_blocks_of_one_fn(self):
        name = "traps::kinds::two_blocks::{async block#%d}"
        self.assert_slots(self.check(name % 0, "two_blocks_first", "async block"), kept=16)
        self.assert_slots(self.check(name % 1, "two_blocks_second", "async block"), kept=48)

    def test_async_closure(self):
        name = "traps::kinds::async_closure::{async closure#0}"
        state = self.check(name, "async_closure_body", "async closure")
        sizes = {(re.sub("^_ref__", "", slot["name"]), slot["upvar"]): slot["size_bytes"]
                 for slot in state["slots"]}
        self.assertEqual(sizes, {("step", False): 8, ("base", True): 8})
        self.assertEqual(state["dead_upvar_bytes"], 8)

    def test_block_in_a_closure(self):
        name = "traps::kinds::closure_with_block::{closure#0}::{async block#0}"
        self.assert_slots(self.check(name, "closure_block", "async block"), step=8)

    def test_modules_in_the_name(self):
        self.check("traps::kinds::deep::er::run", "deep", "async fn")


class Macros(Traps):
    """Awaits inside macros: the user's line, the macro's name and the line inside it."""

    def check(self, function, marker, macro, file, line=None):
        state = self.state_at(self.future(f"traps::nesting::{function}"), marker)
        self.assert_in_macro(state, macro, file, line)
        return state

    def assert_in_macro(self, state, macro, file, line=None):
        point = state["await"]
        self.assertEqual(point["in_macro"], macro)
        self.assertEqual(pathlib.PurePath(point["macro_file"] or "").name, file)
        if line is None:
            self.assertGreater(point["macro_line"], 0)
        else:
            self.assertEqual(point["macro_line"], line)

    def test_tokio_join(self):
        state = self.check("joined", "tokio_join", "join!", "join.rs")
        self.assertEqual(set(self.slots(state)), {"futures"})

    def test_tokio_try_join(self):
        self.check("tried", "tokio_try_join", "try_join!", "try_join.rs")

    def test_tokio_select(self):
        state = self.check("selected", "tokio_select", "select!", "select.rs")
        self.assertEqual(set(self.slots(state)), {"futures", "disabled"})

    def test_await_in_a_branch_of_select(self):
        future = self.future("traps::nesting::selected_then_awaits")
        self.assert_in_macro(self.state_at(future, "select_first"), "select!", "select.rs")
        branch = self.state_at(future, "select_branch")
        self.assertIsNone(branch["await"]["in_macro"])
        self.assertEqual(branch["await"]["future"], "traps::nesting::fetch")

    def test_futures_join(self):
        state = self.check("futures_joined", "futures_join", "join!", "join_mod.rs")
        self.assertEqual(set(self.slots(state)), {"_fut0", "_fut1"})

    def test_futures_select(self):
        state = self.check("futures_selected", "futures_select", "select!", "select_mod.rs")
        self.assert_slots(state, slow=8, fast=8)

    def test_macro_of_the_user(self):
        future = self.future("traps::nesting::own_macro")
        states = self.states_at(future, "own_macro", count=2)
        for state, marker in zip(states, ("own_first", "own_second")):
            file, line = markers()["macro", marker]
            self.assert_in_macro(state, "fetch_twice!", file, line)
        self.assertEqual(self.slots(states[1]), {"first": 8})

    def test_macro_of_the_user_awaits_its_argument(self):
        file, line = markers()["macro", "own_argument"]
        self.check("own_macro_argument", "own_macro_argument", "wait_for!", file, line)

    def test_plain_awaits_are_in_no_macro(self):
        for name, marker in (("traps::slots::doubled", "doubled"), ("traps::nesting::top", "top")):
            point = self.state_at(self.future(name), marker)["await"]
            self.assertIsNone(point["in_macro"])
            self.assertIsNone(point.get("macro_file"))
            self.assertIsNone(point.get("macro_line"))

    def test_await_over_several_lines(self):
        state = self.state_at(self.future("traps::nesting::several_lines"), "several_lines")
        self.assertEqual(state["await"]["future"], "traps::nesting::Request::send")

    def test_two_awaits_on_a_line(self):
        states = self.states_at(self.future("traps::nesting::two_on_a_line"), "two_on_a_line", count=2)
        self.assertEqual([state["await"]["future"] for state in states], ["traps::nesting::fetch"] * 2)


class Leaves(Traps):
    """What a future waits for, readably."""

    def check(self, function, marker, future, waits_for):
        """`future` and `waits_for` are patterns."""
        point = self.state_at(self.future(f"traps::leaves::{function}"), marker)["await"]
        self.assertRegex(point["future"] or "", future)
        self.assertRegex((point["waits_for"] or "").lower(), waits_for)

    def test_sleep(self):
        self.check("waits_sleep", "sleep", r"\bSleep$", r"sleep|timer|time")

    def test_mutex_lock(self):
        self.check("waits_mutex", "mutex", r"\bMutex(<u64>)?::lock(<u64>)?$", r"mutex|lock")

    def test_rwlock_read(self):
        self.check("waits_rwlock_read", "rwlock_read", r"\bRwLock(<u64>)?::read(<u64>)?$", r"rwlock|read")

    def test_rwlock_write(self):
        self.check("waits_rwlock_write", "rwlock_write", r"\bRwLock(<u64>)?::write(<u64>)?$", r"rwlock|write")

    def test_semaphore(self):
        self.check("waits_semaphore", "semaphore", r"\bSemaphore::acquire$", r"semaphore|permit")

    def test_mpsc_recv(self):
        self.check("waits_mpsc_recv", "mpsc_recv", r"\bReceiver(<\w+>)?::recv(<\w+>)?$",
                   r"mpsc|channel|recv|receive|message")

    def test_mpsc_send(self):
        self.check("waits_mpsc_send", "mpsc_send", r"\bSender(<\w+>)?::send(<\w+>)?$", r"mpsc|channel|send")

    def test_unbounded_recv(self):
        self.check("waits_unbounded_recv", "unbounded_recv", r"\bUnboundedReceiver(<\w+>)?::recv(<\w+>)?$",
                   r"mpsc|channel|recv|receive|message")

    def test_oneshot(self):
        self.check("waits_oneshot", "oneshot", r"\boneshot::Receiver<u64>$", r"oneshot")

    def test_broadcast(self):
        self.check("waits_broadcast", "broadcast", r"\bReceiver(<\w+>)?::recv(<\w+>)?$", r"broadcast")

    def test_watch(self):
        self.check("waits_watch", "watch", r"\bReceiver(<\w+>)?::changed(<\w+>)?$", r"watch")

    def test_notify(self):
        self.check("waits_notify", "notify", r"\bNotified$", r"notif")

    def test_barrier(self):
        self.check("waits_barrier", "barrier", r"\bBarrier::wait$", r"barrier")

    def test_join_handle(self):
        self.check("waits_join_handle", "join_handle", r"\bJoinHandle<", r"task|join")

    def test_spawn_blocking(self):
        self.check("waits_spawn_blocking", "spawn_blocking", r"\bJoinHandle<u64>$", r"task|join")

    def test_timeout(self):
        self.check("waits_timeout", "timeout", r"\bTimeout<", r"timeout|timer|time")

    def test_interval(self):
        self.check("waits_interval", "interval", r"\bInterval::tick$", r"interval|tick|timer")

    def test_yield_now(self):
        self.check("waits_yield", "yield_now", r"\byield_now$", r"yield|turn|again")

    def test_tcp_accept(self):
        self.check("waits_accept", "accept", r"\bTcpListener::accept$", r"accept|connection")

    def test_tcp_read(self):
        self.check("waits_read", "tcp_read", r"\bRead<", r"read|bytes|data")

    def test_tcp_read_exact(self):
        self.check("waits_read_exact", "tcp_read_exact", r"\bReadExact<", r"read|bytes|data")

    def test_tcp_write(self):
        self.check("waits_write", "tcp_write", r"\bWriteAll<", r"writ")

    def test_join_all(self):
        self.check("waits_join_all", "join_all", r"\bJoinAll<", r"join_all|all|futures")

    def test_futures_unordered(self):
        self.check("waits_unordered", "futures_unordered", r"\bNext<.*FuturesUnordered<",
                   r"next|unordered|futures|stream|item")

    def test_buffer_is_a_slot(self):
        state = self.state_at(self.future("traps::leaves::waits_read"), "tcp_read")
        self.assertEqual(self.slots(state)["buffer"], 512)


class Nesting(Traps):
    """Futures inside futures."""

    def awaited(self, function, marker):
        return self.state_at(self.future(f"traps::nesting::{function}"), marker)["await"]["future"] or ""

    def test_recursion_through_a_box(self):
        self.assertRegex(self.awaited("countdown", "countdown"),
                         r"\bPin<(\w+::)*Box<.*traps::nesting::countdown|\bPin<(\w+::)*Box<countdown")
        self.assertEqual(self.awaited("countdown", "countdown_bottom"), "traps::nesting::fetch")
        states = self.suspends(self.future("traps::nesting::countdown"))
        self.assertEqual(len(states), 2)

    def test_recursion_through_dyn(self):
        block = "descend::{async block#0}"
        self.assertRegex(self.awaited(block, "descend"), r"\bPin<.*dyn .*Future")
        self.assertEqual(self.awaited(block, "descend_bottom"), "traps::nap")

    def test_boxed_dyn_future(self):
        self.assertRegex(self.awaited("waits_dyn", "waits_dyn"), r"\bPin<.*dyn .*Future")
        state = self.state_at(self.future("traps::nesting::waits_dyn"), "waits_dyn")
        self.assertEqual(state["awaited_bytes"], 16)

    def test_instrumented(self):
        self.assertRegex(self.awaited("instrumented", "instrumented"), r"\bInstrumented<.*fetch")

    def test_instrument_attribute(self):
        future = self.future("traps::nesting::attributed::{async block#0}")
        state = self.state_at(future, "attributed")
        self.assertEqual(state["await"]["future"], "traps::nesting::fetch")

    def test_mapped(self):
        self.assertRegex(self.awaited("mapped", "mapped"), r"\bMap<.*fetch")

    def test_adapter_is_part_of_the_awaited_share(self):
        state = self.state_at(self.future("traps::nesting::instrumented"), "instrumented")
        fetch = self.future("traps::nesting::fetch")
        self.assertGreater(state["awaited_bytes"], fetch["size_bytes"])

    def test_large_future_through_three_levels(self):
        names = [f"traps::nesting::{name}" for name in ("top", "middle", "bottom")]
        top, middle, bottom = (self.future(name) for name in names)
        state = self.state_at(bottom, "bottom")
        self.assert_slots(state, frame=61440)
        self.assertEqual(self.state_at(middle, "middle")["awaited_bytes"], bottom["size_bytes"])
        state = self.state_at(top, "top")
        self.assertEqual(state["awaited_bytes"], middle["size_bytes"])
        self.assert_slots(state, note=64)

    def test_chain_of_the_large_future(self):
        chain = [(link["future"], link["size_bytes"]) for link in self.future("traps::nesting::top")["chain"]]
        expected = [(name, self.future(name)["size_bytes"])
                    for name in ("traps::nesting::middle", "traps::nesting::bottom")]
        self.assertEqual(chain[:2], expected)
        # What makes `bottom` large is no future but the array; a chain may end with it.
        self.assertIn(chain[2:], ([], [(None, 61440)]))


if __name__ == "__main__":
    unittest.main()
