#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs that people use: the same output traced as alone, nothing lost, at least a million allocations each, and
the counts of the witness behind the tracer.

python3, git, gcc and cargo are always here. node, redis-server and PostgreSQL are tested where they are installed
(`tools/setup matrix` does that); with ASYNCMEM_LONG=1 they must be. PostgreSQL does not run as root: then it is run
by the user postgres."""

import hashlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import unittest

from traced import LONG, ROOT, Place, ended, finish, kill, lost, plain, wait_until

MILLION = 1_000_000
PYTHON = "/usr/bin/python3" if pathlib.Path("/usr/bin/python3").exists() else shutil.which("python3")


def needs(*commands):
    missing = [command for command in commands if not shutil.which(command)]
    return unittest.skipIf(missing and not LONG, f"not installed: {missing}")


class Real(unittest.TestCase):
    maxDiff = None

    def check_counts(self, place, at_least, *, slack=0, file=None, but=()):
        """`slack`: events that other threads may have been counting when the process ended."""
        document = place.report(file)
        self.assertEqual(lost(document, but=("children", *but)), {})
        totals, counts = document["totals"], place.counts(document["pid"])
        self.assertGreaterEqual(totals["allocations"], at_least)
        for key in ("allocations", "frees"):
            self.assertLessEqual(abs(totals[key] - counts[key]), slack, f"{key}: {totals} {counts}")
        if not slack:
            self.assertEqual((totals["allocated_bytes"], totals["live_bytes"]),
                             (counts["allocated_bytes"], counts["live_bytes"]))
        return document

    def check(self, command, at_least=MILLION, *, env=None, slack=0, but=(), **how):
        expected = plain(command, env={**os.environ, **(env or {})}, **how)
        self.assertEqual(expected.status, 0, expected.err[-500:])
        place = Place(self)
        result = finish(place.start(command, env=place.environment(env=env), **how))
        self.assertEqual((result.status, result.err), (0, expected.err))
        self.assertTrue(result.out == expected.out, "another output")
        return self.check_counts(place, at_least, slack=slack, but=but)


class Compiled(Real):
    def test_gcc(self):
        """The compiler itself, on two of our files; the driver, which only starts others, at the end."""
        folder = Place(self).folder
        compiler = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True)
        seen = 0
        for name in ("src/program/index_unit.c", "src/process/emulator_vector.c", "src/process/drop_run.c"):
            flags = ["-D_GNU_SOURCE", f"-I{ROOT / 'src'}", "-O2", "-g"]
            source = folder / "source.i"
            subprocess.run(["gcc", *flags, "-E", ROOT / name, "-o", source], check=True)
            document = self.check([compiler.stdout.strip(), "-fpreprocessed", "-quiet", "-O2", "-g", source, "-o", "-"], 0)
            seen += document["totals"]["allocations"]
        self.assertGreater(seen, 10_000)
        self.check(["gcc", *flags, "-S", ROOT / name, "-o", "-"], 0)

    @unittest.skipUnless(LONG, "compiles for minutes")
    def test_gcc_a_million(self):
        """All files of one folder as one, again and again."""
        folder = Place(self).folder
        compiler = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True)
        lines = [f"static int f{i}(int a) {{ return a * {i} + (a ? f{i - 1}(a - 1) : 0); }}" for i in range(1, 20000)]
        source = folder / "source.i"
        source.write_text("static int f0(int a) { return a; }\n" + "\n".join(lines) +
                          "\nint main(int c, char **v) { (void)v; return f19999(c); }\n")
        self.check([compiler.stdout.strip(), "-fpreprocessed", "-quiet", "-O1", source, "-o", "-"])

    def test_cargo(self):
        """A build from nothing, then one that finds all made; `cargo` starts another cargo in its place with rustup."""
        place = Place(self)
        manifest = ROOT / "tests/programs/Cargo.toml"
        for number, at_least in enumerate((10_000, 10_000)):
            target = place.folder / "target"
            command = ["cargo", "build", "--offline", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir",
                       target, "-p", "nofutures"]
            result = finish(place.start(command, file=place.folder / f"{number}.amem"))
            self.assertEqual((result.status, result.out, result.err), (0, "", ""))
            self.check_counts(place, at_least, slack=64, file=place.folder / f"{number}.amem")
        self.assertEqual(plain([target / "debug/nofutures"], text="\n").status, 0)

    @unittest.skipUnless(LONG, "builds for minutes")
    def test_cargo_a_million(self):
        """From nothing, and twice where all is made already."""
        place, seen = Place(self), 0
        command = ["cargo", "check", "--locked", "--quiet", "--manifest-path", ROOT / "tests/programs/Cargo.toml",
                   "--target-dir", place.folder / "target"]
        for number in range(3):
            file = place.folder / f"{number}.amem"
            result = finish(place.start(command, file=file), limit_s=1500)
            self.assertEqual((result.status, result.out, result.err), (0, "", ""))
            seen += self.check_counts(place, 100_000, slack=64, file=file)["totals"]["allocations"]
        self.assertGreaterEqual(seen, MILLION)


class Interpreted(Real):
    def test_python(self):
        script = "import json, re, collections\n" \
                 "rows = [{'number': i, 'text': str(i) * 3} for i in range(100000)]\n" \
                 "print(len(json.dumps(rows)), collections.Counter(len(row['text']) for row in rows))"
        self.check([PYTHON, "-c", script], env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})

    @needs("node")
    def test_node(self):
        """Code that is made at run time has no unwind tables: those stacks end early, or are guessed, and that is told."""
        script = "const crypto = require('crypto'); let text = '';" \
                 "for (let i = 0; i < 100000; i++) text = crypto.createHash('sha256').update(text + i).digest('hex');" \
                 "console.log(text)"
        self.check(["node", "-e", script], slack=64, but=("stack_broken", "stack_guessed"))


def fast_import(folder, commits):
    """A repository of so many commits, each over ten of 300 files, the same every time."""
    parts = []
    for number in range(commits):
        text = f"commit {number}\n"
        parts.append(f"commit refs/heads/main\ncommitter A <a@b> {1_600_000_000 + number * 60} +0000\n"
                     f"data {len(text)}\n{text}")
        for place in range(10):
            name = (number * 7 + place * 31) % 300
            body = "".join(f"line {line} of {name} in {number // (line + 1)}\n" for line in range(60))
            parts.append(f"M 100644 inline folder{name % 10}/file{name}\ndata {len(body)}\n{body}\n")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder], check=True)
    subprocess.run(["git", "-C", folder, "config", "pack.threads", "1"], check=True)
    subprocess.run(["git", "-C", folder, "fast-import", "--quiet"], input="".join(parts).encode(), check=True)


class Git(Real):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory(prefix="asyncmem-git-")
        cls.addClassCleanup(cls.holder.cleanup)
        cls.folder = pathlib.Path(cls.holder.name) / "origin"
        fast_import(cls.folder, 12000 if LONG else 1000)

    def state(self, folder):
        """What a repository is: its refs, its objects, its packs by name, which is a hash of what is in them."""
        def git(*words):
            return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout
        packs = sorted(path.name for path in pathlib.Path(folder).glob("**/pack-*.pack"))
        return git("for-each-ref"), hashlib.sha256(git("rev-list", "--all", "--objects").encode()).hexdigest(), packs

    def both_ways(self, make, *options):
        """The states that a command leaves alone and traced."""
        place = Place(self)
        states = []
        for name in ("alone", "traced"):
            command, folder = make(place.folder / name)
            if name == "alone":
                status = plain(command).status
            else:
                status = finish(place.start(command, *options)).status
            self.assertEqual(status, 0)
            subprocess.run(["git", "-C", folder, "fsck", "--full", "--strict"], check=True, capture_output=True)
            states.append(self.state(folder))
        self.assertEqual(states[0], states[1])
        return place

    def clone(self, folder):
        return ["git", "-c", "pack.threads=1", "clone", "-q", "--bare", "--no-local", self.folder, folder], folder

    def collect(self, folder):
        shutil.copytree(self.folder, folder)
        return ["git", "-C", folder, "gc", "-q", "--prune=now"], folder

    def test_clone(self):
        place = self.both_ways(self.clone)
        self.assertEqual(lost(place.report(), but=("children",)), {})

    def test_gc(self):
        place = self.both_ways(self.collect)
        self.assertEqual(lost(place.report(), but=("children",)), {})

    def check_all(self, place):
        """Each of the processes by its witness; a million in all."""
        documents = [self.check_counts(place, 1, file=file, slack=64) for file in place.folder.glob("run.amem*")]
        self.assertGreater(len(documents), 3)
        self.assertEqual([document["lost"].get("children", 0) for document in documents], [0] * len(documents))
        self.assertGreaterEqual(sum(document["totals"]["allocations"] for document in documents),
                                MILLION if LONG else 50_000)

    def test_clone_with_children(self):
        self.check_all(self.both_ways(self.clone, "--follow-children"))

    def test_gc_with_children(self):
        self.check_all(self.both_ways(self.collect, "--follow-children"))

    def test_log(self):
        self.check(["git", "-C", self.folder, "log", "-p", "--stat", "-M"])

    def test_repack_in_one_process(self):
        """What clone and gc leave to a child."""
        objects = subprocess.run(["git", "-C", self.folder, "rev-list", "--all", "--objects"], capture_output=True,
                                 check=True, text=True).stdout
        listed = pathlib.Path(self.holder.name) / "objects"
        listed.write_text("".join(line.split()[0] + "\n" for line in objects.splitlines()))
        script = f"git -C {self.folder} pack-objects -q --window=20 --stdout < {listed} | sha256sum"
        expected = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        place = Place(self)
        with open(listed) as stdin:
            process = place.start(["sh", "-c", f"exec git -C {self.folder} pack-objects -q --window=20 --stdout "
                                               f"> {place.folder}/pack"], stdin=stdin)
            self.assertEqual(finish(process).status, 0)
        packed = hashlib.sha256((place.folder / "pack").read_bytes()).hexdigest()
        self.assertEqual(packed, expected.split()[0])
        self.check_counts(place, 10_000)


@needs("redis-server", "redis-benchmark")
class Redis(Real):
    """Debian's has jemalloc as a library of its own; the tracer stands before it."""

    def ask(self, socket, *words, text=None):
        return subprocess.run(["redis-cli", "-s", socket, *words], input=text, capture_output=True, text=True, check=True,
                              timeout=60).stdout

    def serve(self, start, socket):
        """A fixed load, then a random one; a digest of all keys after the first."""
        process = start(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
                         "--enable-debug-command", "yes"])
        wait_until("redis listens", lambda: os.path.exists(socket) and process.poll() is None)
        load = "".join(f"SET key:{i} value:{i * i}\nRPUSH list:{i % 100} {i}\nHSET hash:{i % 50} {i} {i}\n"
                       for i in range(30_000))
        self.ask(socket, "--pipe", text=load.replace("\n", "\r\n"))
        answers = [self.ask(socket, "debug", "digest"), self.ask(socket, "dbsize"),
                   self.ask(socket, "lrange", "list:7", "0", "-1"), self.ask(socket, "hget", "hash:3", "253")]
        subprocess.run(["redis-benchmark", "-s", socket, "-q", "-n", "100000", "-r", "10000", "-t",
                        "set,get,lpush,hset,zadd"], check=True, capture_output=True, timeout=300)
        self.ask(socket, "flushall")
        subprocess.run(["redis-cli", "-s", socket, "shutdown", "nosave"], capture_output=True, timeout=60)
        return finish(process).status, answers

    def test_server(self):
        place = Place(self)
        expected = self.serve(lambda words: subprocess.Popen(words, stdout=subprocess.PIPE, text=True),
                              f"{place.folder}/alone")
        got = self.serve(place.start, f"{place.folder}/traced")
        self.assertEqual(got, expected)
        self.check_counts(place, MILLION, slack=16)


