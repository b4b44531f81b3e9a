#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The wide matrix: programs, built every way a release binary is built, read by `asyncmem types` and, running,
by `asyncmem snapshot`.

Each row of ROWS is one build (or one way to lay debug information beside a build) together with what
the answer must be. A row passes if the answer is exactly that; anything else, a build that fails and a
tool that is missing included, is FAIL: no row is ever skipped. The judgement has three parts: the
answer is sound in itself (sums), it holds every future the subject is known to have and as many as
llvm-dwarfdump shows, and each size equals what rustc prints for it (-Zprint-type-sizes, in a compiler run
beside the build). The rows named snapshot-... are in snapshot_rows.py, which says how they are judged.

    matrix.py                all rows, then docs/MATRIX.md
    matrix.py --quick        the rows marked quick (part of `make test`); no file is written
    matrix.py --only NAME    one row (and the builds it leans on); may be given more than once
    matrix.py --list         the rows
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import dwarf_futures  # noqa: E402
import fetch_rustc  # noqa: E402
import rustc_sizes  # noqa: E402
import snapshot_rows  # noqa: E402

HOST = "x86_64-unknown-linux-gnu"
ARM64 = "aarch64-unknown-linux-gnu"
REMEDY = r"debug ?= ?2|--symbols"

# ------------------------------------------------------------------------------------------------
# The table. Per row:
#   about      what the build is
#   rustflags  for every crate of the target; final: for the subject only (what acts at the link)
#   profile    keys of [profile.release]
#   toolchain  "installed", or a name of fetch_rustc.TOOLCHAINS; target: the triple
#   post       a function that makes the files from other rows' binaries instead of a build
#   detail     expected `detail`
#   sizes      "own": compare with what rustc prints for this very build;
#              "default": compare with what rustc printed for the default build
#   same       "document": the futures are those of the default build to the last key;
#              "sizes": the same names and sizes; None: the build may differ from the default
#   names      how the names of tasks are written, a key of TASK_NAMES
#   reason     expected pattern of detail_reason ("" = empty or null)
#   quick      part of --quick
#   crate      the subject's folder and name; lock: of the subject `tasks`, the tokio it is built with
# ------------------------------------------------------------------------------------------------
FULL = {"detail": "full", "sizes": "default", "same": None, "reason": "", "missing": ""}
NAMES = {"detail": "names", "sizes": None, "same": None, "reason": REMEDY, "names": "legacy",
         "missing": "layouts and lines; names of tasks only"}
NONE = {"detail": "none", "sizes": None, "same": None, "reason": REMEDY,
        "missing": "layouts, lines and names"}


def row(expected, about, **given):
    base = {"about": about, "rustflags": "", "final": "", "profile": {}, "toolchain": "installed",
            "target": HOST, "post": None, "needs": ["default"], "quick": False, "crate": "subject"}
    return {**base, **expected, **given}


