# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tests of `asyncmem run` share: running a program under it, and counting its allocations from behind.

ASYNCMEM names the command, ASYNCMEM_BUILD the build directory (for tests/run/subjects and libcount.so),
ASYNCMEM_PROGRAMS the target directory of the Rust programs. libcount.so (tests/tools/count_preload.c) is the
witness: it stands behind the tracer and sees each call that the tracer passes on. With ASYNCMEM_LONG=1
the tests that repeat something do it as often as a release asks for. Every wait has a limit; every process
that was started is ended, by its own id.
"""

import json
import os
import pathlib
import signal
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")).absolute()
ASYNCMEM = pathlib.Path(os.environ.get("ASYNCMEM", BUILD / "asyncmem")).absolute()
PROGRAMS = pathlib.Path(os.environ.get("ASYNCMEM_PROGRAMS", BUILD / "programs")).absolute() / "release"
WITNESS = BUILD / "tests" / "run" / "libcount.so"
TORTURE = BUILD / "tests" / "run" / "torture"
LONG = os.environ.get("ASYNCMEM_LONG") == "1"
LIMIT_S = 600
# The order of struct count_page.
COUNTS = ("pid", "allocations", "allocated_bytes", "frees", "freed_bytes", "unknown_frees", "live_bytes",
          "peak_bytes", "malloc_calls", "calloc_calls", "realloc_calls", "aligned_calls", "free_calls")


def wait_until(what, holds, limit_s=60):
    """Waits until holds() is true; what it returned."""
    end = time.monotonic() + limit_s
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {limit_s} s until {what}")
        time.sleep(0.002)
    return value


def ended(pid):
    """Whether no process of that id runs (any more)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat[stat.rindex(")") + 2] in "ZX"


def no_cores():
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Place:
    """A folder of one test, and what of the witness lies in it."""

    def __init__(self, test):
        folder = tempfile.TemporaryDirectory(prefix="asyncmem-run-")
        test.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "run.amem"

    def counts(self, pid):
        """The witness's counts of the last program that this process ran; None: it never began."""
        pages = sorted(self.folder.glob(f"counts.{pid}.*"))
        if not pages:
            return None
        words = struct.unpack_from(f"<8s{len(COUNTS)}Q", pages[-1].read_bytes().ljust(4096, b"\0"))
        return dict(zip(COUNTS, words[1:], strict=True)) if words[0] == b"asyncmct" else None

    def environment(self, *, witness=True, env=None):
        here = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        if witness:
            here |= {"LD_PRELOAD": str(WITNESS), "COUNT_FILE": str(self.folder / "counts")}
        return here | (env or {})

    def start(self, command, *options, file=None, env=None, wrapper=(), **more):
        """`asyncmem run` on a command, as a Popen; `wrapper` is what runs asyncmem."""
        words = [*wrapper, ASYNCMEM, "run", "-o", file or self.file, "--no-report", *options, "--", *command]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        return subprocess.Popen([str(word) for word in words], text=True, errors="surrogateescape",
                                env=env if env is not None else self.environment(), preexec_fn=no_cores, **streams)

    def report(self, file=None):
        """The recording as `asyncmem report --json` reads it."""
        answer = subprocess.run([ASYNCMEM, "report", "--json", file or self.file], capture_output=True, timeout=LIMIT_S)
        if answer.returncode:
            raise AssertionError(f"report ended with {answer.returncode}: {answer.stderr.decode(errors='replace')}")
        return json.loads(answer.stdout)


class Result:
    """`err` is what the program said, `told` what asyncmem did."""

    def __init__(self, status, out, err):
        self.status, self.out = status, out
        lines = (err or "").splitlines(keepends=True)
        self.err = "".join(line for line in lines if not line.startswith("asyncmem: "))
        self.told = "".join(line for line in lines if line.startswith("asyncmem: "))


def finish(process, text=None, limit_s=LIMIT_S):
    """What it said and how it ended; it is killed after a time."""
    try:
        out, err = process.communicate(text, timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{process.args} did not end in {limit_s} s: {(out or '')[-300:]} {(err or '')[-300:]}")
    return Result(process.returncode, out, err)


def plain(command, *, text=None, env=None, limit_s=LIMIT_S, **more):
    """The same command without asyncmem."""
    process = subprocess.Popen([str(word) for word in command], text=True, errors="surrogateescape",
                               stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, preexec_fn=no_cores, **more)
    return finish(process, text, limit_s)


def child_of(process, *, of_asyncmem=True):
    """The program that a running `asyncmem run` has started; its other children are called as it is itself. Of a
    wrapper of asyncmem the first child is meant.
    """
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def child():
        if process.poll() is not None:
            said = process.stderr.read()[-500:] if process.stderr else ""
            raise AssertionError(f"asyncmem ended with {process.returncode}: {said}")
        return [pid for pid in path.read_text().split() if not (of_asyncmem and is_own(pid))]
    return int(wait_until("the program is started", child)[0])


def is_own(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("asyncmem")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return True


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def lost(document, *, but=()):
    """What was lost, by cause, without those causes."""
    return {cause: count for cause, count in document["lost"].items() if count and cause not in but}


def traced(test, command, *options, text=None, witness=True, env=None, limit_s=LIMIT_S, **more):
    """Runs to the end; (result, document, the witness's counts or None)."""
    place = Place(test)
    stdin = {"stdin": subprocess.PIPE} if text is not None else {}
    process = place.start(command, *options, env=place.environment(witness=witness, env=env), **stdin, **more)
    result = finish(process, text, limit_s)
    if not place.file.exists():
        raise AssertionError(f"no recording; ended with {result.status}: {result.told} {result.err[-1000:]}")
    document = place.report()
    counts = place.counts(document["pid"]) if witness else None
    if witness and counts is None:
        raise AssertionError(f"the witness was not loaded: {list(place.folder.iterdir())}")
    return result, document, counts


PAIRS = (("allocations", "allocations"), ("allocated_bytes", "allocated_bytes"), ("frees", "frees"),
         ("live_bytes", "live_bytes"))


def assert_counts_equal(test, document, counts, *, but=()):
    """The whole program's totals are those of the witness, and nothing was lost."""
    totals = document["totals"]
    test.assertEqual(lost(document, but=but), {})
    test.assertEqual({key: totals[key] for key, _ in PAIRS} | {"live_blocks": totals["live_blocks"]},
                     {key: counts[of] for key, of in PAIRS} |
                     {"live_blocks": counts["allocations"] - counts["frees"]})
