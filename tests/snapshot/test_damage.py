#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Cores whose bytes were changed: an answer or one line of error, never a crash, never without end.

The damage is of two kinds: to the core's own headers and notes, and to the memory in it, above all to
words that are pointers, so that the walks over lists, futures and heap chunks meet every kind of lie.
Run with an asyncmem that was built with sanitizers, any report of theirs is a failure.
"""

import json
import os
import pathlib
import random
import shutil
import struct
import tempfile
import unittest

from subjects import LONG, PROGRAMS, Subject, ask, dump_core

SEEDS = 1000 if LONG else 24
PT_LOAD, PF_W = 1, 2
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99", "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99"}


def writable_parts(core):
    """(offset, size) in the file of the writable memory."""
    at, = struct.unpack_from("<Q", core, 32)
    number, = struct.unpack_from("<H", core, 56)
    for row in range(number):
        kind, flags, offset, _, _, size = struct.unpack_from("<IIQQQQ", core, at + 56 * row)
        if kind == PT_LOAD and flags & PF_W and size:
            yield offset, size


def damage_headers(core, choice):
    """Bytes of the ELF header, the list of segments and the notes."""
    for _ in range(choice.randrange(1, 12)):
        core[choice.randrange(0, min(len(core), 24576))] = choice.choice((0, 1, 0x7f, 0x80, 0xff, choice.randrange(256)))


def damage_memory(core, choice):
    """Words become other words of the same memory, small numbers, or nothing."""
    parts = list(writable_parts(core))
    for _ in range(choice.randrange(200, 4000)):
        offset, size = choice.choice(parts)
        at = offset + 8 * choice.randrange(size // 8)
        there = choice.choice(parts)
        word, = struct.unpack_from("<Q", core, there[0] + 8 * choice.randrange(there[1] // 8))
        word = choice.choice((word, word, word + 8, 0, choice.randrange(1 << 12), 0xffffffffffffffff))
        struct.pack_into("<Q", core, at, word & 0xffffffffffffffff)


def sections(binary):
    """name -> (offset, size) in the file."""
    at, = struct.unpack_from("<Q", binary, 40)
    _, number, names = struct.unpack_from("<HHH", binary, 58)
    rows = [struct.unpack_from("<IIQQQQ", binary, at + 64 * row) for row in range(number)]
    text = rows[names][4]
    return {binary[text + row[0]:binary.index(0, text + row[0])].decode(): (row[4], row[5]) for row in rows}


def damage_debug_info(binary, choice):
    """What a running program never looks at; offsets and sizes of members above all."""
    parts = sections(binary)
    for _ in range(choice.randrange(50, 3000)):
        offset, size = parts[choice.choice((".debug_info", ".debug_info", ".debug_info", ".debug_abbrev", ".debug_str"))]
        binary[offset + choice.randrange(size)] = choice.choice((0, 1, 8, 0x7f, 0x80, 0xff, choice.randrange(256)))


class DebugInfo(unittest.TestCase):
    """A program that runs, with debug info that lies."""

    def test_debug_info(self):
        whole = (PROGRAMS / "trees").read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(SEEDS // 2):
                program = pathlib.Path(folder) / f"trees-{seed}"
                binary = bytearray(whole)
                damage_debug_info(binary, random.Random(seed))
                program.write_bytes(binary)
                program.chmod(0o755)
                with self.subTest(seed=seed), Subject(program) as subject:
                    subject.truth()
                    done = ask("snapshot", subject.pid, "--json", "--no-cache", check=False, limit_s=60,
                               env={**os.environ, **SANITIZERS})
                    self.assertIn(done.returncode, (0, 3, 4), done.stderr[-2000:])
                    self.assertEqual(subject.finish(), 0)
                program.unlink()


@unittest.skipUnless(shutil.which("gcore"), "needs gcore (Debian: gdb)")
class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        folder = pathlib.Path(cls.temporary.name)
        cls.bad = folder / "bad"
        with Subject(PROGRAMS / "trees") as subject:
            subject.truth()
            cls.core = dump_core(subject.pid, folder).read_bytes()

    def look(self, seed, damage):
        core = bytearray(self.core)
        damage(core, random.Random(seed))
        self.bad.write_bytes(core)
        with self.subTest(damage=damage.__name__, seed=seed):
            done = ask("snapshot", "--core", self.bad, "--json", check=False, limit_s=60,
                       env={**os.environ, **SANITIZERS})
            self.assertIn(done.returncode, (0, 3), done.stderr[-2000:])
            if done.returncode == 0:
                json.loads(done.stdout)
            else:
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_headers(self):
        for seed in range(SEEDS):
            self.look(seed, damage_headers)

    def test_memory(self):
        for seed in range(SEEDS):
            self.look(seed, damage_memory)


if __name__ == "__main__":
    unittest.main()
