#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A cached plan gives the same answer, and never an old one."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ASYNCMEM = os.path.abspath(os.environ.get("ASYNCMEM", "build/asyncmem"))
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", "build/programs")) / "release"


class Cache(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.cache = self.folder / "cache"
        self.binary = self.folder / "program"
        shutil.copy(PROGRAMS / "demo-server", self.binary)

    def tearDown(self):
        self.temporary.cleanup()

    def ask(self, *arguments):
        return subprocess.run([ASYNCMEM, *map(str, arguments)], capture_output=True, text=True, check=True,
                              cwd=self.folder, env={**os.environ, "ASYNCMEM_CACHE_DIR": str(self.cache)}).stdout

    def is_cached(self, *arguments):
        return json.loads(self.ask("plan", "--json", *arguments))["cached"]

    def test_second_answer_is_the_first(self):
        first = self.ask("types", "--json", self.binary)
        self.assertTrue(self.is_cached(self.binary))
        self.assertEqual(self.ask("types", "--json", self.binary), first)
        self.assertEqual(self.ask("types", "--json", "--no-cache", self.binary), first)

    def test_private_to_the_user(self):
        self.ask("types", self.binary)
        self.assertEqual(self.cache.stat().st_mode & 0o777, 0o700)
        for file in self.cache.iterdir():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    def test_a_new_build_is_read_anew(self):
        self.ask("types", self.binary)
        shutil.copy(PROGRAMS / "real-bore", self.binary)
        self.assertFalse(self.is_cached(self.binary))
        self.assertIn("bore_cli", self.ask("types", self.binary))

    def test_one_program_one_file(self):
        for name in ("real-bore", "demo-server", "real-bore"):
            shutil.copy(PROGRAMS / name, self.binary)
            self.ask("types", self.binary)
        self.assertEqual(len(list(self.cache.iterdir())), 1)

    def test_debug_file_that_changes(self):
        debug = self.folder / "program.debug"
        subprocess.run(["objcopy", "--only-keep-debug", self.binary, debug], check=True)
        subprocess.run(["strip", self.binary], check=True)
        subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", self.binary], check=True)
        self.assertIn("serve_connection", self.ask("types", self.binary))
        self.assertTrue(self.is_cached(self.binary))
        debug.unlink()
        self.assertNotIn("serve_connection", self.ask("types", self.binary))

    def test_debug_file_that_comes_later(self):
        debug = self.folder / "program.debug"
        subprocess.run(["objcopy", "--only-keep-debug", self.binary, debug], check=True)
        subprocess.run(["strip", self.binary], check=True)
        subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", self.binary], check=True)
        kept = debug.read_bytes()
        debug.unlink()
        answer = self.ask("types", self.binary)
        self.assertIn("program.debug", answer)
        debug.write_bytes(kept)
        self.assertIn("serve_connection", self.ask("types", self.binary))

    def test_no_cache_leaves_nothing(self):
        self.ask("types", "--no-cache", self.binary)
        self.assertFalse(self.cache.exists())

    def test_damaged_cache_is_not_believed(self):
        good = self.ask("types", "--json", self.binary)
        file = next(self.cache.iterdir())
        whole = file.read_bytes()
        for damaged in (b"", whole[:100], whole[: len(whole) // 2],
                        whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b"\0" * len(whole)):
            file.write_bytes(damaged)
            self.assertEqual(self.ask("types", "--json", self.binary), good)


if __name__ == "__main__":
    unittest.main()