ROWS = {
    "default": row(FULL, "release profile, debug = 2", sizes="own", needs=[], quick=True),
    "opt-0": row(FULL, "opt-level = 0", profile={"opt_level": "0"}, sizes="own"),
    "opt-z": row(FULL, "opt-level = \"z\"", profile={"opt_level": "z"}, sizes="own"),
    "lto-fat": row(FULL, "lto = \"fat\"", profile={"lto": "fat"}),
    "panic-abort": row(FULL, "panic = \"abort\"", profile={"panic": "abort"}, sizes="own"),
    "mangling-v0": row(FULL, "v0 symbol mangling", rustflags="-Csymbol-mangling-version=v0",
                       same="sizes"),
    "mangling-mixed": row(FULL, "v0 symbol mangling in the program, legacy in its libraries",
                          final="-Csymbol-mangling-version=v0", same="sizes", quick=True),
    "mangling-legacy": row(FULL, "legacy symbol mangling, asked for", same="sizes",
                           rustflags="-Zunstable-options -Csymbol-mangling-version=legacy"),
    "lld": row(FULL, "linked by Debian's lld", same="document", quick=True,
               final="-Clinker-features=-lld -Clink-arg=-fuse-ld=lld"),
    "bfd": row(FULL, "linked by GNU ld", same="document", final="-Clinker-features=-lld"),
    "non-pie": row(FULL, "not position independent", rustflags="-Crelocation-model=static",
                   same="sizes"),
    "debug-0": row(NAMES, "debug = 0", profile={"debug": "0"}),
    "debug-0-v0": row(NAMES, "debug = 0, v0 symbol mangling", profile={"debug": "0"},
                      rustflags="-Csymbol-mangling-version=v0", names="v0"),
    "debug-line-tables": row(NAMES, "debug = \"line-tables-only\"",
                             profile={"debug": "line-tables-only"}),
    "debug-1": row(NAMES, "debug = 1", profile={"debug": "1"}, names="dwarf"),
    "debug-1-std-2": row(NAMES, "debug = 1, Debian's rustc 1.96 whose standard library has debug = 2",
                         toolchain="1.96", profile={"debug": "1"}, names="dwarf"),
    "strip-debuginfo": row(NAMES, "strip = \"debuginfo\"", final="-Cstrip=debuginfo"),
    "strip-symbols": row(NONE, "strip = \"symbols\"", final="-Cstrip=symbols", quick=True),
    "split-packed": row(FULL, "split-debuginfo = \"packed\" (.dwp)", same="document", quick=True,
                        rustflags="-Csplit-debuginfo=packed"),
    "split-unpacked": row(FULL, "split-debuginfo = \"unpacked\" (.dwo)", same="document", quick=True,
                          rustflags="-Csplit-debuginfo=unpacked"),
    "compressed-zlib": row(FULL, "debug sections compressed with zlib", same="document", quick=True,
                           final="-Clink-arg=-Wl,--compress-debug-sections=zlib"),
    "compressed-zstd": row(FULL, "debug sections compressed with zstd", same="document",
                           final="-Clinker-features=-lld "
                                 "-Clink-arg=-Wl,--compress-debug-sections=zstd"),
    "compressed-zlib-gnu": row(FULL, "debug sections compressed the GNU way (.zdebug_*)",
                               same="document",
                               final="-Clinker-features=-lld "
                                     "-Clink-arg=-Wl,--compress-debug-sections=zlib-gnu"),
    "dwarf-5": row(FULL, "DWARF 5", rustflags="-Cdwarf-version=5", same="sizes"),
    "dwarf-mixed": row(FULL, "DWARF 5 in the program, DWARF 4 in its libraries", quick=True,
                       final="-Cdwarf-version=5", same="sizes"),
    "dwarf-5-packed": row(FULL, "DWARF 5, split-debuginfo = \"packed\"", same="sizes",
                          rustflags="-Cdwarf-version=5 -Csplit-debuginfo=packed"),
    "dwarf-5-unpacked": row(FULL, "DWARF 5, split-debuginfo = \"unpacked\"", same="sizes",
                            rustflags="-Cdwarf-version=5 -Csplit-debuginfo=unpacked"),
    "aarch64": row(FULL, "aarch64 ELF, rustc 1.96", toolchain="1.96", target=ARM64, sizes="own"),
    "rustc-1.63": row(FULL, "rustc 1.63 (GenFuture wrappers), tokio 1.24", toolchain="1.63",
                      sizes="own"),
    "rustc-1.85": row(FULL, "rustc 1.85", toolchain="1.85", sizes="own"),
    "rustc-1.96": row(FULL, "rustc 1.96", toolchain="1.96", sizes="own"),
    "split-missing": row(NAMES, "split-debuginfo = \"packed\", the .dwp is not there",
                         post="split_missing", needs=["split-packed"], reason=r"\.dwp.*--symbols"),
    "debuglink": row(FULL, "stripped, debug file beside it by .gnu_debuglink", post="debuglink",
                     same="document"),
    "build-id-dir": row(FULL, "stripped, debug file by build-id in the system's debug folder",
                        post="build_id_dir", same="document"),
    "symbols-stripped": row(FULL, "stripped, --symbols with the unstripped file",
                            post="symbols_stripped", same="document", reason=None),
    "symbols-rebuild": row(FULL, "debug = 0, --symbols with the debug = 2 rebuild",
                           post="symbols_rebuild", needs=["default", "debug-0"], same="sizes",
                           reason=None),
}
ROWS.update(snapshot_rows.rows(ROWS))

