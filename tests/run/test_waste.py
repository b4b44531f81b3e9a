#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A program with six kinds of waste planted: each is in the first screen of its section of the report, with its
true bytes, and the JSON has the same to the byte."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from traced import ASYNCMEM, PROGRAMS, ROOT

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from test_run_report import forms, numbers_of_text  # noqa: E402

SCREEN = 24  # lines of a terminal
# Names have digits too: src/main.rs:67, {async block#0}.
NAMES = re.compile(r"[\w.{}#<>:/&+-]*[A-Za-z_{}#/][\w.{}#<>:/&+;-]*:\d+|#\d+|\{[^}]*\}|\b[a-zA-Z_]\w*\d\w*")
SOURCE = pathlib.Path(__file__).resolve().parent.parent / "programs" / "waste" / "src" / "main.rs"


def as_bytes(number):
    """As the text writes bytes: three digits, cut."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000 ** power:
            digits = 0 if number >= 100 * 1000 ** power else 1 if number >= 10 * 1000 ** power else 2
            cut = number * 10 ** digits // 1000 ** power
            return f"{cut / 10 ** digits:.{digits}f} {unit}"
    return f"{number} B"


def line_of(text):
    """The line of the source that has the text."""
    return next(number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line)


class Waste(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            text, recording = pathlib.Path(folder) / "report", pathlib.Path(folder) / "waste.rec"
            done = subprocess.run([ASYNCMEM, "run", "-o", recording, "--report", text, "--", PROGRAMS / "waste"],
                                  capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "80"},
                                  check=True)
            cls.truth = json.loads(done.stdout)
            cls.text = text.read_text()
            shown = subprocess.run([ASYNCMEM, "report", "--json", recording], capture_output=True, timeout=60, check=True)
            cls.json = json.loads(shown.stdout)

    def section(self, title):
        """The first screen of a section."""
        self.assertIn(f"\n{title}", self.text)
        body = self.text.split(f"\n{title}", 1)[1].split("\n\n")[0]
        screen = "\n".join(body.splitlines()[:SCREEN])
        return re.sub(r"\n  (?=\S)", " ", screen) if title == "What stands out" else screen

    def expect_row(self, section, *cells):
        """A line with all of these, in this order."""
        pattern = r".*?".join(rf"(?<![\w.,]){re.escape(str(cell))}(?![\w,])" for cell in cells)
        self.assertRegex(section, pattern)

    def type_of(self, name):
        return next(row for row in self.json["by_type"] if row["future"] == f"waste::{name}")

    def left_at(self, line):
        groups = {group["id"]: group for group in self.json["by_site"]}
        return [row for row in self.json["never_freed"]
                if row["group"] and (groups[row["group"]]["own"] or {}).get("line") == line]

    def test_every_number_of_the_text_is_in_the_json(self):
        known, found = forms(self.json), numbers_of_text(NAMES.sub("name", self.text))
        self.assertEqual([number for number in found if number not in known], [])
        self.assertGreater(len(found), 150)

    def test_nothing_was_lost(self):
        self.assertEqual(self.json["lost"], {})

    def test_unfinished_tasks(self):
        truth, row = self.truth["unfinished"], self.type_of("waits_for_ever")
        self.assertEqual((row["not_ended"], row["live_bytes"]), (truth["tasks"], truth["bytes"]))
        group = next(group for group in self.json["unfinished"] if group["future"] == "waste::waits_for_ever")
        self.assertEqual((group["tasks"], group["live_bytes"], group["waits_for"]),
                         (truth["tasks"], truth["bytes"], "notification"))
        section = self.section("323 tasks had not ended")
        self.expect_row(section, truth["tasks"], as_bytes(group["held_bytes"]), "waste::waits_for_ever",
                        f"main.rs:{line_of('kept = black_box') + 1}")
        self.expect_row(self.section("What stands out"), f"{truth['tasks']} tasks of waits_for_ever have not ended")

    def test_growing_cache(self):
        truth, line = self.truth["cache"], line_of("vec![number as u8; ENTRY_BYTES]")
        rows = self.left_at(line)
        self.assertEqual([(row["live_bytes"], row["live_blocks"]) for row in rows], [(truth["bytes"], truth["entries"])])
        self.expect_row(self.section("Never freed"), as_bytes(truth["bytes"]), f"{truth['entries']:,}", "waste::fills_cache",
                        f"main.rs:{line}")
        self.assertIn("fills_cache → entry", self.section("Never freed"))

    def test_temporary_allocations(self):
        truth = self.truth["temporary"]
        group = max(self.json["by_site"], key=lambda group: group["temporary"])
        self.assertEqual((group["temporary"], group["allocations"], group["allocated_bytes"]),
                         (truth["allocations"], truth["allocations"], truth["bytes"]))
        section = self.section(f"{self.json['totals']['temporary']:,} temporary allocations")
        self.expect_row(section, f"{truth['allocations']:,}", as_bytes(truth["bytes"]),
                        f"main.rs:{line_of('vec![number as u8; TEMPORARY_BYTES]')}")

    def test_fat_future(self):
        truth, row = self.truth["fat"], self.type_of("fat")
        future_bytes = row["boxed_bytes"] or row["payload_bytes"]
        self.assertEqual((row["most_at_once"], future_bytes), (truth["tasks"], truth["future_bytes"]))
        self.expect_row(self.section("Who allocated"), truth["tasks"], as_bytes(row["each_bytes"]), "waste::fat")
        self.expect_row(self.section("What stands out"), "Each task of fat takes", as_bytes(row["each_bytes"]))

    def test_handles_that_nobody_awaits(self):
        truth, row = self.truth["handles"], self.type_of("answers")
        self.assertEqual((row["finished"], row["live_cells"]), (truth["tasks"], truth["tasks"]))
        bytes_kept = truth["tasks"] * row["cell_bytes"]
        self.expect_row(self.section("What stands out"), f"{truth['tasks']} finished tasks of answers are still in",
                        as_bytes(bytes_kept))
        finished = self.section(f"Finished, and still there: {truth['tasks']} tasks")
        self.expect_row(finished, truth["tasks"], f"{bytes_kept:,}", "waste::answers")

    def test_buffer_that_never_shrinks(self):
        truth, line = self.truth["buffer"], line_of("with_capacity(BUFFER_BYTES)")
        self.assertEqual([(row["live_bytes"], row["live_blocks"]) for row in self.left_at(line)], [(truth["bytes"], 1)])
        self.expect_row(self.section("Never freed"), as_bytes(truth["bytes"]), "waste::keeps_big_buffer", f"main.rs:{line}")


if __name__ == "__main__":
    unittest.main()
