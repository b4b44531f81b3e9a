#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What cannot be looked at: one line that says why and what to do, nothing on stdout, exit 4 or 3.

A row of the table is (what, a context manager that gives the arguments, exit code, what the line must have).
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

from subjects import ASYNCMEM, PROGRAMS, Subject, ask, dump_core, wait_until

TARGET, INPUT, USAGE = 4, 3, 2
NOBODY = 65534
TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit("cannot trace")
print("traced", flush=True)
sys.stdin.read()
"""
# i386: pause() for ever: mov eax, 29; int 0x80; jmp back.
LOOP_32 = bytes.fromhex("b81d000000cd80ebf7")


def ended(process):
    process.kill()
    process.wait(30)
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


@contextlib.contextmanager
def started(*command, **more):
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
    try:
        yield process
    finally:
        ended(process)


@contextlib.contextmanager
def gone():
    process = subprocess.Popen(["true"])
    process.wait(30)
    yield [process.pid]


@contextlib.contextmanager
def zombie():
    process = subprocess.Popen(["true"])
    try:
        status = pathlib.Path(f"/proc/{process.pid}/stat")
        wait_until("the process has ended", lambda: ") Z " in status.read_text())
        yield [process.pid]
    finally:
        process.wait(30)


@contextlib.contextmanager
def kernel_thread():
    try:
        name = pathlib.Path("/proc/2/comm").read_text().strip()
    except OSError:
        name = None
    if name != "kthreadd":
        raise unittest.SkipTest("process 2 is no kernel thread here")
    yield [2]


@contextlib.contextmanager
def traced():
    with started("sleep", "1000") as target:
        with started(sys.executable, "-c", TRACER, target.pid) as tracer:
            if tracer.stdout.readline() != b"traced\n":
                raise unittest.SkipTest("ptrace is not allowed here")
            yield [target.pid]


@contextlib.contextmanager
def program_of_32_bits():
    header = b"\x7fELF\1\1\1" + bytes(9) + struct.pack(
        "<HHIIIIIHHHHHH", 2, 3, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    size = 0x54 + len(LOOP_32)
    segment = struct.pack("<IIIIIIII", 1, 0, 0x8048000, 0x8048000, size, size, 5, 4096)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "program"
        path.write_bytes(header + segment + LOOP_32)
        path.chmod(0o755)
        try:
            process = subprocess.Popen([str(path)])
        except OSError as error:
            raise unittest.SkipTest(f"no 32-bit programs here: {error}") from None
        try:
            wait_until("the program runs", lambda: os.readlink(f"/proc/{process.pid}/exe") == str(path))
            yield [process.pid]
        finally:
            ended(process)


@contextlib.contextmanager
def file_of(content):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "core"
        if content is not None:
            path.write_bytes(content)
        yield ["--core", path]


@contextlib.contextmanager
def core_of_trees(more_arguments=(), without_memory=False):
    if not shutil.which("gcore"):
        raise unittest.SkipTest("needs gcore (Debian: gdb)")
    with tempfile.TemporaryDirectory() as folder, Subject("trees") as subject:
        subject.truth()
        if without_memory:
            pathlib.Path(f"/proc/{subject.pid}/coredump_filter").write_text("0")
        yield ["--core", dump_core(subject.pid, folder), *more_arguments]


@contextlib.contextmanager
def the_program_itself():
    yield ["--core", PROGRAMS / "trees"]


def core_header_of_32_bits():
    rest = struct.pack("<HHIIIIIHHHHHH", 4, 3, 1, 0, 52, 0, 0, 52, 32, 0, 40, 0, 0)
    return b"\x7fELF\1\1\1" + bytes(9) + rest + bytes(200)


CASES = [
    ("gone", gone, TARGET, r"no such process|gone|no process|does not exist"),
    ("zombie", zombie, TARGET, r"zombie|ended|gone"),
    ("kernel thread", kernel_thread, TARGET, r"kernel"),
    ("already traced", traced, TARGET, r"traced|debugger"),
    ("32-bit program", program_of_32_bits, TARGET, r"32-bit"),
    ("core that is not there", lambda: file_of(None), INPUT, r"No such file|does not exist"),
    ("empty core", lambda: file_of(b""), INPUT, r"core"),
    ("text as a core", lambda: file_of(b"not a core at all\n" * 100), INPUT, r"core|ELF"),
    ("the program as a core", the_program_itself, INPUT, r"core"),
    ("32-bit core", lambda: file_of(core_header_of_32_bits()), INPUT, r"32-bit"),
    ("core with another program", lambda: core_of_trees(["--exe", PROGRAMS / "nofutures"]), INPUT,
     r"--exe|another program|not the program|build"),
    ("core with no program", lambda: core_of_trees(["--exe", "/nowhere/at/all"]), INPUT, r"/nowhere/at/all"),
    ("core without memory", lambda: core_of_trees(without_memory=True), INPUT,
     r"memory|coredump_filter"),
]
MISUSED = [
    ("nothing", []),
    ("no number", ["here"]),
    ("a process and a core", ["1", "--core", "file"]),
    ("two processes", ["1", "2"]),
    ("a program without a core", ["1", "--exe", "file"]),
    ("a limit that is no number", ["1", "--stop-limit", "soon"]),
    ("a limit of days", ["1", "--stop-limit", "9999999999"]),
    ("a limit for a core, which never stops", ["--core", "file", "--stop-limit", "5"]),
    ("a group that there is not", ["1", "--group", "task"]),
]


class Errors(unittest.TestCase):
    def assert_told(self, done, exit_code, pattern):
        self.assertEqual(done.returncode, exit_code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"^asyncmem")
        self.assertRegex(done.stderr, re.compile(pattern, re.IGNORECASE))

    def test_misuse(self):
        for what, arguments in MISUSED:
            with self.subTest(what=what):
                done = ask("snapshot", *arguments, check=False)
                self.assertEqual((done.returncode, done.stdout), (USAGE, ""))
                self.assertTrue(done.stderr.startswith("asyncmem"))

    def test_another_user(self):
        """As a user who may not look: yama or not, the process is somebody else's."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv")
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        with tempfile.TemporaryDirectory() as folder, Subject("trees") as subject:
            subject.truth()
            os.chmod(folder, 0o777)
            command = pathlib.Path(folder) / "asyncmem"
            shutil.copy(ASYNCMEM, command)
            done = subprocess.run([*become, str(command), "snapshot", str(subject.pid)], capture_output=True,
                                  text=True, timeout=60, cwd="/", env={"ASYNCMEM_CACHE_DIR": f"{folder}/cache"})
            self.assert_told(done, TARGET, r"permission|may not|not allowed|root|sudo")
            self.assertEqual(subject.finish(), 0)


