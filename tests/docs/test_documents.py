#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Options, man pages, help texts and completion say the same; links in documents lead somewhere."""

import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ASYNCMEM = os.environ.get("ASYNCMEM", str(ROOT / "build" / "asyncmem"))
COMMANDS = ["types", "snapshot", "run", "plan", "report"]


def help_text(*arguments):
    return subprocess.run([ASYNCMEM, *arguments, "--help"], capture_output=True, text=True, check=True).stdout


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


class Options(unittest.TestCase):
    def test_help_lists_the_options_of_the_source(self):
        for command in COMMANDS:
            source = (ROOT / "src" / "cli" / f"cmd_{command}.c").read_text()
            declared = {f"--{name}" for name in re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', source)}
            self.assertEqual(options(help_text(command)), declared, command)

    def test_man_pages_have_the_same_options(self):
        for command in COMMANDS:
            page = (ROOT / "man" / f"asyncmem-{command}.1.scd").read_text()
            section = page.split("# OPTIONS")[1].split("\n# ")[0]
            heads = {word for line in section.splitlines() if not line.startswith("\t")
                     for word in re.findall(r"--[a-z][a-z-]+", line)}
            self.assertEqual(heads, options(help_text(command)), command)

    def test_completion_knows_every_option(self):
        for name in ("asyncmem.bash", "_asyncmem", "asyncmem.fish"):
            text = (ROOT / "tools" / "completion" / name).read_text()
            for command in COMMANDS:
                for option in options(help_text(command)):
                    self.assertIn(option[2:], text, name)

    def test_every_command_is_listed(self):
        main = help_text()
        for command in COMMANDS:
            self.assertIn(command, main)
            self.assertTrue((ROOT / "man" / f"asyncmem-{command}.1.scd").exists())
            self.assertIn(f"asyncmem-{command}", (ROOT / "man" / "asyncmem.1.scd").read_text())


class Links(unittest.TestCase):
    def test_links_lead_to_files(self):
        broken = []
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in target and not (page.parent / target).exists():
                    broken.append(f"{page.name}: {target}")
        self.assertEqual(broken, [])

    def test_files_named_in_architecture_exist(self):
        text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
        for name in re.findall(r"`(\w+/\w+\.[ch])`", text):
            self.assertTrue((ROOT / "src" / name).exists(), name)


class Json(unittest.TestCase):
    def test_every_key_is_documented(self):
        documented = (ROOT / "docs" / "JSON.md").read_text()
        for name in ("types_json.c", "plan_report.c"):
            source = (ROOT / "src" / "report" / name).read_text()
            for key in re.findall(r'json_object_set_new\(\w+, "([a-z_]+)"', source):
                self.assertRegex(documented, rf"\b{key}\b", name)


if __name__ == "__main__":
    unittest.main()
