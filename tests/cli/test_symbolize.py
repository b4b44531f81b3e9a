#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""pc -> inlined frames with file and line, against binutils' addr2line on the same addresses.

Compared: the number of frames, each frame's file name and line.
"""

import os
import pathlib
import random
import re
import shutil
import subprocess
import unittest

BUILD = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", "build"))
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", "build/programs")) / "release"
NR_ADDRESSES = 1500


def code_addresses(program):
    """Addresses spread over .text, the same ones in each run."""
    listing = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    start, size = next((int(m[1], 16), int(m[2], 16)) for m in
                       [re.search(r" \.text +PROGBITS +(\S+) \S+ (\S+)", line) for line in listing.splitlines()]
                       if m)
    rng = random.Random(1)
    return sorted(rng.randrange(start, start + size) for _ in range(NR_ADDRESSES))


def ours(program, addresses):
    done = subprocess.run([BUILD / "symbolize", program], input="\n".join(map(hex, addresses)),
                          capture_output=True, text=True, check=True)
    rows = []
    for line in done.stdout.splitlines():
        frames = [frame.rsplit("|", 1)[1] for frame in line.split("\t") if frame]
        rows.append(frames)
    return rows


def theirs(program, addresses):
    done = subprocess.run(["addr2line", "-i", "-a", "-f", "-e", program], input="\n".join(map(hex, addresses)),
                          capture_output=True, text=True, check=True)
    rows = []
    for line in done.stdout.splitlines():
        if re.fullmatch(r"0x[0-9a-f]{16}", line):
            rows.append([])
            names = 0
        else:
            names += 1
            if names % 2 == 0:
                rows[-1].append(re.sub(r" \(discriminator \d+\)", "", line))
    return rows


def place(text):
    """File name and line; unknown ones are None."""
    file, _, line = text.rpartition(":")
    if file in ("?", "??") or line in ("?", "0"):
        return None
    return os.path.basename(file), int(line)


@unittest.skipUnless(shutil.which("addr2line"), "binutils is not installed")
class InlinedFrames(unittest.TestCase):
    def compare(self, program):
        addresses = code_addresses(program)
        mine, other = ours(program, addresses), theirs(program, addresses)
        self.assertEqual(len(mine), len(addresses))
        self.assertEqual(len(other), len(addresses))
        wrong, compared, inlined = [], 0, 0
        for addr, a, b in zip(addresses, mine, other):
            b = [place(frame) for frame in b]
            a = [place(frame) for frame in a]
            if b == [None]:
                continue  # no debug info there: libc, padding between functions
            compared += 1
            inlined += len(b) > 1
            if a != b:
                wrong.append((hex(addr), a, b))
        self.assertGreater(compared, NR_ADDRESSES // 3)
        self.assertGreater(inlined, compared // 4)
        self.assertEqual(wrong[:5], [], f"{len(wrong)} of {compared} differ")

    def test_demo_server(self):
        self.compare(PROGRAMS / "demo-server")

    def test_mini_redis(self):
        self.compare(PROGRAMS / "real-mini-redis")


if __name__ == "__main__":
    unittest.main()