# What the subject has, as `name` must say it; generics are left out before comparing.
FUNCTIONS = ["subject::leaf", "subject::middle", "subject::doubled", "subject::shadowed",
             "subject::generic", "subject::service::inner::locked", "subject::Conn::serve",
             "subject::dispatch", "subject::selecting", "subject::run"]
BLOCKS = [r"subject::run::\{async block#0\}", r"subject::run::\{async block#1\}",
          r"<(subject::)?Svc as (subject::)?Handler>::call::\{async block#0\}"]
# The futures that are tasks: all that a binary without layouts can name. A symbol does not tell an async
# fn from an async block in a plain fn, and a legacy symbol does not tell two blocks of one function apart.
TASKS = ["subject::middle", "subject::doubled", "subject::shadowed", "subject::generic",
         "subject::generic", "subject::service::inner::locked", "subject::dispatch",
         "subject::selecting"]
TASK_NAMES = {
    "dwarf": TASKS + ["subject::run::{async block#0}", "subject::run::{async block#1}"],
    "v0": [task + "::{closure#0}" for task in TASKS] + [
        "subject::run::{closure#0}::{closure#0}", "subject::run::{closure#0}::{closure#1}"],
    "legacy": [task + "::{closure}" for task in TASKS] + ["subject::run::{closure}::{closure}"],
}
STATE_PARTS = ("slot_bytes", "awaited_bytes", "dead_upvar_bytes", "other_states_bytes",
               "unexplained_bytes")


class RowFailed(Exception):
    """Why a row is FAIL, in one line."""


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.lstrip().startswith("error")]
    return (errors or lines or ["no message"])[-1].strip()[:300]


def call(argv, timeout=500, **kw):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              errors="replace", timeout=timeout, **kw)
    except FileNotFoundError:
        raise RowFailed("%s is missing; run tools/setup matrix" % argv[0])
    except subprocess.TimeoutExpired:
        raise RowFailed("%s took more than %d s" % (argv[0], timeout))


def checked(argv, **kw):
    done = call(argv, **kw)
    if done.returncode != 0:
        raise RowFailed("%s: %s" % (os.path.basename(argv[0]), last_line(done.stderr)))
    return done


