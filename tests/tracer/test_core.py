#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The core of the tracer by itself: counts of each thread, samples, processes, exec, limits, and the end at any moment.
The programs count themselves (tests/tools/trace_subject.c)."""

import mmap
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

from traced import BUILD, LIBRARY, SUBJECT, Run, lost

KEYS = ("allocations", "allocated_bytes", "frees", "freed_bytes")
TURNS = 100 if os.environ.get("ASYNCMEM_LONG") else 15


def own_counts(text):
    """{thread: counts} as the program printed them."""
    rows = [line.split() for line in text.splitlines() if line.startswith("worker-")]
    return {row[0]: dict(zip(KEYS, map(int, row[1:]))) for row in rows}


class Case(unittest.TestCase):
    maxDiff = None

    def check_consistent(self, region, sites=True):
        """The table, the counters of threads, of tasks and of sites say the same."""
        totals = region["totals"]
        self.assertEqual(totals["table_bytes"], totals["live_bytes"])
        self.assertEqual(totals["allocated_bytes"] - totals["freed_bytes"], totals["live_bytes"])
        self.assertEqual(totals["allocations"] - totals["frees"], totals["table_blocks"])
        self.assertEqual(sum(block[1] for block in region["blocks"]), totals["live_bytes"])
        for key in KEYS if sites else ():
            self.assertEqual(sum(site[key] for site in region["sites"]), totals[key], key)


class Counts(Case):
    def test_each_thread(self):
        run = Run([SUBJECT, "blocks", 8, 20000])
        self.assertEqual((run.status, run.err), (0, ""))
        threads = {thread["name"]: {key: thread[key] for key in KEYS} for thread in run.last["threads"]}
        counted = own_counts(run.out)
        self.assertEqual(len(counted), 8)
        self.assertEqual({name: threads[name] for name in counted}, counted)
        self.assertEqual(lost(run.last), {})
        self.check_consistent(run.last)

    def test_more_threads_than_stripes(self):
        run = Run([SUBJECT, "blocks", 40, 3000])
        threads = {thread["name"]: {key: thread[key] for key in KEYS} for thread in run.last["threads"]}
        counted = own_counts(run.out)
        self.assertEqual({name: threads[name] for name in counted}, counted)
        self.check_consistent(run.last)

    def test_threads_come_and_go(self):
        run = Run([SUBJECT, "threads", 1000, 100])
        self.assertEqual((run.status, run.err), (0, ""))
        self.assertLess(len(run.last["threads"]), 40, "places are used again")
        self.assertEqual(lost(run.last), {})
        self.check_consistent(run.last)

    def test_no_stacks(self):
        run = Run([SUBJECT, "blocks", 4, 5000], "-s", "none")
        self.assertEqual(run.last["sites"], [])
        self.check_consistent(run.last, sites=False)

    def test_samples_are_right_on_average(self):
        """What sites say in sum is near the truth, and what is freed cancels out exactly."""
        run = Run([SUBJECT, "blocks", 4, 50000], "-s", "sampled", "-m", 20000)
        totals, sites = run.last["totals"], run.last["sites"]
        self.check_consistent(run.last, sites=False)
        for key in ("allocated_bytes", "freed_bytes", "allocations"):
            estimate = sum(site[key] for site in sites)
            self.assertLess(abs(estimate - totals[key]) / totals[key], 0.15, key)  # 8,000 samples: 10 standard errors
        sampled = [block for block in run.last["blocks"] if block[2]]
        left = sum(site["allocations"] - site["frees"] for site in sites)
        self.assertEqual(bool(left), bool(sampled))

    def test_without_the_recorders_answers(self):
        run = Run([SUBJECT, "blocks", 2, 1000], "-r")
        self.assertEqual(run.status, 0)
        self.check_consistent(run.last)


class Processes(Case):
    def test_children_touch_nothing(self):
        run = Run([SUBJECT, "processes"])
        self.assertEqual(run.status, 0, run.out)
        self.assertEqual(len(run.regions), 1)
        main = run.last["threads"][0]
        self.assertEqual({key: main[key] for key in KEYS}, own_counts(run.out)["worker-0"])
        self.assertEqual(lost(run.last), {"children": 8})
        self.check_consistent(run.last)

    def test_children_are_followed(self):
        run = Run([SUBJECT, "processes"], "-f")
        self.assertEqual(run.status, 0, run.out)
        self.assertGreaterEqual(len({region["pid"] for region in run.regions}), 14)
        for region in run.regions:
            self.assertEqual(region["pid"], region["asked_pid"])
            self.check_consistent(region)

    def test_a_daemon_works_on(self):
        with tempfile.NamedTemporaryFile() as file:
            run = Run([SUBJECT, "daemon", file.name])
            self.assertEqual(run.status, 0)
            self.check_consistent(run.last)
            for _ in range(1000):
                if file.read() == b"done\n":
                    return
                file.seek(0)
                subprocess.run(["sleep", "0.02"], check=True)
            self.fail("the daemon did not finish")

    def test_exec_in_all_ways(self):
        for env in ({}, {"LD_PRELOAD": "/nowhere/none.so"}):
            run = Run([SUBJECT, "exec", 10], env={**os.environ, **env})
            self.assertEqual(run.status, 0, run.out)
            self.assertEqual([region["nr_execs"] for region in run.regions], list(range(11)))
            self.assertEqual(run.out, "LD_PRELOAD=/nowhere/none.so\n" if env else "")
            self.assertGreater(run.last["totals"]["allocations"], 500)
            self.check_consistent(run.last)


class Limits(Case):
    def test_of_the_address_space_and_locked_memory(self):
        expected = subprocess.run([SUBJECT, "limits"], capture_output=True, text=True, check=True).stdout
        run = Run([SUBJECT, "limits"])
        self.assertEqual((run.status, run.out), (0, expected))
        self.check_consistent(run.last)

    def test_set_before(self):
        run = Run(["/bin/sh", "-c", f"ulimit -v 4000000; exec {SUBJECT} blocks 2 100"])
        self.assertEqual(run.status, 0)
        self.assertEqual(len(own_counts(run.out)), 2)
        self.assertIn("address space", run.reason)
        self.assertEqual(run.last["totals"]["allocations"], 0)


class Ends(Case):
    def check_end(self, run, path, nr):
        """At most one event of each thread is missing."""
        if not os.path.getsize(path):
            return  # it did not come so far
        totals = run.last["totals"]
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ) as counts:
            rows = [struct.unpack_from("<4Q", counts, i * 32) for i in range(nr)]
        begun, done = sum(row[0] for row in rows), sum(row[1] for row in rows)
        extra = totals["allocations"] - done  # the main thread's: threads' own memory
        self.assertGreaterEqual(extra, 0)
        self.assertLessEqual(extra, 2 * nr + (begun - done) + 2)
        self.assertLessEqual(abs(totals["allocations"] - totals["frees"] - totals["table_blocks"]), nr)

    def test_killed(self):
        moments = random.Random(1)
        for turn in range(TURNS):
            with self.subTest(turn=turn), tempfile.NamedTemporaryFile() as file:
                run = Run([SUBJECT, "killed", file.name, 4], "-k", 20 + moments.randrange(60))
                self.assertEqual(run.signal, signal.SIGKILL)
                self.check_end(run, file.name, 4)

    def test_crashed(self):
        moments = random.Random(2)
        for turn in range(TURNS):
            with self.subTest(turn=turn), tempfile.NamedTemporaryFile() as file:
                run = Run([SUBJECT, "killed", file.name, 4, moments.randrange(50000)])
                self.assertEqual(run.signal, signal.SIGSEGV)
                self.check_end(run, file.name, 4)


class Loading(Case):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="asyncmem-loading-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def build(self, name, code, *options):
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-g", "-x", "c", "-", "-o", self.folder / name, *options],
                       input=code, text=True, check=True)
        return self.folder / name

    def test_libraries_are_searched_as_their_caller_says(self):
        """DT_RUNPATH belongs to who calls dlopen, and its constructors' blocks to the library."""
        (self.folder / "here").mkdir()
        self.build("here/libdeep.so", """
            #include <stdlib.h>
            void *kept;
            __attribute__((constructor)) static void start(void) { kept = malloc(12345); }
            int answer(void) { return kept ? 42 : 0; }""", "-shared", "-fPIC")
        program = self.build("main", """
            #include <dlfcn.h>
            #include <stdio.h>
            int main(void) {
                for (int i = 0; i < 20; i++) {
                    void *library = dlopen("libdeep.so", RTLD_NOW);
                    if (!library) { puts(dlerror()); return 1; }
                    int (*answer)(void) = (int (*)(void))dlsym(library, "answer");
                    if (answer() != 42) return 2;
                    if (i < 19) dlclose(library);
                }
                return dlopen("libnowhere.so", RTLD_NOW) ? 3 : 0;
            }""", "-Wl,--enable-new-dtags,-rpath," + str(self.folder / "here"))
        run = Run([program])
        self.assertEqual((run.status, run.out), (0, ""))
        deep = [image for image in run.last["images"] if image["path"].endswith("here/libdeep.so")]
        self.assertEqual(len(deep), 20)
        self.assertEqual(len([image for image in deep if not image["unloaded_ns"]]), 1)
        self.check_consistent(run.last)
        left = [block for block in run.last["blocks"] if block[1] == 12345]
        self.assertEqual(len(left), 20)
        sites = {site["id"]: site["frames"] for site in run.last["sites"]}
        self.assertEqual({sites[block[2]][0][1] for block in left}, {image["id"] for image in deep})

    def test_sanitized_programs_do_not_break(self):
        """The recorder refuses them; preloaded all the same, the tracer does no harm."""
        code = """
            #include <stdlib.h>
            #include <string.h>
            int main(void) {
                for (int i = 0; i < 1000; i++) { char *p = malloc(100); memset(p, 1, 100); free(p); }
                return 7;
            }"""
        program = self.build("sanitized", code, "-fsanitize=address")
        env = {**os.environ, "LD_PRELOAD": str(LIBRARY), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        done = subprocess.run([program], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 7, done.stderr)


if __name__ == "__main__":
    unittest.main()