def add_case(what, context, exit_code, pattern):
    def test(self):
        with context() as arguments:
            for form in ([], ["--json"]):
                self.assert_told(ask("snapshot", *form, *arguments, check=False), exit_code, pattern)
    test.__doc__ = what
    setattr(Errors, "test_" + re.sub(r"\W", "_", what), test)


for case in CASES:
    add_case(*case)


class NothingToShow(unittest.TestCase):
    """A process without async tasks is no error."""

    def test_not_of_rust(self):
        with started("sleep", "1000") as process:
            wait_until("sleep runs", lambda: os.readlink(f"/proc/{process.pid}/exe").endswith(("sleep", "coreutils")))
            done = ask("snapshot", process.pid)
            self.assertRegex(done.stdout + done.stderr, r"(?i)no (async )?tasks?|without (async )?tasks?|no tokio")
            done = ask("snapshot", "--json", process.pid)
            document = json.loads(done.stdout)
            self.assertEqual((document["tasks"], document["runtimes"], document["by_type"]), ([], [], []))
            self.assertEqual(document["futures"]["count"], 0)

    def test_tokio_without_tasks(self):
        """A program of Rust whose runtime has no task left."""
        with Subject("churn", 0, "none") as subject:
            truth = subject.truth()
            document = json.loads(ask("snapshot", "--json", subject.pid).stdout)
            found = [task for task in document["tasks"] if task["kind"] == "async"]
            self.assertEqual(len(found), truth["total"])


if __name__ == "__main__":
    unittest.main()
