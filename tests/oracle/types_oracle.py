#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Holds `asyncmem types` against what rustc itself says about the same build.

Builds programs of tests/programs with `-Zprint-type-sizes` (RUSTC_BOOTSTRAP makes the stable compiler
accept it), runs `asyncmem types --json` over the very binaries, finds each future type of the report in
rustc's listing by its path or, for blocks and closures, by file and line, never by its size, and compares
size, states, slots and the five shares of every state, byte by byte. The last line is
`oracle: N passed, N failed`; the exit status is 1 when something failed.

What rustc says and DWARF cannot: of two slots of one name in one state DWARF describes one. Such a slot
must be counted in `hidden_slots`; its bytes must be `unexplained`, not claimed by another share. And where
no symbol of an impl's methods is left, nothing tells its type: a report prints `{impl#5}::wait`, which is
looked for among all methods of that name and module (column "impl unknown").
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
from collections import Counter, defaultdict

import rust_names
import rustc_listing

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKSPACE = ROOT / "tests" / "programs"
PROGRAMS = ["traps", "demo-server", "real-mini-redis", "real-bore"]
AWAITEE = "__awaitee"
SHARES = ["slot_bytes", "awaited_bytes", "dead_upvar_bytes", "other_states_bytes", "unexplained_bytes"]
# The standard library comes compiled: its futures are in the binary, its listing was never printed.
PRECOMPILED = re.compile(r"(^|/)(rustc/[0-9a-f]{40}|lib/rustlib/src/rust)/library/")
CARGO_LIMIT_S, ASYNCMEM_LIMIT_S = 1500, 120


# ---- the build ----------------------------------------------------------------------------------------------

def build(programs, target_dir):
    """Builds with listings. Returns program -> binary and program -> its listing files."""
    listings = target_dir / "type-sizes"
    listings.mkdir(parents=True, exist_ok=True)
    flags = "-Zprint-type-sizes"
    env = dict(os.environ, RUSTC_BOOTSTRAP="1", RUSTFLAGS=flags, KEEP_TYPE_SIZES_IN=str(listings),
               RUSTC_WRAPPER=str(HERE / "keep_type_sizes.sh"), CARGO_PROFILE_RELEASE_DEBUG="2")
    env.pop("CARGO_ENCODED_RUSTFLAGS", None)
    command = ["cargo", "build", "--release", "--locked", "--message-format=json",
               "--target-dir", str(target_dir)]
    for program in programs:
        command += ["-p", program]
    done = subprocess.run(command, cwd=WORKSPACE, env=env, stdout=subprocess.PIPE, text=True,
                          timeout=CARGO_LIMIT_S)
    if done.returncode != 0:
        sys.exit("oracle: cargo build failed")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    artifacts = [message for message in messages if message.get("reason") == "compiler-artifact"]
    return binaries_of(artifacts, programs), listings_of(artifacts, programs, listings)


def binaries_of(artifacts, programs):
    return {a["target"]["name"]: pathlib.Path(a["executable"]) for a in artifacts
            if a.get("executable") and a["target"]["name"] in programs}


def listings_of(artifacts, programs, folder):
    """The listings of the libraries in this build, and of each program its own (the newest)."""
    libraries = []
    for artifact in artifacts:
        for name in artifact["filenames"]:
            if name.endswith(".rlib"):
                libraries.append(folder / (pathlib.Path(name).stem.removeprefix("lib") + ".types"))
    missing = [str(path) for path in libraries if not path.exists()]
    own = {}
    for program in programs:
        crate = program.replace("-", "_")
        found = sorted(folder.glob(f"{crate}-????????????????.types"), key=lambda p: p.stat().st_mtime)
        missing += [] if found else [f"{crate}-*.types"]
        own[program] = found[-1:]
    if missing:
        sys.exit("oracle: listings are missing, remove the target directory and run again: "
                 + ", ".join(missing[:3]))
    return {program: libraries + own[program] for program in programs}


# ---- rustc's side -------------------------------------------------------------------------------------------

