#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Random programs, each its own oracle: what is called exact is equal, and no bound is above the truth.

48 programs of one seed; 1,000 with ASYNCMEM_LONG=1. ASYNCMEM_SEED and ASYNCMEM_RANDOM_COUNT choose others.
A difference names its program and the seed: random_programs.py SEED COUNT writes its source.
"""

import os
import shutil
import subprocess
import unittest

from ends import ends, judge
from random_programs import source
from subjects import LONG, PROGRAMS, WORKSPACE, Subject, snapshot

SEED = int(os.environ.get("ASYNCMEM_SEED", 1))
BATCH = 125  # programs in one binary; more take long to compile
COUNT = int(os.environ.get("ASYNCMEM_RANDOM_COUNT", 1000 if LONG else 48))
BUILD_S = 900


def build(seed, count):
    """The binary of so many programs of a seed; made once."""
    folder = PROGRAMS.parent
    name = f"random-{seed}-{count}"
    text, path, binary = source(seed, count), folder / f"{name}.rs", folder / name
    if binary.exists() and path.exists() and path.read_text() == text:
        return binary
    path.write_text(text)
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "random", "--target-dir", str(folder)],
                   cwd=WORKSPACE, check=True, timeout=BUILD_S,
                   env={**os.environ, "ASYNCMEM_RANDOM_SOURCE": str(path)})
    shutil.copy(PROGRAMS / "random", binary)
    return binary


class Random(unittest.TestCase):
    def test_exact_never_lies(self):
        print(f"{COUNT} programs, first seed {SEED}", flush=True)
        problems, exact, everything = [], 0, 0
        for number, first in enumerate(range(0, COUNT, BATCH)):
            seed, count = SEED + number, min(BATCH, COUNT - first)
            with Subject(build(seed, count)) as subject:
                cases = subject.truth()["tasks"]
                document = snapshot(subject.pid)
                freed = ends(subject, cases)
            self.assertEqual(len(cases), count)
            judged = judge(document, cases, freed)
            problems += [f"seed {seed} of {count}: {problem}" for problem in judged.problems]
            exact, everything = exact + judged.exact_bytes, everything + judged.all_bytes
        if problems:
            self.fail(f"{len(problems)} differ\n" + "\n".join(problems))
        self.assertGreaterEqual(exact, 0.9 * everything)


if __name__ == "__main__":
    unittest.main()