# ------------------------------------------------------------------------------------------------
# Builds
# ------------------------------------------------------------------------------------------------
class Workshop:
    """Builds rows' binaries below one folder: target-<toolchain>/ for cargo, out/<row>/ for results."""

    def __init__(self, folder):
        self.folder = folder
        self.done = {}  # row name -> path of its binary

    def out(self, name):
        return os.path.join(self.folder, "out", name)

    def program(self, name):
        return os.path.join(self.out(name), ROWS[name]["crate"])

    def target_dir(self, name):
        return os.path.join(self.folder, "target-" + ROWS[name]["toolchain"])

    def sizes_dir(self, name):
        """rustc's lists live and die with the build that made them: cargo makes neither twice."""
        return os.path.join(self.target_dir(name), "sizes", name)

    def binary(self, name):
        """The row's binary, built if this run has not done so yet."""
        if name not in self.done:
            spec = ROWS[name]
            for need in spec["needs"]:
                self.binary(need)
            os.makedirs(self.out(name), exist_ok=True)
            maker = globals()["make_" + spec["post"]] if spec["post"] else None
            self.done[name] = maker(self, name) if maker else self.build(name, spec)
        return self.done[name]

    def build(self, name, spec):
        env, cargo, subject = self.environment(name, spec)
        argv = [cargo, "rustc", "--release", "--locked", "-j2", "--target", spec["target"],
                "--message-format=json-render-diagnostics"]
        if spec["toolchain"] == "1.63":
            argv.append("--offline")
        if spec["crate"] == "tasks":
            argv += snapshot_rows.cargo_options(spec)
        packed = "split-debuginfo=packed" in spec["rustflags"]
        release = os.path.join(env["CARGO_TARGET_DIR"], spec["target"], "release")
        for stale in (os.path.join(release, spec["crate"] + ".dwp"), self.program(name) + ".dwp"):
            if os.path.exists(stale):
                os.unlink(stale)
        done = checked(argv + ["--"] + spec["final"].split(), cwd=subject, env=env)
        executable = None
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                executable = json.loads(line).get("executable") or executable
        if executable is None:
            raise RowFailed("cargo built no program")
        final = self.program(name)
        shutil.copy2(executable, final)
        if packed:
            shutil.copy2(executable + ".dwp", final + ".dwp")
        if spec["target"] == HOST and spec["crate"] == "subject":
            answer = checked([final], timeout=60)
            if answer.stdout != "subject: total 428\n":
                raise RowFailed("the subject itself printed %r" % answer.stdout[:80])
        return final

    def environment(self, name, spec):
        """Environment, cargo and the subject's folder for a row's toolchain."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("CARGO_", "RUSTFLAGS", "RUSTC", "LD_LIBRARY_PATH"))
               or k in ("CARGO_HOME", "CARGO_HTTP_CAINFO")}
        toolchain = spec["toolchain"]
        env["CARGO_TARGET_DIR"] = self.target_dir(name)
        env["CARGO_INCREMENTAL"] = "0"
        env["RUSTC_WRAPPER"] = os.path.join(HERE, "measure_rustc.py")
        if spec["sizes"] == "own":
            env["MATRIX_SIZES_DIR"] = self.sizes_dir(name)
        if spec["rustflags"]:
            env["RUSTFLAGS"] = spec["rustflags"]
        for key, value in spec["profile"].items():
            env["CARGO_PROFILE_RELEASE_" + key.upper()] = value
        env["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] = "aarch64-linux-gnu-gcc"
        subject = self.subject(spec)
        cargo = "cargo"
        if toolchain != "installed":
            folder = self.toolchain(toolchain, spec["target"])
            env["RUSTC"] = os.path.join(folder, "usr", "bin", "rustc")
            env["LD_LIBRARY_PATH"] = fetch_rustc.library_path(folder)
        if toolchain == "1.63":
            cargo = os.path.join(folder, "usr", "bin", "cargo")
            env["CARGO_HOME"] = self.vendored_home(subject, spec["crate"])
        return env, cargo, subject

    def subject(self, spec):
        """The folder of the subject's package for a row."""
        if spec["crate"] == "tasks":
            return snapshot_rows.package(self.folder, spec)
        return os.path.join(HERE, "subject-1.63" if spec["toolchain"] == "1.63" else "subject")

    def toolchain(self, name, target):
        try:
            dest = os.path.join(self.folder, "toolchains")
            folder = fetch_rustc.fetch(name, dest)
            if target == ARM64:
                extra = fetch_rustc.fetch(name + "-arm64", dest)
                link = os.path.join(folder, "usr", "lib", "rustlib", ARM64)
                if not os.path.exists(link):
                    os.symlink(os.path.join(extra, "usr", "lib", "rustlib", ARM64), link)
            return folder
        except (fetch_rustc.FetchError, subprocess.TimeoutExpired) as problem:
            raise RowFailed("rustc %s: %s" % (name, problem))

    def vendored_home(self, subject, crate):
        """A CARGO_HOME for the old cargo, which cannot read today's registry: crates from a folder."""
        suffix = "1.63" if crate == "subject" else "1.63-" + crate
        home = os.path.join(self.folder, "cargo-home-" + suffix)
        vendor = os.path.join(self.folder, "vendor-" + suffix)
        os.makedirs(home, exist_ok=True)
        config = os.path.join(home, "config.toml")
        if not os.path.exists(config):
            checked(["cargo", "vendor", "--locked", "--versioned-dirs", vendor], cwd=subject)
            with open(config, "w") as out:
                out.write("[source.crates-io]\nreplace-with = \"vendored\"\n"
                          "[source.vendored]\ndirectory = \"%s\"\n" % vendor)
        return home


def stripped_copy(workshop, name, source):
    final = workshop.program(name)
    checked(["objcopy", "--strip-all", source, final])
    return final


def debug_file(workshop, name, source):
    final = workshop.program(name) + ".debug"
    checked(["objcopy", "--only-keep-debug", source, final])
    return final