class Listing:
    """All future types that rustc listed for one program, found by path or by place."""

    def __init__(self, files):
        self.by_key = defaultdict(list)  # path's key; of blocks: kind, key, numbers -> [(Path, Layout)]
        self.by_method = defaultdict(list)  # the same without the type: `wait` of `Child::wait`
        self.by_line = defaultdict(list)  # (kind, line) -> [(file, Layout)]
        self.layouts = []
        seen = set()
        for file in files:
            crate = file.name.rsplit("-", 1)[0]
            with open(file, encoding="utf-8") as lines:
                for layout in rustc_listing.parse(lines, crate):
                    if (crate if "@" not in layout.name else "", layout.fingerprint) not in seen:
                        seen.add((crate if "@" not in layout.name else "", layout.fingerprint))
                        self._add(layout)

    def _add(self, layout):
        self.layouts.append(layout)
        if layout.kind == "async fn":
            path = function_path(layout.name)
            self.by_key[path.key].append((path, layout))
            self.by_method[rust_names.behind_impl(path.key)].append((path, layout))
        elif at := place(layout.name):
            self.by_line[layout.kind, at[1]].append((at[0], layout))
        else:
            path, numbers = numbered_path(layout.name)
            self.by_key[layout.kind, path.key, numbers].append((path, layout))

    def candidates(self, future):
        """The layouts that may be this one, and whether the generic arguments took part in the choice."""
        if future["kind"] != "async fn":
            return self._blocks(future), True
        ours = rust_names.parse_path(future["name"])
        known = self.by_key[ours.key]
        if rust_names.UNKNOWN_IMPL.match(ours.key):
            known = self.by_method[rust_names.behind_impl(ours.key)]
        named = [(path, layout) for path, layout in known if self._may_be(ours, path, layout.crate)]
        exact = [layout for path, layout in named
                 if rust_names.generics_agree(ours.generics, path.generics)]
        return (exact, True) if exact else ([layout for _, layout in named], not named)

    def _blocks(self, future):
        """rustc tells the place of a crate's own blocks and the path of foreign ones."""
        found = [layout for file, layout in self.by_line[future["kind"], future["line"]]
                 if rust_names.same_file(file, future["file"] or "")]
        ours, numbers = numbered_path(future["name"])
        for theirs in (numbers, (0,) + numbers):  # the body of an async fn is a closure#0 to rustc
            found += [layout for path, layout in self.by_key[future["kind"], ours.key, theirs]
                      if self._may_be(ours, path, layout.crate)]
        return found

    @staticmethod
    def _may_be(ours, theirs, crate):
        """A path of the crate itself lacks the crate's name; a foreign path has its own."""
        if ours.key.startswith("<"):
            return True
        return (crate,) + theirs.modules == ours.modules or rust_names.re_exported(theirs.modules, ours.modules)


def function_path(name):
    inner = name[len("{async fn body of "):-1]
    return rust_names.parse_path(re.sub(r"\(\)$", "", inner))


def place(name):
    """`{async block@FILE:LINE:COLUMN: LINE:COLUMN}` -> absolute file, line. None for a path."""
    match = re.match(r"\{async (?:block|closure body)@(.*):(\d+):\d+: \d+:\d+\}$", name)
    if match is None:
        return None
    file = match[1] if match[1].startswith("/") else f"{WORKSPACE}/{match[1]}"
    return file, int(match[2])


def numbered_path(name):
    """The path around a block and the numbers of the closures and blocks on the way to it:
    `{async block@a::f::{closure#0}::{closure#1}}` -> a::f, (0, 1); `a::f::{async block#1}` -> a::f, (1,)."""
    name = re.sub(r"^\{async (?:block|closure body)@(.*)\}$", r"\1", name)
    segments = rust_names.split_top(name, "::")
    numbered = [re.match(r"\{[a-z_ ]*#(\d+)\}", segment) for segment in segments]
    path = "::".join(s for s, match in zip(segments, numbered) if not match)
    return rust_names.parse_path(path), tuple(int(match[1]) for match in numbered if match)


# ---- comparing one future type ------------------------------------------------------------------------------

def plain_name(name):
    """A capture by reference is `_ref__x` to rustc; a report may as well call it `x`. DWARF numbers the
    unnamed slots otherwise than rustc does, so these have but one name here."""
    return re.sub(r"^__\d+$", rustc_listing.UNNAMED, name.removeprefix("_ref__"))


