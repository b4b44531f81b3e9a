#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Where something is missing (room on the disk, a folder that can be written, memory, addresses, files) the program
runs on to the same result, and the reason is told."""

import os
import pathlib
import resource
import shutil
import subprocess
import unittest

from traced import ASYNCMEM, TORTURE, Place, finish, plain

COMMAND = [TORTURE, "steady", 300_000]


def may_unshare():
    return shutil.which("unshare") and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


class Scarce(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.expected = plain(COMMAND).out

    def check(self, *options, told=None, **how):
        """The result is the same; the last words of asyncmem, which match `told`."""
        place = how.pop("place", None) or Place(self)
        result = finish(place.start(COMMAND, *options, env=place.environment(witness=False), **how))
        self.assertEqual(result.out, self.expected, result.err + result.told)
        self.assertEqual(result.status, 0, result.err + result.told)
        if told:
            self.assertRegex(result.told, told)
        return place, result.told

    def in_mounts(self, mounts):
        """What runs asyncmem where these folders are small: [(folder, size)]."""
        if not may_unshare():
            self.skipTest("no right to mount")
        script = "".join(f"mount -t tmpfs -o size={size} none {folder} && " for folder, size in mounts)
        return ["unshare", "-rm", "sh", "-c", script + 'exec "$@"', "sh"]

    def test_full_disk(self):
        place = Place(self)
        small = place.folder / "small"
        small.mkdir()
        self.check(place=place, file=small / "run.amem", wrapper=self.in_mounts([(small, "4k")]),
                   told=r"(?i)no space left")

    def test_folder_that_is_not_there(self):
        self.check(file="/nonexistent/run.amem", told=r"/nonexistent")

    def test_folder_that_cannot_be_written(self):
        self.check(file="/proc/run.amem", told=r"/proc")

    def test_small_shared_memory(self):
        for size in ("64m", "4k"):
            with self.subTest(size=size):
                place, _ = self.check(wrapper=self.in_mounts([("/dev/shm", size)]))
                self.assertGreater(place.report()["totals"]["allocations"], 100_000)

    def limited(self, which, amount, **how):
        limit = {"AS": "v", "NOFILE": "n", "FSIZE": "f", "STACK": "s"}[which]
        self.assertTrue(hasattr(resource, f"RLIMIT_{which}"))
        return self.check(wrapper=["sh", "-c", f'ulimit -{limit} {amount}; exec "$@"', "sh"], **how)

    def test_few_addresses(self):
        """Of the program alone, and of asyncmem too: KiB."""
        for amount in (100_000, 1_000_000, 64_000_000):
            with self.subTest(amount=amount):
                self.limited("AS", amount)
                place = Place(self)
                command = ["sh", "-c", f'ulimit -v {amount}; exec "$@"', "sh", *COMMAND]
                result = finish(place.start(command, env=place.environment(witness=False)))
                self.assertEqual((result.status, result.out), (0, self.expected), result.err + result.told)

    def test_few_addresses_are_told(self):
        _, told = self.limited("AS", 100_000)
        self.assertIn("asyncmem", told)

    def test_few_files(self):
        """The program itself could open one more."""
        place = Place(self)
        command = ["sh", "-c", 'ulimit -n 4; exec "$@"', "sh", *COMMAND]
        result = finish(place.start(command, env=place.environment(witness=False)))
        self.assertEqual((result.status, result.out), (0, self.expected), result.err + result.told)

    def test_small_files(self):
        """Of 512 bytes each 100; the live region is a file too, and its size is not the program's affair."""
        self.limited("FSIZE", 100)

    def test_small_main_stack(self):
        self.limited("STACK", 128)

    def test_no_proc(self):
        """In a chroot without /proc, say."""
        if not may_unshare():
            self.skipTest("no right to mount")
        self.check(wrapper=["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"])

    def test_closed_streams(self):
        """asyncmem itself has nowhere to say anything."""
        place = Place(self)
        command = [str(word) for word in [ASYNCMEM, "run", "-o", place.file, "--", *COMMAND]]
        with open(place.folder / "out", "w") as out:
            process = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&- <&-', "sh", *command], stdout=out,
                                       env=place.environment(witness=False))
            self.assertEqual(process.wait(120), 0)
        self.assertEqual(pathlib.Path(out.name).read_text(), self.expected)

    def test_unknown_user(self):
        """No HOME, and hardly an environment."""
        place = Place(self)
        result = finish(place.start(COMMAND, env={"PATH": os.environ["PATH"]}))
        self.assertEqual((result.status, result.out), (0, self.expected), result.err + result.told)


if __name__ == "__main__":
    unittest.main()
