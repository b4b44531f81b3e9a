# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs under the tracer and the smallest recorder (tests/tools/trace_host.c)."""

import json
import os
import pathlib
import resource
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")).absolute()
HOST = BUILD / "trace_host"
LIBRARY = BUILD / "libasyncmem-trace.so"
SUBJECT = BUILD / "tests/tracer/trace_subject"
LOST = ("in_signal", "no_thread", "table_full", "stack_cut", "stack_broken", "children", "late_image", "exec",
        "await_cut")


def no_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Run:
    """What a traced program printed, and what the regions hold."""

    def __init__(self, command, *options, env=None, limit_s=120):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [HOST, "-l", LIBRARY, "-o", file.name, *options, "--", *command]
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit_s,
                                  env=env, preexec_fn=no_cores, stdin=subprocess.DEVNULL)
            self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
            document = json.load(file)
        self.signal, self.reason, self.regions = document["signal"], document["reason"], document["regions"]

    @property
    def last(self):
        return self.regions[-1]


def lost(region, *but):
    """What the tracer lost, by cause."""
    return {name: nr for name, nr in zip(LOST, region["lost"]) if nr and name not in but}