class Comparison:
    """One reported future type against one layout. `problems` stays empty when they agree."""

    def __init__(self, future, layout):
        self.future, self.layout = future, layout
        self.problems = []
        self.slots = self.hidden = self.states = 0
        self._sizes()
        self.used = {}  # state name -> the entries that are slots in the report
        self.visible = {}  # state name -> these, the awaited future and the upvars
        reported = {state["name"]: state for state in future["states"]}
        self._expect("names of the states", sorted(reported), sorted(layout.states))
        both = [(reported[name], entries) for name, entries in layout.states.items() if name in reported]
        for state, entries in both:
            self._compare_slots(state, entries)
        for state, entries in both:
            self._compare_shares(state, entries)

    def _expect(self, what, ours, theirs):
        if ours != theirs:
            self.problems.append(f"{what}: asyncmem {ours}, rustc {theirs}")

    def _sizes(self):
        self._expect("size", self.future["size_bytes"], self.layout.size)
        self._expect("alignment", self.future["align_bytes"], self.layout.align)

    def _moves_arguments(self):
        return self.layout.kind == "async fn"

    def _allowed(self, name, entries):
        """-> the entries that must be slots and those that may be, by what is known of this state."""
        upvars = [e for e in entries if e.kind == "upvar"]
        locals_ = [e for e in entries if e.kind != "upvar" and e.name != AWAITEE]
        if name == "Unresumed":
            return upvars, []
        if not name.startswith("Suspend"):
            return [], []
        if self._moves_arguments():
            return locals_, []
        # In a block a capture is used in place, unless a local of its name may have taken its value over.
        # The captures of a closure's body cannot be told from its arguments, which are moved.
        local_names = {e.name for e in locals_}
        in_place = [e for e in upvars if e.name not in local_names]
        if self.layout.kind == "async closure":
            return locals_, upvars
        return locals_ + in_place, [e for e in upvars if e.name in local_names]

    def _compare_slots(self, state, entries):
        name = state["name"]
        self.states += 1
        must, may = self._allowed(name, entries)
        awaitees = [e for e in entries if e.name == AWAITEE]
        used = []
        for slot in state["slots"]:
            entry = self._entry_of(slot, must + may, used)
            if entry is None:
                self.problems.append(
                    f"{name}: rustc has no slot `{slot['name']}` of {slot['size_bytes']} bytes at"
                    f" {slot['offset_bytes']}{' (upvar)' if slot['upvar'] else ''}")
            else:
                used.append(entry)
        self.slots += len(used)
        self._missing(state, must, used)
        self.used[name] = used
        self.visible[name] = used + awaitees + [e for e in entries if e.kind == "upvar" and e not in used]

    @staticmethod
    def _entry_of(slot, allowed, used):
        for entry in allowed:
            if (plain_name(entry.name) == plain_name(slot["name"])
                    and entry.size == slot["size_bytes"] and entry not in used
                    and (entry.offset == slot["offset_bytes"] or entry.size == 0)
                    and (entry.kind == "upvar") == slot["upvar"]):
                return entry
        return None

    def _missing(self, state, must, used):
        """Every slot must be reported; of several with one name DWARF knows one, the others are hidden."""
        groups = defaultdict(list)
        for entry in must:
            at = (entry.offset, entry.size) if entry.name == rustc_listing.UNNAMED else None  # never merged
            groups[entry.kind, entry.name, at].append(entry)
        hidden = 0
        for (_, name, _), group in groups.items():
            hidden += len(group) - 1
            there = [entry for entry in group if entry in used]
            if not there and any(entry.size for entry in group):
                sizes = " or ".join(f"{e.size} bytes at {e.offset}" for e in group)
                self.problems.append(f"{state['name']}: slot `{name}` is missing ({sizes})")
        self.hidden += hidden
        self._expect(f"{state['name']}: hidden slots", state["hidden_slots"], hidden)

    def _compare_shares(self, state, entries):
        name = state["name"]
        must, _ = self._allowed(name, entries)
        every = set(range(self.layout.size))
        known = self.visible[name]
        awaited = covered(e for e in known if e.name == AWAITEE)
        slots = covered(self.used[name])
        dead = covered(e for e in known if e.kind == "upvar") - slots
        here = slots | awaited | dead
        hidden = covered(e for e in must if e not in known) - here
        elsewhere = covered(e for entries in self.visible.values() for e in entries) - here
        expected = {"slot_bytes": len(slots), "awaited_bytes": len(awaited), "dead_upvar_bytes": len(dead)}
        if not hidden:
            expected["other_states_bytes"] = len(elsewhere)
            expected["unexplained_bytes"] = len(every - here - elsewhere)
        for share, count in expected.items():
            self._expect(f"{name}: {share}", state[share], count)
        self._expect(f"{name}: sum of the shares", sum(state[share] for share in SHARES),
                     self.layout.size)
        self._expect(f"{name}: discriminant_bytes", state["discriminant_bytes"], self.layout.discriminant)
        if hidden and state["other_states_bytes"] > len(elsewhere - hidden):
            self.problems.append(
                f"{name}: other_states_bytes: asyncmem {state['other_states_bytes']}, but of these bytes"
                f" {len(elsewhere & hidden)} belong to a hidden slot of this very state")
        self._compare_await(state, entries)

    def _compare_await(self, state, entries):
        """The awaited future's type: rustc prints it, so its name must be the same one."""
        suspended = state["name"].startswith("Suspend")
        if not suspended:
            self._expect(f"{state['name']}: await", state["await"], None)
            return
        if state["await"] is None:
            self.problems.append(f"{state['name']}: there is no await")
            return
        types = [e.type for e in entries if e.name == AWAITEE]
        future = state["await"]["future"]
        if len(types) != 1 or future is None:
            self._expect(f"{state['name']}: number of awaited futures", int(future is not None), len(types))
            return
        if not awaits_same(future, types[0]):
            self.problems.append(f"{state['name']}: awaits: asyncmem {future}, rustc {types[0]}")