def first_need(workshop, name):
    return workshop.binary(ROWS[name]["needs"][0])


def make_debuglink(workshop, name):
    source = first_need(workshop, name)
    debug = debug_file(workshop, name, source)
    final = stripped_copy(workshop, name, source)
    # Without the build-id only the link leads to the debug file.
    checked(["objcopy", "--remove-section=.note.gnu.build-id", final])
    checked(["objcopy", "--remove-section=.note.gnu.build-id", debug])
    checked(["objcopy", "--add-gnu-debuglink=" + os.path.basename(debug), os.path.basename(final)],
            cwd=workshop.out(name))
    return final


def build_id(path):
    match = re.search(r"Build ID: ([0-9a-f]+)", checked(["readelf", "-n", path]).stdout)
    if not match:
        raise RowFailed("the binary has no build-id")
    return match.group(1)


def build_id_place(path):
    name = build_id(path)
    return "/usr/lib/debug/.build-id/%s/%s.debug" % (name[:2], name[2:])


def make_build_id_dir(workshop, name):
    source = first_need(workshop, name)
    debug_file(workshop, name, source)
    return stripped_copy(workshop, name, source)


def make_split_missing(workshop, name):
    final = workshop.program(name)
    shutil.copy2(first_need(workshop, name), final)
    return final


def make_symbols_stripped(workshop, name):
    return stripped_copy(workshop, name, first_need(workshop, name))


def make_symbols_rebuild(workshop, name):
    final = workshop.program(name)
    shutil.copy2(workshop.binary(ROWS[name]["needs"][1]), final)
    return final


def extra_options(workshop, spec):
    if spec["post"] in ("symbols_stripped", "symbols_rebuild"):
        return ["--symbols", workshop.binary(spec["needs"][0])]
    return []


@contextlib.contextmanager
def placed_debug_file(workshop, name):
    """The row's debug file in the system's debug folder, where the row is about that."""
    if ROWS[name]["post"] != "build_id_dir":
        yield
        return
    place = build_id_place(workshop.binary(name))
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy2(workshop.program(name) + ".debug", place)
    except OSError as problem:
        raise RowFailed("cannot place %s (%s); run as root" % (place, problem.strerror))
    try:
        yield
    finally:
        os.unlink(place)


