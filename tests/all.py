#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`make test`: builds what the tests need, runs every suite, and ends with one line that counts them."""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD, ASAN = ROOT / "build", ROOT / "build-asan"
PROGRAMS = BUILD / "programs"
COUNTS = re.compile(r"^\S*:? ?(\d+) passed, (\d+) failed", re.MULTILINE)


class Tally:
    def __init__(self):
        self.passed, self.failed, self.rows, self.complaints = 0, 0, [], []

    def add(self, name, passed, failed, seconds):
        self.passed += passed
        self.failed += failed
        self.rows.append((name, passed, failed, seconds))


def run(command, limit_s, **more):
    """Runs one step with its output shown; (status, output)."""
    print(f"\n== {' '.join(str(word) for word in command)}", flush=True)
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, text=True, errors="replace",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **more)
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what it started too: cargo's compilers
        output, _ = process.communicate()
        print(output[-4000:], f"\nended after {limit_s} s")
        return 124, ""
    return process.returncode, output


def step(tally, name, command, limit_s, **more):
    """A step that must succeed; a suite that counts itself adds its own numbers."""
    began = time.monotonic()
    status, output = run(command, limit_s, **more)
    counted = COUNTS.findall(output)
    passed, failed = (int(counted[-1][0]), int(counted[-1][1])) if counted else (int(status == 0), 0)
    if status != 0 and not failed:
        failed = 1
    print(output if status else output[-2500:], flush=True)
    if status:
        tally.complaints.append((name, output))
    tally.add(name, passed, failed, time.monotonic() - began)
    return status == 0


def meson_suite(tally, name, build, limit_s, *arguments):
    """Each meson test counts as one."""
    began = time.monotonic()
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    status, output = run(["meson", "test", "-C", build, "--print-errorlogs", "--no-rebuild", *arguments],
                         limit_s)
    print(output[-6000:], flush=True)
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    failed = [result for result in results if result["result"] not in ("OK", "EXPECTEDFAIL")]
    good, bad = len(results) - len(failed), len(failed)
    for result in failed:
        tally.complaints.append((f"{result['name']} ({result['result']}, {result['duration']:.0f} s)",
                                 result.get("stdout", "") + result.get("stderr", "")))
    if status and not bad:
        bad = 1
    tally.add(name, good, bad, time.monotonic() - began)


def has_unit_tests(build):
    listing = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True)
    return any("unit" in suite for test in json.loads(listing.stdout or "[]") for suite in test["suite"])


def setup_builds(tally):
    if not has_unit_tests(BUILD):  # configured before cmocka was there
        step(tally, "configure again", ["meson", "setup", "--reconfigure", BUILD], 120)
        tally.add("unit tests are configured", has_unit_tests(BUILD), not has_unit_tests(BUILD), 0)
    step(tally, "build", ["ninja", "-C", BUILD], 600)
    if not (ASAN / "build.ninja").exists():
        step(tally, "configure with sanitizers",
             ["meson", "setup", ASAN, "-Db_sanitize=address,undefined", "-Db_lundef=false",
              f"-Dprograms={PROGRAMS}"], 120)
    step(tally, "build with sanitizers", ["ninja", "-C", ASAN], 600)


def build_programs(tally):
    step(tally, "build the Rust programs",
         ["cargo", "build", "--manifest-path", "tests/programs/Cargo.toml", "--target-dir", PROGRAMS,
          "--release", "--locked", "--quiet"], 2400)
    step(tally, "build two of them without debug info",
         ["cargo", "build", "--manifest-path", "tests/programs/Cargo.toml", "--target-dir", BUILD / "symbols",
          "--release", "--locked", "--quiet", "--config", "profile.release.debug=0", "-p", "trees", "-p", "traps"],
         1500)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only suites whose name has this in it")
    only = parser.parse_args().only
    os.environ.update(ASYNCMEM=str(BUILD / "asyncmem"), ASYNCMEM_PROGRAMS=str(PROGRAMS),
                      ASYNCMEM_CACHE_DIR=str(BUILD / "test-cache"))
    tally = Tally()
    setup_builds(tally)
    build_programs(tally)
    suites = {
        "unit, command line, documents": lambda name: meson_suite(tally, name, BUILD, 900, "--no-suite", "run"),
        "traced runs": lambda name: meson_suite(tally, name, BUILD, 1500, "--suite", "run"),
        "unit and fuzz with sanitizers": lambda name: meson_suite(
            tally, name, ASAN, 900, "--suite", "unit", "--suite", "fuzz"),
        "snapshots with sanitizers": lambda name: meson_suite(
            tally, name, ASAN, 900, "--suite", "snapshot"),
        "oracle: sizes and slots against rustc": lambda name: step(
            tally, name, ["python3", "tests/oracle/types_oracle.py", "--asyncmem", BUILD / "asyncmem"], 1200),
        "matrix, quick part": lambda name: step(
            tally, name, ["python3", "tests/matrix/matrix.py", "--quick", "--asyncmem", BUILD / "asyncmem"],
            600),
    }
    for name, suite in suites.items():
        if not only or only in name:
            suite(name)
    print("\n")
    for name, passed, failed, seconds in tally.rows:
        print(f"  {name:45} {passed:5} passed {failed:3} failed {seconds:7.1f} s")
    for name, output in tally.complaints:  # once more, where the end of a log shows it
        print(f"\nFAILED {name}:\n" + "\n".join(output.splitlines()[-12:]))
    print(f"\n{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
