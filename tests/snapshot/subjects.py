# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tests of `asyncmem snapshot` share: the programs that are looked at, and asking asyncmem.

ASYNCMEM names the command (build/asyncmem), ASYNCMEM_PROGRAMS the target directory of the Rust programs
(build/programs). With ASYNCMEM_LONG=1 the tests that repeat something do it as often as a release asks for.
Every wait has a limit; every process that was started is ended, by its own id.
"""

import json
import os
import pathlib
import select
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORKSPACE = ROOT / "tests" / "programs"
ASYNCMEM = pathlib.Path(os.environ.get("ASYNCMEM", ROOT / "build" / "asyncmem")).absolute()
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", ROOT / "build" / "programs")).absolute() / "release"
LONG = os.environ.get("ASYNCMEM_LONG") == "1"
START_S, ASK_S, END_S = 120, 120, 60


def wait_until(what, holds, limit_s=30):
    """Waits until holds() is true; what it returned."""
    end = time.monotonic() + limit_s
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s until {what}")
        time.sleep(0.002)
    return value


class Subject:
    """A program that prints its truth as the first line and stays as it is until it gets a line.

    Use it in a `with`: at its end the program is ended, by force if it must be.
    """

    def __init__(self, program, *arguments, **more):
        path = PROGRAMS / program if isinstance(program, str) and "/" not in program else program
        # meson sets MALLOC_PERTURB_; the programs are to leave in freed memory what users' programs leave.
        more.setdefault("env", {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"})
        self.process = subprocess.Popen([str(path), *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, **more)
        self.pid = self.process.pid
        self.ended = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S)
        self.process.stdin.close()
        self.process.stdout.close()

    def line(self, limit_s=START_S):
        """The next line of its output."""
        end = time.monotonic() + limit_s
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no line from {self.process.args[0]} within {limit_s} s")
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise EOFError(f"{self.process.args[0]} ended with {self.process.wait(END_S)} and no line")
            text += byte
        return text.decode().rstrip("\n")

    def truth(self):
        return json.loads(self.line())

    def finish(self):
        """Lets the program end and check itself; its exit code."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.process.wait(END_S)


def ask(*arguments, check=True, limit_s=ASK_S, **more):
    """Runs asyncmem; with `check` a failure raises, and shows what it said."""
    done = subprocess.run([str(ASYNCMEM), *map(str, arguments)], capture_output=True, text=True, timeout=limit_s,
                          **more)
    if check and done.returncode != 0:
        raise AssertionError(f"asyncmem {' '.join(map(str, arguments))} ended with {done.returncode}: "
                             f"{done.stderr.strip()}")
    return done


def snapshot(*arguments):
    """`asyncmem snapshot --json`, read."""
    return json.loads(ask("snapshot", "--json", *arguments).stdout)


def async_tasks(document):
    return [task for task in document["tasks"] if task["kind"] == "async"]


def unboxed(name):
    """tokio puts a large future into a box of its own; the name inside it."""
    prefix = "core::pin::Pin<Box<"
    return name[len(prefix):-2] if name and name.startswith(prefix) and name.endswith(">>") else name


def dump_core(pid, folder):
    """A core of a process that goes on, made by gcore; its path."""
    path = pathlib.Path(folder) / "core"
    subprocess.run(["gcore", "-o", str(path), str(pid)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=ASK_S)
    return path.with_name(f"core.{pid}")


def comparable(document):
    """A snapshot without what differs between two of the same moment: when, how, and the order of the rows."""
    kept = {key: value for key, value in document.items()
            if key not in ("pid", "program", "stop_ns", "taken_at", "taken_at_ns", "is_core", "notes",
                           "threads", "images", "tasks", "runtimes")}
    of_runtime = {runtime["id"]: runtime.get("addr") for runtime in document["runtimes"]}
    kept["runtimes"] = sorted(({key: value for key, value in runtime.items() if key != "id"}
                               for runtime in document["runtimes"]), key=repr)
    kept["tasks"] = sorted(({**{key: value for key, value in task.items() if key not in ("id", "image")},
                             "runtime": of_runtime.get(task["runtime"])} for task in document["tasks"]), key=repr)
    for table in ("by_type", "by_await"):
        kept[table] = sorted(document[table], key=repr)
    if document.get("heap"):
        kept["heap"] = {key: value for key, value in document["heap"].items()
                        if key not in ("rss_bytes", "fork_ns", "how")}
    return kept