# ------------------------------------------------------------------------------------------------
# Judgement
# ------------------------------------------------------------------------------------------------
class Judge:
    """Asks asyncmem about each row's binary and holds the answer against the table."""

    def __init__(self, asyncmem, workshop, count_dwarf):
        self.asyncmem = asyncmem
        self.workshop = workshop
        self.count_dwarf = count_dwarf
        self.answers = {}
        self.sizes = {}

    def ask(self, name):
        """The document for a row; RowFailed if there is none."""
        if name not in self.answers:
            spec = ROWS[name]
            binary = self.workshop.binary(name)
            argv = [self.asyncmem, "types", "--json", "--all", "--no-cache"]
            with placed_debug_file(self.workshop, name):
                done = call(argv + extra_options(self.workshop, spec) + [binary], timeout=120)
            if done.returncode != 0:
                raise RowFailed("exit code %d: %s" % (done.returncode, last_line(done.stderr)))
            try:
                self.answers[name] = json.loads(done.stdout)
            except ValueError as problem:
                raise RowFailed("no JSON: %s" % problem)
            with open(os.path.join(self.workshop.out(name), "types.json"), "w") as out:
                out.write(done.stdout)
        return self.answers[name]

    def rustc_sizes(self, name):
        """What rustc printed beside the build of this row."""
        if name not in self.sizes:
            sizes = rustc_sizes.Sizes()
            for crate in ("tokio", "subject"):
                path = os.path.join(self.workshop.sizes_dir(name), crate + ".txt")
                if not os.path.exists(path):
                    raise RowFailed("rustc's sizes of %s are gone; remove %s and run again"
                                    % (crate, self.workshop.folder))
                sizes.read(crate, path)
            if not sizes.entries:
                raise RowFailed("rustc's list of sizes names no future; the reader must be wrong")
            self.sizes[name] = sizes
        return self.sizes[name]

    def judge(self, name):
        """Figures of a passing row; RowFailed for every other."""
        spec = ROWS[name]
        if spec["crate"] == "tasks":
            return self.judge_snapshot(name, spec)
        document = self.ask(name)
        check_head(document, spec)
        futures = document["futures"]
        figures = {"detail": document["detail"], "futures": len(futures), "compared": "-",
                   "bytes": "-", "unlisted": "-", "note": spec["missing"]}
        if spec["detail"] == "full":
            laid_out = [f for f in futures if f["size_bytes"] is not None]
            check_sums(document)
            check_presence(laid_out)
            figures["compared"], figures["unlisted"] = self.compare_sizes(name, spec, laid_out)
            figures["compared"] += "; %d only declared" % (len(futures) - len(laid_out))
            figures["bytes"] = document["totals"]["total_bytes"]
            if self.count_dwarf and not spec["same"]:
                self.compare_count(name, futures)
            if spec["same"]:
                check_same(futures, self.ask("default")["futures"], spec["same"])
        elif spec["detail"] == "names":
            check_names(futures, TASK_NAMES[spec["names"]])
        elif futures:
            raise RowFailed("%d futures named, none expected" % len(futures))
        return figures

    def judge_snapshot(self, name, spec):
        binary = self.workshop.binary(name)
        with placed_debug_file(self.workshop, name):
            try:
                return snapshot_rows.judge(self.asyncmem, binary, extra_options(self.workshop, spec), spec)
            except snapshot_rows.Wrong as problem:
                raise RowFailed(str(problem))

    def compare_count(self, name, futures):
        """As many futures as llvm-dwarfdump shows; the rows that equal the default need no count."""
        try:
            there = dwarf_futures.count(self.workshop.binary(name))
        except FileNotFoundError:
            raise RowFailed("llvm-dwarfdump is missing; run tools/setup matrix")
        except OSError as problem:
            raise RowFailed(str(problem))
        if there != len(futures):
            raise RowFailed("%d futures, llvm-dwarfdump shows %d" % (len(futures), there))

    def compare_sizes(self, name, spec, futures):
        """Every future's size and alignment against rustc's; returns (compared, types DWARF lacks)."""
        reference = self.rustc_sizes(name if spec["sizes"] == "own" else "default")
        for entry in reference.entries:
            entry.met = False
        for future in futures:
            entries = reference.find(future)
            if not entries:
                raise RowFailed("rustc lists no %s" % future["name"])
            fitting = [e for e in entries
                       if (e.size, e.align) == (future["size_bytes"], future["align_bytes"])]
            if not fitting:
                raise RowFailed("%s: size %s align %s, rustc says %s" % (
                    future["name"], future["size_bytes"], future["align_bytes"],
                    " or ".join("%d/%d" % (e.size, e.align) for e in entries)))
            fitting = [e for e in fitting if not e.met] or fitting
            fitting[0].met = True
        unlisted = sum(1 for e in reference.entries if not e.met)
        return "%d of %d equal" % (len(futures), len(futures)), unlisted


def check_head(document, spec):
    if document.get("schema") != "asyncmem.types/1":
        raise RowFailed("schema is %r" % document.get("schema"))
    if document["detail"] != spec["detail"]:
        raise RowFailed("detail %s (%s), expected %s" % (
            document["detail"], document.get("detail_reason"), spec["detail"]))
    reason = document.get("detail_reason") or ""
    if spec["reason"] == "" and reason:
        raise RowFailed("detail_reason %r, expected none" % reason)
    if spec["reason"] and not re.search(spec["reason"], reason):
        raise RowFailed("detail_reason %r names no remedy" % reason)


def check_sums(document):
    futures = [f for f in document["futures"] if f["size_bytes"] is not None]
    for future in futures:
        states = [s["name"] for s in future["states"]]
        if states[:3] != ["Unresumed", "Returned", "Panicked"]:
            raise RowFailed("%s: states begin %s" % (future["name"], states[:3]))
        for state in future["states"]:
            total = sum(state[part] for part in STATE_PARTS)
            if total != future["size_bytes"]:
                raise RowFailed("%s, %s: the five parts sum to %d of %d bytes" % (
                    future["name"], state["name"], total, future["size_bytes"]))
    totals = document["totals"]
    sizes = [f["size_bytes"] for f in futures]
    if (totals["count"], totals["total_bytes"], totals["largest_bytes"]) != (
            len(document["futures"]), sum(sizes), max(sizes, default=0)):
        raise RowFailed("totals %s do not fit the %d futures" % (totals, len(sizes)))