def covered(entries):
    return set().union(*(entry.bytes for entry in entries))


def awaits_same(ours, theirs):
    if theirs.startswith("{async fn body of "):
        our_key, their_key = rust_names.parse_path(ours).key, function_path(theirs).key
        if rust_names.UNKNOWN_IMPL.match(our_key):
            return rust_names.behind_impl(our_key) == rust_names.behind_impl(their_key)
        return our_key == their_key
    if theirs.startswith("{async block@"):
        return "{async block" in ours
    if theirs.startswith("{async closure body@"):
        return "{async closure" in ours
    return outer_type(ours) == outer_type(theirs)


def outer_type(text):
    """`std::pin::Pin<Box<T>>` -> `Pin`, `&mut tokio::time::Sleep` -> `&Sleep`."""
    text = re.sub(r"'\w+ |\bmut ", "", text)
    match = re.match(r"(&?)((?:[^<:(\[{]|::)*)", text)
    return match[1] + match[2].split("::")[-1].strip()


# ---- one program --------------------------------------------------------------------------------------------

class Verdict:
    """What came out for one program."""

    def __init__(self, program):
        self.program = program
        self.counts = Counter()
        self.failures = []  # (name of the future type, problems)
        self.unmatched, self.precompiled, self.only_rustc, self.ambiguous = [], [], [], []


def judge(program, report, listing):
    verdict = Verdict(program)
    found = set()
    for future in report["futures"]:
        judge_future(verdict, future, listing, found)
    problems = totals_problems(report)
    verdict.counts["passed" if not problems else "failed"] += 1
    if problems:
        verdict.failures.append(("totals", problems))
    crate = program.replace("-", "_")
    verdict.only_rustc = [layout for layout in listing.layouts if id(layout) not in found]
    verdict.counts["only rustc"] = len(verdict.only_rustc)
    verdict.counts["only rustc, own"] = sum(layout.crate == crate for layout in verdict.only_rustc)
    return verdict


