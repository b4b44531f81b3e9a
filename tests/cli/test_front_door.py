#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`make install` puts everything where packages expect it; the commands that README shows exist."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("ASYNCMEM_BUILD", str(ROOT / "build"))


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir",
                        cls.temporary.name], check=True, capture_output=True)
        cls.files = {path.name: path for path in pathlib.Path(cls.temporary.name).rglob("*") if path.is_file()}

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_program_runs(self):
        done = subprocess.run([self.files["asyncmem"], "--version"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"^asyncmem \d+\.\d+\.\d+\n$")

    def test_man_pages(self):
        for page in (ROOT / "man").glob("*.scd"):
            text = self.files[page.name[: -len(".scd")]].read_text()
            self.assertIn(".TH", text)

    def test_completion(self):
        for name in ("_asyncmem", "asyncmem.fish"):
            self.assertIn(name, self.files)
        bash = [path for path in pathlib.Path(self.temporary.name).rglob("bash-completion/completions/asyncmem")]
        self.assertEqual(len(bash), 1)
        subprocess.run(["bash", "-n", bash[0]], check=True)


class Makefile(unittest.TestCase):
    def test_targets(self):
        text = (ROOT / "Makefile").read_text()
        for target in ("all", "demo", "test", "matrix", "bench", "install"):
            self.assertRegex(text, rf"(?m)^{target}:")

    def test_ci_runs_the_tests(self):
        self.assertRegex((ROOT / ".ci" / "run").read_text(), r"make test")

    def test_version_is_one(self):
        meson = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
        self.assertIn(meson, (ROOT / "CHANGELOG.md").read_text())


if __name__ == "__main__":
    unittest.main()