def plain_name(future):
    return rustc_sizes.strip_generics(future["name"])


def check_presence(futures):
    functions = [plain_name(f) for f in futures if f["kind"] == "async fn"]
    blocks = [plain_name(f) for f in futures if f["kind"] == "async block"]
    for wanted in FUNCTIONS:
        if wanted not in functions:
            raise RowFailed("async fn %s is missing" % wanted)
    if functions.count("subject::generic") != 2:
        raise RowFailed("subject::generic has two instances, %d found"
                        % functions.count("subject::generic"))
    for wanted in BLOCKS:
        if not any(re.fullmatch(wanted, name) for name in blocks):
            raise RowFailed("async block %s is missing" % wanted)


def check_names(futures, expected):
    names = [plain_name(f) for f in futures]
    lacking = sorted(set(n for n in expected if names.count(n) < expected.count(n)))
    surplus = sorted(set(n for n in names if names.count(n) > expected.count(n)))
    if lacking:
        raise RowFailed("%d task futures are missing, first %s" % (len(lacking), lacking[0]))
    if surplus:
        raise RowFailed("%d names too many (%d for %d tasks), first %s"
                        % (len(surplus), len(names), len(expected), surplus[0]))
    sized = [f["name"] for f in futures if f["size_bytes"] is not None]
    if sized:
        raise RowFailed("%s has a size, though detail is names" % sized[0])


def check_same(futures, default, how):
    """The futures are the default build's: every key, or names with sizes."""
    def key(future):
        return (plain_name(future), future["size_bytes"], future["align_bytes"])
    ours, theirs = sorted(map(key, futures), key=str), sorted(map(key, default), key=str)
    if ours != theirs:
        odd = [k for k in ours if k not in theirs] + [k for k in theirs if k not in ours]
        raise RowFailed("differs from the default build (%d futures, there %d), first at %s"
                        % (len(ours), len(theirs), odd[0] if odd else "a repeated name"))
    if how == "document" and futures != default:
        for ours, theirs in zip(futures, default):
            if ours != theirs:
                keys = [k for k in theirs if ours.get(k) != theirs[k]]
                raise RowFailed("differs from the default build in %s: %s"
                                % (theirs["name"], ", ".join(keys)))


# ------------------------------------------------------------------------------------------------
# Further parts of `make matrix`
# ------------------------------------------------------------------------------------------------
def corruption_row():
    """The damage test of tests/fuzz with 100 000 seeds, under ASan and UBSan, as a row like run_row's."""
    name, about = "corrupt-100000", "100 000 seeds of damaged bytes through the whole pipeline, ASan and UBSan"
    begun = time.monotonic()
    build = os.path.join(ROOT, "build-asan")
    corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", "program")
    subjects = sorted(os.path.join(corpus, file) for file in os.listdir(corpus)
                      if file.endswith(".elf") and file != "cut.elf")  # that one cannot be read undamaged
    try:
        if not os.path.exists(os.path.join(build, "build.ninja")):
            checked(["meson", "setup", build, "-Db_sanitize=address,undefined", "-Db_lundef=false"], timeout=120)
        checked(["ninja", "-C", build, "tests/fuzz/flip"], timeout=900)
        done = checked([os.path.join(build, "tests", "fuzz", "flip"), *subjects, "--seeds", "100000",
                        "--jobs", "2"], timeout=5400)
        line = last_line(done.stdout)
        if "100000 seeds passed" not in line:
            raise RowFailed(line)
        status, figures = "full", {"futures": "-", "compared": line, "bytes": "-", "unlisted": "-"}
    except (RowFailed, subprocess.TimeoutExpired) as problem:
        status, figures, line = "FAIL", None, str(problem)[-300:]
    print("%-9s %-28s %s (%.0f s)" % (status, name, line, time.monotonic() - begun), flush=True)
    return name, status, about, figures, line


