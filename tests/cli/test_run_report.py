#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The report of a run: every number of its text is in its JSON, and totals are the sums of their parts."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ASYNCMEM = os.environ.get("ASYNCMEM", str(ROOT / "build" / "asyncmem"))
SAMPLE = str(pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")) / "run_sample")

# Ten recordings that differ in what they have.
RUNS = [{"seed": seed} | more for seed, more in enumerate([
    {}, {"snapshot": 1}, {"unknown": 1}, {"sampled": 1}, {"types": 1, "tasks": 0}, {"tasks": 900, "types": 40},
    {"sites": 2000, "depth": 60}, {"steps": 1}, {"unknown": 1, "sampled": 1, "snapshot": 1}, {"steps": 0, "tasks": 3}], 1)]
BYS = ["type", "task", "site", "await", "time"]


def make(path, **size):
    subprocess.run([SAMPLE, str(path), *(f"{key}={value}" for key, value in size.items())], check=True, timeout=120)


def report(*arguments, columns=80, **options):
    options = {"capture_output": True, "text": True, "timeout": 120,
               "env": os.environ | {"COLUMNS": str(columns)}} | options
    return subprocess.run([ASYNCMEM, "report", *map(str, arguments)], **options)


# --- how a report writes a number: the same rules once more, from their description ------------------

def as_bytes(number):
    for power, unit in reversed(list(enumerate(["B", "kB", "MB", "GB", "TB", "PB", "EB"]))):
        if number >= 1000 ** power or power == 0:
            thousandths = number * 1000 // 1000 ** power
            return three_digits(thousandths, power == 0) + " " + unit
    return None


def three_digits(thousandths, is_whole=False):
    whole = thousandths // 1000
    if is_whole or whole >= 100:
        return str(whole)
    return f"{whole}.{thousandths % 1000 // 100}" if whole >= 10 else f"{whole}.{thousandths % 1000 // 10:02}"


def as_duration(ns):
    seconds = ns // 10 ** 9
    for unit, length, part, part_length in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= (length if unit != "min" else 100):
            rest = seconds % length // part_length
            return f"{seconds // length} {unit}" + (f" {rest} {part}" if rest else "")
    for power, unit in ((3, "s"), (2, "ms"), (1, "µs"), (0, "ns")):
        if ns >= 1000 ** power or power == 0:
            return three_digits(ns * 1000 // 1000 ** power, power == 0) + " " + unit
    return None


def numbers_of(value):
    if isinstance(value, dict):
        for below in value.values():
            yield from numbers_of(below)
    elif isinstance(value, list):
        for below in value:
            yield from numbers_of(below)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, str):  # sentences have numbers too: "the stack of thread 4243"
        yield from (int(digits) for digits in re.findall(r"(?<!\d)\d{1,18}(?!\d)", value))


def forms(document):
    """All that the numbers of a document may look like."""
    seen = set()
    for number in set(numbers_of(document)):
        seen |= {str(number), f"{number:,}", f"{number:,} B", as_bytes(number), as_duration(number)}
    return seen


# Words that only explain, and what the text itself decides.
EXPLAINS = re.compile(r"1 ms or (more|longer)|\(1 ms or more\)|(?<![\d.,])0 s\b|0x[0-9a-f]+|^ +0 [│└]|SIG[A-Z]+|--\w+|\{async block#0\}|[│└─▁-█]+",
                      re.MULTILINE)
NUMBER = re.compile(r"\d+ (?:d \d+ h|h \d+ min|min \d+ s|d|h|min)\b|"
                    r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?: (?:B|kB|MB|GB|TB|PB|EB|ns|µs|ms|s)(?![\w/]))?")


def numbers_of_text(text):
    # A number and its unit may stand on two lines.
    joined = re.sub(r"\n +(?=(?:B|kB|MB|GB|TB|PB|EB|ns|µs|ms|s|d|h|min|\d+ (?:h|min|s))\b)", " ", EXPLAINS.sub(" ", text))
    return NUMBER.findall(joined)


class Agreement(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.files = []
        for i, size in enumerate(RUNS):
            cls.files.append(pathlib.Path(cls.folder.name) / f"{i}.run")
            make(cls.files[-1], **size)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def shown(self, *arguments):
        done = report(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        return done.stdout

    def expect_numbers(self, text, known, what):
        found = numbers_of_text(text)
        missing = [number for number in found if number not in known]
        self.assertEqual(missing, [], what)
        return len(found)

    def test_every_number_of_the_text_is_in_the_json(self):
        compared = 0
        for file in self.files:
            document = json.loads(self.shown("--json", file))
            known = forms(document)
            for arguments in [[], ["--all"], ["--top", 3], *(["--by", by, "--all"] for by in BYS)]:
                compared += self.expect_numbers(self.shown(*arguments, file), known, (file.name, arguments))
            for task in [*document["tasks"][:5], *document["threads"][:2]]:
                compared += self.expect_numbers(self.shown("--task", task["id"], file), known, (file.name, task["id"]))
        self.assertGreater(compared, 10000)

    def test_a_number_that_is_wrong_is_found(self):
        known = forms({"totals": {"live_bytes": 20123456, "allocations": 1234567, "poll_ns": 62412345678}})
        for right in ("20.1 MB", "1,234,567", "62.4 s"):
            self.assertEqual(numbers_of_text(f"it had {right}, in all"), [right])
            self.assertIn(right, known)
        for wrong in ("20.2 MB", "1,234,568", "62.5 s", "20 MB"):
            self.assertNotIn(wrong, known)

    def test_totals_are_the_sums_of_their_parts(self):
        for file in self.files:
            document = json.loads(self.shown("--json", file))
            totals, types, sites = document["totals"], document["by_type"], document["sites"]
            tasks = document["tasks"] + document["threads"]
            groups, left = document["by_site"], document["never_freed"]
            for key in ("allocations", "allocated_bytes", "frees", "freed_bytes", "live_bytes", "live_blocks"):
                self.assertEqual(sum(row[key] for row in types), totals[key], key)
                self.assertEqual(sum(row[key] for row in sites), totals[key], key)
                self.assertEqual(sum(row[key] for row in groups), totals[key], key)
                folded = document["folded"].get(key, 0)
                self.assertEqual(sum(row[key] for row in tasks) + folded, totals[key], key)
            for key in ("live_bytes", "live_blocks"):
                self.assertEqual(sum(row[key] for row in left), totals[key], key)
                zero = document["task_zero"]
                self.assertEqual(sum(zero[part][key] for part in ("root", "worker", "thread", "unknown")), zero[key])
            for key in ("tasks", "polls", "finished", "aborted", "panicked", "dropped", "never_polled", "not_ended"):
                self.assertEqual(sum(row[key] for row in types), totals[key], key)
            for row in types:
                if row["tasks"]:
                    self.assertEqual(sum(row[key] for key in ("finished", "aborted", "panicked", "dropped", "never_polled",
                                                              "not_ended")), row["tasks"])
            self.assertEqual(len(document["tasks"]) + document["folded"]["tasks"], totals["tasks"])
            self.assertEqual(sum(row["polls"] for row in tasks) + document["folded"]["polls"], totals["polls"])
            self.assertEqual(sum(row["temporary"] for row in sites), totals["temporary"])
            self.assertEqual(sum(row["tasks"] for row in document["unfinished"]), totals["not_ended"])
            self.assertEqual(sum(row["tasks"] for row in document["ended_early"]),
                             sum(totals[key] for key in ("aborted", "panicked", "dropped", "never_polled")))
            self.assertEqual(sum(row["stacks"] for row in groups), len(sites))

    def test_the_keys_that_were_promised(self):
        document = json.loads(self.shown("--json", self.files[1]))
        self.assertEqual(document["schema"], "asyncmem.report/1")
        for path in (
                "program pid started_at ended_at ended_by totals lost by_type tasks sites runtime timeline snapshots",
                "totals: tasks polls polls_future polls_blocking polls_cancel allocations allocated_bytes frees live_bytes "
                "live_blocks peak_bytes peak_rss_bytes",
                "by_type: future tasks live_tasks most_at_once finished aborted panicked dropped never_polled mean_peak_bytes "
                "largest_peak_bytes allocated_bytes live_bytes poll_ns idle_ns",
                "tasks: id runtime_task_id future kind parent spawned_at_ns first_poll_ns last_poll_ns ended_at_ns ended polls "
                "slow_polls allocations allocated_bytes live_bytes peak_bytes await_tree",
                "sites: frames allocations allocated_bytes live_bytes live_blocks temporary",
                "runtime: name cells cell_header_bytes cell_padding_bytes cell_payload_bytes other",
                "timeline: t_ns live_bytes rss_bytes live_tasks"):
            head, _, keys = path.rpartition(": ")
            holder = document[head] if head else document
            holder = holder[0] if isinstance(holder, list) else holder
            self.assertEqual([key for key in keys.split() if key not in holder], [], head)
        frames = [frame for site in document["sites"] for frame in site["frames"]]
        self.assertTrue(all({"function", "file", "line", "inlined"} <= frame.keys() for frame in frames))

    def test_every_key_is_documented(self):
        text = (ROOT / "docs" / "JSON.md").read_text().split("\n## asyncmem.report/1")[1].split("\n## ")[0]

        def keys(value):
            if isinstance(value, dict):
                for key, below in value.items():
                    if key != "snapshot":
                        yield key
                        yield from keys(below)
            elif isinstance(value, list):
                for below in value:
                    yield from keys(below)

        found = {key for file in self.files for key in keys(json.loads(self.shown("--json", file)))}
        self.assertEqual([key for key in sorted(found - {"in_signal"}) if f"`{key}`" not in text], [])

    def test_eighty_columns(self):
        for file in self.files:
            for arguments in ([], ["--all"], *(["--by", by] for by in BYS)):
                for line in self.shown(*arguments, file).splitlines():
                    self.assertLessEqual(len(line), 80, (file.name, arguments, line))


class Selections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.file = pathlib.Path(cls.folder.name) / "a.run"
        make(cls.file, seed=5, snapshot=1, depth=2)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def document(self, *arguments):
        return json.loads(report("--json", *arguments, self.file).stdout)

    def test_match(self):
        whole, some = self.document(), self.document("--match", "READ_BODY")
        self.assertEqual(some["totals"], whole["totals"])
        self.assertTrue(0 < len(some["by_type"]) < len(whole["by_type"]))
        names = {row["id"]: f'{row["future"]} {row["full_name"]}' for row in whole["by_type"]}
        expected = [site["id"] for site in whole["sites"]
                    if any("read_body" in (frame["function"] or "") for frame in site["frames"])
                    or "read_body" in names.get(site["type"], "")]
        self.assertEqual([site["id"] for site in some["sites"]], expected)
        self.assertLess(len(expected), len(whole["sites"]))
        self.assertTrue(all(row["future"] == "read_body" or row["full_name"] == "read_body" for row in some["by_type"]))
        text = report("--match", "read_body", self.file).stdout
        self.assertIn('Below is only what has "read_body"', text)
        self.assertNotIn("What stands out", text)

    def test_task(self):
        first = self.document()["tasks"][0]
        some = self.document("--task", first["id"])
        self.assertEqual(some["tasks"], [first])
        self.assertTrue(report("--task", first["id"], self.file).stdout.startswith(f"Task {first['id']}: "))

    def test_by_shows_one_table(self):
        heads = {"type": "Who allocated", "task": "with memory left behind", "site": "Where it was allocated",
                 "await": "had not ended", "time": "Steps of the timeline"}
        for by, head in heads.items():
            text = report("--by", by, self.file).stdout
            self.assertIn(head, text)
            for other, wrong in heads.items():
                self.assertTrue(other == by or wrong not in text, (by, other))

    def test_top_and_all(self):
        def places(*arguments):
            table = report("--by", "site", *arguments, self.file).stdout.split("WHERE\n")[1]
            return len([line for line in table.split("\n\n")[0].splitlines() if re.match(r" +\d", line)])
        self.assertEqual(places("--top", 3), 3)
        self.assertEqual(places("--all"), self.document()["site_totals"]["places"])


class Hostile(unittest.TestCase):
    def test_names(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "h.run"
            for seed in range(1, 9):
                make(file, seed=seed, hostile=1, unknown=seed % 2, snapshot=1)
                tasks = json.loads(report("--json", file).stdout)["tasks"][:2]
                for arguments in ([], ["--all"], *(["--task", task["id"]] for task in tasks), *(["--by", by] for by in BYS)):
                    done = report(*arguments, file, text=False)
                    self.assertEqual((done.returncode, done.stderr), (0, b""))
                    text = done.stdout.decode()
                    self.assertNotRegex(text, r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")
                    self.assertLessEqual(max(map(len, text.splitlines())), 80, arguments)


class Manners(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.file = pathlib.Path(cls.folder.name) / "a.run"
        make(cls.file, seed=3, sites=4000, tasks=4000, snapshot=1)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def refused(self, words, *arguments):
        done = report(*arguments)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"\Aasyncmem: [^\n]+\n\Z")
        self.assertIn(words, done.stderr)

    def test_wrong_usage(self):
        self.refused("--by takes type, task, site, await or time, not 'x'", "--by", "x", self.file)
        self.refused("--group is for snapshots", "--group", "type", self.file)
        self.refused("--by is for runs", "--by", "type", ROOT / "tests/fuzz/corpus/snapshot/sample")
        self.refused("no task 1 in the recording", "--task", "1", self.file)

    def test_a_closed_pipe_ends_quietly(self):
        for arguments in (["--all"], ["--json"]):
            done = subprocess.run(["bash", "-c", '"$@" | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}', "bash",
                                   ASYNCMEM, "report", *arguments, str(self.file)],
                                  capture_output=True, text=True, timeout=60,
                                  preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN))
            self.assertEqual((done.stdout, done.stderr), (f"{128 + signal.SIGPIPE}\n", ""))

    def test_a_full_disk_is_one_error(self):
        for arguments in ([], ["--all"], ["--json"]):
            with open("/dev/full", "wb") as full:
                done = report(*arguments, self.file, capture_output=False, stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 3)
            self.assertRegex(done.stderr, r"\Aasyncmem: [^\n]*could not be written[^\n]*\n\Z")

    def test_damage(self):
        whole = self.file.read_bytes()
        path = pathlib.Path(self.folder.name) / "cut.run"
        answers = 0
        for size in range(48, len(whole), len(whole) // 60):
            path.write_bytes(whole[:size])
            done = report(path)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            answers += done.returncode == 0 and "Note: " in done.stdout
        self.assertGreater(answers, 10)


if __name__ == "__main__":
    unittest.main()