def judge_future(verdict, future, listing, found):
    verdict.counts["types"] += 1
    if PRECOMPILED.search(future["file"] or ""):
        verdict.precompiled.append(future["name"])
        return
    candidates, with_generics = listing.candidates(future)
    if not candidates:
        verdict.unmatched.append(f"{future['name']} ({future['file']}:{future['line']})")
        verdict.counts["failed"] += 1
        return
    verdict.counts["found"] += 1
    verdict.counts["without generics"] += not with_generics
    verdict.counts["impl unknown"] += "{impl#" in future["name"]
    verdict.counts["several of a name"] += len(candidates) > 1
    comparisons = [Comparison(future, layout) for layout in candidates]
    best = min(comparisons, key=lambda comparison: len(comparison.problems))
    found.update(id(c.layout) for c in comparisons if c.problems == best.problems or not c.problems)
    for key in ("states", "slots", "hidden"):
        verdict.counts[key] += getattr(best, key)
    verdict.counts["failed" if best.problems else "passed"] += 1
    if best.problems:
        verdict.failures.append((f"{future['name']} against {best.layout.name}", best.problems))


def totals_problems(report):
    sizes = [future["size_bytes"] for future in report["futures"]]
    totals, problems = report["totals"], []
    expected = {"count": len(sizes), "total_bytes": sum(sizes), "largest_bytes": max(sizes, default=0)}
    for key, value in expected.items():
        if totals[key] != value:
            problems.append(f"{key}: asyncmem {totals[key]}, its own list {value}")
    mean = sum(sizes) / len(sizes) if sizes else 0
    if abs(totals["mean_bytes"] - mean) > 1:
        problems.append(f"mean_bytes: asyncmem {totals['mean_bytes']}, its own list {mean:.1f}")
    return problems


def run_asyncmem(asyncmem, binary):
    done = subprocess.run([str(asyncmem), "types", str(binary), "--json"], stdout=subprocess.PIPE,
                          text=True, timeout=ASYNCMEM_LIMIT_S)
    if done.returncode != 0:
        sys.exit(f"oracle: asyncmem types {binary} ended with {done.returncode}")
    report = json.loads(done.stdout)
    if report["schema"] != "asyncmem.types/1" or report["detail"] != "full":
        sys.exit(f"oracle: {binary}: schema {report['schema']}, detail {report['detail']}")
    return report


# ---- output -------------------------------------------------------------------------------------------------

COLUMNS = ["types", "found", "passed", "failed", "states", "slots", "hidden", "without generics",
           "impl unknown", "several of a name", "only rustc", "only rustc, own"]


def print_table(verdicts):
    widths = [max(16, *(len(v.program) for v in verdicts))] + [max(6, len(column)) for column in COLUMNS]
    print("  ".join(text.rjust(width) for text, width in zip(["program"] + COLUMNS, widths)))
    for verdict in verdicts:
        cells = [verdict.program] + [str(verdict.counts[column]) for column in COLUMNS]
        print("  ".join(text.rjust(width) for text, width in zip(cells, widths)))


def print_details(verdict, everything):
    limit = None if everything else 40
    for name, problems in verdict.failures[:limit]:
        print(f"FAIL {verdict.program}: {name}")
        for problem in problems[:limit and 8]:
            print(f"     {problem}")
    for name in verdict.unmatched[:limit]:
        print(f"FAIL {verdict.program}: not in rustc's listing: {name}")
    for name in verdict.precompiled:
        print(f"note {verdict.program}: compiled with the standard library, not listed: {name}")
    if everything:
        for layout in verdict.only_rustc:
            print(f"note {verdict.program}: only in rustc's listing of {layout.crate}: {layout.name}")


def main():
    parser = argparse.ArgumentParser(description="compare `asyncmem types` with rustc's own listing")
    parser.add_argument("--asyncmem", type=pathlib.Path, default=ROOT / "build" / "asyncmem")
    parser.add_argument("--target-dir", type=pathlib.Path, default=ROOT / "build" / "programs" / "oracle")
    parser.add_argument("--program", action="append", choices=PROGRAMS, help="only this one (may be repeated)")
    parser.add_argument("--all", action="store_true", help="print every failure and what only rustc lists")
    options = parser.parse_args()

    programs = options.program or PROGRAMS
    binaries, listings = build(programs, options.target_dir.resolve())
    verdicts = []
    for program in programs:
        report = run_asyncmem(options.asyncmem, binaries[program])
        verdicts.append(judge(program, report, Listing(listings[program])))
    for verdict in verdicts:
        print_details(verdict, options.all)
    print_table(verdicts)
    passed = sum(verdict.counts["passed"] for verdict in verdicts)
    failed = sum(verdict.counts["failed"] for verdict in verdicts)
    print(f"oracle: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