# ------------------------------------------------------------------------------------------------
# The run
# ------------------------------------------------------------------------------------------------
def run_row(judge, name):
    """(name, status, about, figures or None, detail line)"""
    spec = ROWS[name]
    begun = time.monotonic()
    try:
        figures = judge.judge(name)
        status = "full" if spec["detail"] == "full" else "degraded"
        line = figures.get("line") or "%s futures, sizes %s" % (figures["futures"], figures["compared"])
    except RowFailed as problem:
        figures, status, line = None, "FAIL", str(problem).replace(ROOT + os.sep, "")
    except (KeyError, TypeError, IndexError, AttributeError) as problem:
        figures, status = None, "FAIL"
        line = "the answer lacks or misshapes a key: %s %s" % (type(problem).__name__, problem)
    seconds = time.monotonic() - begun
    print("%-9s %-28s %s (%.0f s)" % (status, name, line, seconds), flush=True)
    return name, status, spec["about"], figures, line


def version_of(argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True).stdout.split("\n")[0].strip()
    except OSError:
        return "none"


def markdown(results):
    passed = sum(1 for r in results if r[1] != "FAIL")
    lines = [
        "# The build matrix",
        "",
        "Written by `make matrix`; do not edit. One small tokio program (tests/matrix/subject), built",
        "once for each row; all but the named value is the release profile with `debug = 2`.",
        "The installed compiler is %s." % version_of(["rustc", "-V"]),
        "",
        "*full*: every future the program is known to have is there, and as many as llvm-dwarfdump shows;",
        "its states' bytes add up; its size and alignment are what the same compiler prints with",
        "`-Zprint-type-sizes`.",
        "*degraded*: the build has no layouts; what is missing is named, as is the remedy in the answer.",
        "*compared* counts futures whose size was held against rustc's, and those that the binary's debug",
        "information declares without laying them out; *rustc only* counts futures that rustc lists and",
        "the binary's debug information lacks (inlined away or never built).",
        "",
        "%d passed, %d failed." % (passed, len(results) - passed),
        "",
        "| row | build | result | futures | compared | bytes | rustc only |",
        "|---|---|---|---|---|---|---|",
    ]
    snapshots = [result for result in results if result[0].startswith("snapshot-")]
    for name, status, about, figures, line in results:
        if name.startswith("snapshot-"):
            continue
        if figures is None:
            lines.append("| %s | %s | **FAIL**: %s | | | | |" % (name, about, line.replace("|", "/")))
            continue
        shown = status if status == "full" else "degraded (no %s)" % figures["note"]
        lines.append("| %s | %s | %s | %s | %s | %s | %s |" % (
            name, about, shown, figures["futures"], figures["compared"], figures["bytes"],
            figures["unlisted"]))
    lines += [""] + snapshot_rows.markdown(snapshots)
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this row")
    parser.add_argument("--quick", action="store_true", help="run the few fast rows")
    parser.add_argument("--asyncmem", default=os.path.join(ROOT, "build", "asyncmem"), metavar="PATH")
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "matrix"), metavar="PATH",
                        help="where builds are kept")
    args = parser.parse_args()
    unknown = [n for n in args.only or [] if n not in ROWS]
    if unknown:
        parser.error("no row %s; see --list" % unknown[0])
    return args


def main():
    args = parse_arguments()
    if args.list:
        for name, spec in ROWS.items():
            print("%-28s %-6s %-6s %s" % (name, spec["detail"], "quick" if spec["quick"] else "",
                                          spec["about"]))
        return 0
    names = args.only or [n for n, spec in ROWS.items() if spec["quick"] or not args.quick]
    workshop = Workshop(os.path.abspath(args.dir))
    judge = Judge(os.path.abspath(args.asyncmem), workshop, count_dwarf=not args.quick)
    results = [run_row(judge, name) for name in names]
    if not args.only and not args.quick:
        results.append(corruption_row())
        with open(os.path.join(ROOT, "docs", "MATRIX.md"), "w") as out:
            out.write(markdown(results))
    failed = sum(1 for r in results if r[1] == "FAIL")
    print("matrix: %d passed, %d failed" % (len(results) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
