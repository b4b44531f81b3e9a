#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The house keeps its walls: who includes whom, and what every file must have."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SRC = ROOT / "src"

# docs/ARCHITECTURE.md, "Who may include whom".
MAY_INCLUDE = {
    "base": set(),
    "plan": {"base"},
    "recording": {"plan", "base"},
    "program": {"plan", "base"},
    "process": {"recording", "plan", "base"},
    "model": {"process", "recording", "program", "plan", "base"},
    "tracer": {"recording", "plan"},
    "recorder": {"model", "process", "recording", "program", "plan", "base"},
    "analysis": {"model", "program", "plan", "base"},
    "report": {"analysis", "model", "program", "plan", "base"},
    "cli": {"recorder", "report", "analysis", "model", "process", "recording", "program", "plan", "base"},
}
# Headers that are all inline, for rooms that may not link the rest.
MAY_INCLUDE_HEADER = {"tracer": {"base/attributes.h", "base/cursor.h"}}
# A process of its own, made by fork, which ends there.
MAY_EXIT = {"src/process/copy_guard.c", "src/recorder/helper.c", "src/recorder/spawn.c", "src/recorder/witness.c"}
# The tracer will read plans inside somebody else's process: no allocation, no stdio.
PLAN_HEADERS = {"stdbool.h", "stddef.h", "stdint.h", "string.h"}


def sources():
    return sorted(path for path in SRC.rglob("*") if path.suffix in (".c", ".h"))


def includes(path, pattern):
    return re.findall(pattern, path.read_text(), re.MULTILINE)


class Layers(unittest.TestCase):
    def test_every_room_is_known(self):
        rooms = {path.relative_to(SRC).parts[0] for path in sources()}
        self.assertEqual(rooms - set(MAY_INCLUDE), set())

    def test_nobody_includes_upwards(self):
        wrong = []
        for path in sources():
            room = path.relative_to(SRC).parts[0]
            for header in includes(path, r'^#include "([^"]+)"'):
                other = header.split("/")[0]
                if other != room and other not in MAY_INCLUDE[room] \
                        and header not in MAY_INCLUDE_HEADER.get(room, ()):
                    wrong.append(f"{path.relative_to(ROOT)} includes {header}")
        self.assertEqual(wrong, [])

    def test_included_files_exist(self):
        missing = [(str(path), header) for path in sources()
                   for header in includes(path, r'^#include "([^"]+)"') if not (SRC / header).exists()]
        self.assertEqual(missing, [])

    def test_plan_uses_no_libc_but_memory_functions(self):
        used = {header for path in (SRC / "plan").iterdir()
                for header in includes(path, r"^#include <([^>]+)>")}
        self.assertLessEqual(used, PLAN_HEADERS)

    def test_only_the_command_line_exits(self):
        wrong = [str(path.relative_to(ROOT)) for path in sources()
                 if path.relative_to(SRC).parts[0] != "cli" and re.search(r"\b_?exit\(", path.read_text())]
        self.assertEqual(set(wrong) - MAY_EXIT, set())


class Files(unittest.TestCase):
    def test_licence_line(self):
        wrong = [str(path) for path in sources()
                 if "SPDX-License-Identifier: MIT OR Apache-2.0" not in path.read_text()[:80]]
        self.assertEqual(wrong, [])

    def test_sizes(self):
        long_files = [str(path.relative_to(ROOT)) for path in sources()
                      if len(path.read_text().splitlines()) > (600 if path.suffix == ".c" else 300)]
        self.assertEqual(long_files, [])

    def test_every_c_file_is_built(self):
        meson = (ROOT / "meson.build").read_text()
        missing = [str(path.relative_to(ROOT)) for path in sources()
                   if path.suffix == ".c" and str(path.relative_to(ROOT)) not in meson]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main()
