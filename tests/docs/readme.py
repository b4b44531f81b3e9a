#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The outputs in README are those of real runs.

Between `<!-- output: ARGUMENTS -->` and `<!-- end -->` stands what `asyncmem ARGUMENTS` printed.  The
test runs each command again and compares; `readme.py --write` puts the new output there.  Sizes belong
to one compiler: with another rustc than the one named in README only the commands are run.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
ASYNCMEM = os.environ.get("ASYNCMEM", str(ROOT / "build" / "asyncmem"))
PROGRAMS = os.environ.get("ASYNCMEM_PROGRAMS", str(ROOT / "build" / "programs"))
BLOCK = re.compile(r"<!-- output: ([^>]*?) -->\n(.*?)<!-- end -->\n", re.DOTALL)
COMPILER = re.compile(r"<!-- made with (rustc [^ ]+)[^>]* -->")
SHOWN = "build/programs"
PID = "4242"


def rustc():
    done = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def run(arguments):
    """The output for a terminal of 100 columns; the programs' place is written as in README.

    `snapshot PID` looks at the demo server under tools/with_load; what differs from run to run (the
    process id, how long the stop took) is shown as in README.
    """
    if arguments.startswith("run "):
        return run_traced(arguments)
    command = [ASYNCMEM, *(word.replace(SHOWN, PROGRAMS) for word in arguments.split())]
    if command[1] == "snapshot":
        command = [ROOT / "tools/with_load", f"{PROGRAMS}/release/demo-server",
                   *("@PID" if word == PID else word for word in command)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"})
    text = re.sub(r"\bpid \d+", f"pid {PID}", done.stdout)
    text = re.sub(r"stopped for [0-9.]+ ms", "stopped for 0.4 ms", text)
    text = re.sub(r"at 0x[0-9a-f]+", "at 0x55d1c0a3f080", text)
    if "@PID" in command:  # where a sentence is broken depends on those, too
        text = re.sub(r"(?<=[a-z;,`])\n  (?=[a-z`(])", " ", text)
    # A path that is longer than a line is cut from the front.
    return re.sub(r"^\S*/demo-server \(", f"{SHOWN}/release/demo-server (", text.replace(PROGRAMS, SHOWN))


def loose(text):
    """What is the same in every run: buffers of connections differ by how their bytes arrived."""
    kept = []
    for line in text.splitlines():
        if re.match(r" {7}[\d,]+ B in ", line):  # the variables of a group
            continue
        line = re.sub(r" hold .*", "", line)
        line = re.sub(r"(#|\d[\d,.]*) ?([kMG]?B)?", "#", line)
        line = re.sub(r"<?# %", "%", line)
        kept.append(re.sub(r"[ …]+", " ", line).strip("│├└─ "))
    return "\n".join(sorted(kept))  # fields of a future are in the order of their bytes


def block(arguments):
    return (f"<!-- output: {arguments} -->\n```\n$ asyncmem {arguments}\n{run(arguments).rstrip()}\n```\n"
            f"<!-- made with {rustc()} -->\n<!-- end -->\n")


def run_traced(arguments):
    """Of the report of a traced run what stands out, and who held what at its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [ASYNCMEM, "run", "-o", f"{folder}/run", *arguments.replace(SHOWN, PROGRAMS).split()[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
                              env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"})
    text = re.sub(r"\bpid \d+", f"pid {PID}", done.stderr.replace(PROGRAMS, SHOWN))
    parts = re.split(r"\n\n(?=\S)", text)
    shown = [part for part in parts if part.startswith(("What stands", "Who held what before"))]
    return "\n\n  [...]\n\n".join([parts[0] + "\n\n" + shown[0], *shown[1:]])


def loose_run(text):
    """Of a traced run that README and every run must say: how it ended, and what leaks."""
    return sorted(set(re.findall(r"ended with exit status \d|tasks of deliver never finished: they waited at \S+|"
                                 r"tasks of `deliver`|in `packet`|lost no event", re.sub(r"\s*\n\s*", " ", text))))


class Outputs(unittest.TestCase):
    def test_outputs_are_those_of_this_program(self):
        blocks = BLOCK.findall(README.read_text())
        self.assertGreaterEqual(len(blocks), 4)
        for arguments, text in blocks:
            now = block(arguments)
            made_with = COMPILER.search(text)
            self.assertIsNotNone(made_with, "run `make readme`")
            if made_with[1] == rustc():
                shown = f"<!-- output: {arguments} -->\n{text}<!-- end -->\n"
                if arguments.startswith("snapshot"):
                    shown, now = loose(shown), loose(now)
                if arguments.startswith("run"):
                    shown, now = loose_run(shown), loose_run(now)
                    self.assertEqual(len(now), 5)
                self.assertEqual(shown, now, "README is out of date: run `make readme`")

    def test_the_two_commands_are_shown(self):
        text = README.read_text()
        self.assertIn("make demo", text)
        self.assertIn("make test", text)


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(BLOCK.sub(lambda found: block(found[1]), README.read_text()))
    else:
        unittest.main()
