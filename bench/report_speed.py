# SPDX-License-Identifier: MIT OR Apache-2.0
"""The report of a large recording: 100 000 sites and 100 000 tasks, as text and as JSON.

The recording is made by tests/tools/run_sample_tool.c: its stacks share their outer ends, as real ones do, and have
forty frames on average. JSON goes to /dev/null: what is measured is the making.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from measure import Broken, Timed, run_apart, spread
from types_speed import ASYNCMEM, say

SIZE = {"types": 200, "tasks": 100_000, "sites": 100_000, "steps": 2000, "depth": 18, "snapshot": 1}
QUICK = SIZE | {"tasks": 10_000, "sites": 10_000}
BAR_S, BAR_BYTES = 2.0, 300e6
MAX_ROUNDS = 5
WAYS = {"text": [], "text, all of it": ["--all"], "JSON": ["--json"]}
JUDGED = ("text", "JSON")


def frames_of(file):
    """Frames of a site on average, of the first thousand."""
    shown = subprocess.run([ASYNCMEM, "report", "--json", "--top", "1000", file], capture_output=True, check=True)
    sites = json.loads(shown.stdout)["sites"]
    return sum(len(site["frames"]) for site in sites) / len(sites)


def measure_report(table, *, quick, nr_rounds):
    say("report of a large recording")
    tool = Path(ASYNCMEM).with_name("run_sample")
    if not tool.exists():
        raise Broken(f"{tool} is not there: build the tests")
    size = QUICK if quick else SIZE
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.rec"
        subprocess.run([tool, file, *(f"{key}={value}" for key, value in size.items())], check=True, timeout=300)
        what = f"{size['sites']} sites of {frames_of(file):.0f} frames, {size['tasks']} tasks"
        for way, options in WAYS.items():
            timed = Timed()
            for _ in range(min(nr_rounds, MAX_ROUNDS) + 1):
                run_apart([ASYNCMEM, "report", *options, file], timed, env={"COLUMNS": "80"})
            timed.wall_s, timed.rss_bytes = timed.wall_s[1:], timed.rss_bytes[1:]
            detail = f"{spread(timed.wall_s)}; {what}"
            if way in JUDGED:
                table.judge(f"report, {way}", timed.median_s, lambda value: f"{value:.2f} s", BAR_S,
                            more_is_better=False, detail=detail)
                table.judge(f"report, {way}: memory", max(timed.rss_bytes), lambda value: f"{value / 1e6:.0f} MB",
                            BAR_BYTES, more_is_better=False)
            else:
                table.add(f"report, {way}", f"{timed.median_s:.2f} s", detail)
