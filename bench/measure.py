# SPDX-License-Identifier: MIT OR Apache-2.0
"""Running and timing of commands, what an ELF file's sections weigh, and the table of results."""

import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace


class Broken(Exception):
    """A measurement that could not be made; never a slow result."""


class Timed:
    """What one command took, once for each round: wall clock, CPU of all its threads, peak RSS."""

    def __init__(self):
        self.wall_s, self.cpu_s, self.rss_bytes = [], [], []

    def add(self, wall_s, usage):
        self.wall_s.append(wall_s)
        self.cpu_s.append(usage.ru_utime + usage.ru_stime)
        self.rss_bytes.append(usage.ru_maxrss * 1024)

    @property
    def median_s(self):
        return statistics.median(self.wall_s)

    @property
    def min_s(self):
        return min(self.wall_s)


def run(command, *, env=None, stdout=os.devnull, timeout_s=600, timed=None, name=None):
    """Runs a command to its end and returns its standard error; Broken, by its name, if it fails.

    Wall clock is that of the whole process, from before its making to after its end.
    """
    with open(stdout, "wb") as out, tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env={**os.environ, **(env or {})},
        )
        killer = threading.Timer(timeout_s, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    if process.returncode != 0:
        last = (text.strip().splitlines() or ["it said nothing"])[-1]
        took = f" after {wall_s:.0f} s" if wall_s >= timeout_s else ""
        raise Broken(f"{name or command[0]} ended with {process.returncode}{took}: {last}")
    if timed is not None:
        timed.add(wall_s, usage)
    return text


def run_apart(command, timed, *, env=None, timeout_s=600):
    """The same for a command whose peak RSS matters, without its output; see apart.py."""
    apart = [sys.executable, "-I", "-S", Path(__file__).with_name("apart.py"), timeout_s]
    said = run([*apart, *command], env=env, timeout_s=timeout_s + 60, name=command[0])
    wall_s, user_s, system_s, peak_kib = map(float, said.splitlines()[-1].split())
    timed.add(wall_s, SimpleNamespace(ru_utime=user_s, ru_stime=system_s, ru_maxrss=int(peak_kib)))


def sections(path):
    """Name -> bytes of the sections of a 64-bit little-endian ELF file."""
    with open(path, "rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            raise Broken(f"{path} is not a 64-bit little-endian ELF file")
        (table,) = struct.unpack_from("<Q", header, 40)
        row_bytes, nr, names_row = struct.unpack_from("<HHH", header, 58)
        file.seek(table)
        rows = [struct.unpack("<IIQQQQ", file.read(row_bytes)[:40]) for _ in range(nr)]
        file.seek(rows[names_row][4])
        names = file.read(rows[names_row][5])
    return {names[row[0] : names.index(b"\0", row[0])].decode(): row[5] for row in rows}


def spin():
    """Seconds that a fixed piece of work takes: how much they differ is the machine's noise."""
    begin = time.perf_counter()
    total = 0
    for number in range(200_000):
        total += number ^ (total & 0xFF)
    return time.perf_counter() - begin


def seconds(value):
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def spread(values, show=seconds):
    return f"{show(min(values))} / {show(statistics.median(values))} / {show(max(values))}"


class Table:
    """The rows printed at the end; `below` counts the bars that were missed."""

    def __init__(self):
        self.rows, self.below, self.judged = [], 0, 0

    def add(self, what, measured, detail="", bar="", stretch="", verdict=""):
        self.rows.append((what, measured, bar, stretch, verdict, detail))

    def judge(self, what, value, show, bar, stretch=None, *, more_is_better=True, detail=""):
        """A row with a bar; with a stretch goal too if there is one."""

        def reaches(goal):
            return value >= goal if more_is_better else value <= goal

        self.judged += 1
        self.below += not reaches(bar)
        verdict = "BELOW"
        if reaches(bar):
            verdict = "ok, stretch" if stretch is not None and reaches(stretch) else "ok"
        self.add(what, show(value), detail, show(bar),
                 show(stretch) if stretch is not None else "", verdict)

    def print(self):
        head = ("what", "measured", "bar", "stretch", "", "min / median / max, or how")
        rows = [head, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [row[i].rjust(widths[i]) for i in (1, 2, 3)]
            cells += [row[4].ljust(widths[4]), row[5]]
            print("  ".join(cells).rstrip())