def as_postgres(words):
    """The same, as a user who may run PostgreSQL."""
    if os.getuid() != 0:
        return words
    return ["runuser", "-u", "postgres", "--", *words]


def postgres_folder():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@unittest.skipUnless(LONG or postgres_folder() and shutil.which("pgbench"), "not installed: PostgreSQL")
class Postgres(Real):
    def setUp(self):
        self.place = Place(self)
        self.bin = postgres_folder()
        self.data = self.place.folder / "data"
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.place.folder, user.pw_uid, user.pw_gid)
        self.place.folder.chmod(0o777)
        self.do(self.bin / "initdb", "-D", self.data, "-A", "trust", "-N", "-U", "postgres")

    def do(self, *words, text=None):
        words = as_postgres([str(word) for word in words])
        return subprocess.run(words, input=text, capture_output=True, text=True, check=True, timeout=300).stdout

    def sql(self, text):
        return self.do(self.bin / "psql", "-h", self.place.folder, "-U", "postgres", "-d", "postgres", "-Atc", text)

    def answers(self):
        try:
            return self.sql("select 1") == "1\n"
        except subprocess.CalledProcessError:
            return False

    def bench(self, *words):
        return [self.bin / "pgbench", "-h", self.place.folder, "-U", "postgres", *words, "postgres"]

    def test_server_and_client(self):
        """Both are traced; the client has the million."""
        server = self.place.start([self.bin / "postgres", "-D", self.data, "-k", self.place.folder, "-h", "", "-F"],
                                  file=self.place.folder / "server.amem", wrapper=as_postgres([]))
        self.addCleanup(lambda: ended(server.pid) or server.terminate())
        wait_until("postgres answers", self.answers)
        self.do(*self.bench("-i", "-s", "1", "-q"))
        load = self.bench("--random-seed=1", "-c", "4", "-t", "7000")
        expected = self.run_load(load, None)
        self.do(*self.bench("-i", "-s", "1", "-q"))
        client = Place(self)
        client.folder.chmod(0o777)
        self.assertEqual(self.run_load(load, client), expected)
        self.check_counts(client, MILLION)
        kill(self.postmaster(), 2)
        self.assertEqual(finish(server).status, 0)
        self.check_counts(self.place, 1000, file=self.place.folder / "server.amem")

    def postmaster(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def run_load(self, command, place):
        """What pgbench did, without its times, and what is in the tables then."""
        result = finish(place.start(command)) if place else plain(command)
        self.assertEqual(result.status, 0, result.err)
        said = [line for line in result.out.splitlines() if "transactions" in line or "clients" in line]
        return said, self.sql("select sum(abalance), count(*) from pgbench_accounts"), \
            self.sql("select count(*), sum(delta) from pgbench_history")

    @unittest.skipUnless(LONG, "takes a while")
    def test_single_user(self):
        queries = "select md5(string_agg(relname, ',' order by oid)) from pg_class where relname like 'pg%';\n" * 110_000
        outs = []
        command = [self.bin / "postgres", "--single", "-D", self.data, "postgres"]
        outs.append(plain(as_postgres([str(word) for word in command]), text=queries).out)
        process = self.place.start(command, wrapper=as_postgres([]), stdin=subprocess.PIPE)
        result = finish(process, queries)
        self.assertEqual(result.status, 0, result.err[-500:])
        self.assertTrue(result.out == outs[0], "another output")
        self.check_counts(self.place, MILLION)


if __name__ == "__main__":
    unittest.main()
