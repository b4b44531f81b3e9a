#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`asyncmem run` stands between a program and who started it, and neither notices."""

import fcntl
import json
import os
import pathlib
import pty
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
import unittest

from traced import ASYNCMEM, Place, child_of, ended, finish, kill, plain, wait_until

# Prints a line for each signal, and ends at a line on its input with the counts.
COUNTER = r"""
import os, signal, sys, time
counts = {}
def name(number):
    return signal.Signals(number).name if number < 32 else "real-time"
def count(number, _):
    counts[number] = counts.get(number, 0) + 1
    os.write(1, f"got {name(number)}\n".encode())
for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT,
               signal.SIGWINCH, signal.SIGCONT, signal.SIGALRM, signal.SIGRTMIN + 3):
    signal.signal(number, count)
os.write(1, b"ready\n")
line = b""
while not line.endswith(b"\n"):
    line += os.read(0, 1)
print(" ".join(f"{name(number)}={counts[number]}" for number in sorted(counts)), flush=True)
"""
QUIET_S = 0.3  # longer than the recorder waits for its witness


class Counter:
    """The program above under `asyncmem run`, in a process group of its own."""

    def __init__(self, test, *wrapper):
        self.place = Place(test)
        self.process = self.place.start([sys.executable, "-c", COUNTER], env=self.place.environment(witness=False),
                                        stdin=subprocess.PIPE, start_new_session=True, wrapper=wrapper)
        self.expect("ready")

    def expect(self, line):
        while (got := self.process.stdout.readline()) != f"{line}\n":
            if not got:
                raise AssertionError(f"no '{line}': {self.process.stderr.read()}")

    def finish(self):
        time.sleep(QUIET_S)  # what comes twice comes within that time
        return finish(self.process, "\n").out.split()


def recorder_processes(process):
    """asyncmem and all that it started, as a service manager sees them."""
    tasks = pathlib.Path(f"/proc/{process.pid}/task")
    children = [int(word) for path in tasks.glob("*/children") for word in path.read_text().split()]
    return [process.pid, *children]


class Status(unittest.TestCase):
    def run_shell(self, script, **more):
        place = Place(self)
        return finish(place.start(["sh", "-c", script], env=place.environment(witness=False), **more)), place

    def test_exit_statuses(self):
        for status in (0, 1, 7, 125, 255):
            self.assertEqual(self.run_shell(f"exit {status}")[0].status, status)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGINT, signal.SIGPIPE):
            self.assertEqual(self.run_shell(f"kill -{int(number)} $$")[0].status, -number, number)

    def test_no_core_of_ours(self):
        place = Place(self)
        core = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
        if core != "core":
            self.skipTest("cores go elsewhere")
        script = "ulimit -c 100000; " + f"cd {place.folder}; exec {ASYNCMEM} run --no-report -- sh -c 'ulimit -c 0; kill -6 $$'"
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, -signal.SIGABRT)
        self.assertEqual([path.name for path in place.folder.iterdir() if "core" in path.name], [])

    def test_not_started(self):
        place = Place(self)
        (place.folder / "text").write_text("no program\n")
        cases = ((["no-such-program"], 127), ([place.folder / "none"], 127), ([place.folder / "text"], 126),
                 ([place.folder], 126))
        for command, status in cases:
            done = finish(place.start(command))
            self.assertEqual(done.status, status, command)
            self.assertEqual(done.status, plain(["env", *command]).status)
            self.assertIn(str(command[0]), done.told)

    def test_wrong_usage(self):
        for words in ((), ("--stacks", "some", "true"), ("--checkpoint", "0", "true"), ("--nonsense", "true"),
                      ("--no-report", "--json", "true"), ("-o", "/dev/stdout", "true")):
            done = subprocess.run([ASYNCMEM, "run", *words], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 125, words)
            self.assertRegex(done.stderr, r"\Aasyncmem: run: .*\n\Z")

    def test_options_end_at_the_program(self):
        place = Place(self)
        done = finish(subprocess.Popen([ASYNCMEM, "run", "-o", place.file, "--no-report", "echo", "--json", "-x"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        self.assertEqual(done.out, "--json -x\n")


class Signals(unittest.TestCase):
    def test_sent_to_asyncmem_alone(self):
        counter = Counter(self)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT,
                       signal.SIGWINCH, signal.SIGCONT, signal.SIGALRM):
            counter.process.send_signal(number)
            counter.expect(f"got {number.name}")
        self.assertEqual({word.split("=")[1] for word in counter.finish()}, {"1"})

    def test_sent_to_the_group(self):
        counter = Counter(self)
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.killpg(counter.process.pid, number)
            counter.expect(f"got {number.name}")
        self.assertEqual(sorted(counter.finish()), ["SIGHUP=1", "SIGINT=1", "SIGTERM=1", "SIGUSR1=1"])

    def test_sent_to_each_as_systemd_does(self):
        counter = Counter(self)
        for pid in recorder_processes(counter.process):
            kill(pid, signal.SIGTERM)
        counter.expect("got SIGTERM")
        self.assertEqual(counter.finish(), ["SIGTERM=1"])

    def test_sent_to_the_program(self):
        counter = Counter(self)
        kill(child_of(counter.process), signal.SIGTERM)
        counter.expect("got SIGTERM")
        self.assertEqual(counter.finish(), ["SIGTERM=1"])

    def test_real_time_signal(self):
        counter = Counter(self)
        counter.process.send_signal(signal.SIGRTMIN + 3)
        counter.expect("got real-time")
        self.assertEqual(counter.finish(), ["real-time=1"])

    def test_repeated(self):
        counter = Counter(self)
        for _ in range(5):
            counter.process.send_signal(signal.SIGUSR1)
            counter.expect("got SIGUSR1")
        self.assertEqual(counter.finish(), ["SIGUSR1=5"])

    def test_blocked_and_ignored_ones_stay_so(self):
        show = "import signal; print(signal.pthread_sigmask(0, []), [n for n in range(1, 32) if n not in (9, 19) and " \
               "signal.getsignal(n) == signal.SIG_IGN])"

        def set_up():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGBUS, signal.SIGTSTP, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)

        command = [sys.executable, "-c", show]
        alone = subprocess.run(command, capture_output=True, text=True, preexec_fn=set_up, timeout=60)
        place = Place(self)
        beside = subprocess.run([ASYNCMEM, "run", "-o", place.file, "--no-report", *command], capture_output=True,
                                text=True, preexec_fn=set_up, timeout=60)
        self.assertEqual((beside.returncode, beside.stdout), (0, alone.stdout))

    def test_under_timeout(self):
        place = Place(self)
        done = finish(place.start(["sleep", "60"], wrapper=["timeout", "1"], env=place.environment(witness=False)))
        self.assertEqual(done.status, 124)
        self.assertEqual(place.report()["ended_by"], "signal")


class Terminal(unittest.TestCase):
    """asyncmem as a job of a shell: in the foreground group of a terminal whose session another one leads."""

    def start(self):
        place = Place(self)
        command = [ASYNCMEM, "run", "-o", place.file, "--no-report", sys.executable, "-c", COUNTER]
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        told, tell = os.pipe()
        shell = os.fork()
        if shell == 0:  # a shell with one job
            os.setsid()
            fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            job = os.fork()
            if job == 0:
                os.setpgid(0, 0)
                os.tcsetpgrp(follower, os.getpid())
                for fd in range(3):
                    os.dup2(follower, fd)
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                os.execv(command[0], [str(word) for word in command])
            while True:
                _, status = os.waitpid(job, os.WUNTRACED)
                os.write(tell, f"{job} {'stopped' if os.WIFSTOPPED(status) else status}\n".encode())
                if not os.WIFSTOPPED(status):
                    os._exit(0)
        self.addCleanup(lambda: (kill(shell), os.waitpid(shell, 0)))
        os.close(follower)
        os.close(tell)
        self.shell, self.told, self.seen = shell, os.fdopen(told), ""
        self.addCleanup(self.told.close)
        return leader

    def read_until(self, leader, text):
        while text not in self.seen:
            self.seen += os.read(leader, 4096).decode()
        self.seen = self.seen.split(text, 1)[1]

    def test_interrupt_comes_once(self):
        leader = self.start()
        self.read_until(leader, "ready")
        os.write(leader, b"\x03")
        self.read_until(leader, "got SIGINT")
        time.sleep(QUIET_S)
        os.write(leader, b"\n")
        self.read_until(leader, "SIGINT=1")
        self.assertEqual(self.told.readline().split()[1], "0")

    def test_stop_and_continue(self):
        leader = self.start()
        self.read_until(leader, "ready")
        for wake in ("group", "program"):
            os.write(leader, b"\x1a")
            job, what = self.told.readline().split()
            self.assertEqual(what, "stopped")
            program = int(pathlib.Path(f"/proc/{job}/task/{job}/children").read_text().split()[0])
            if wake == "group":
                os.killpg(int(job), signal.SIGCONT)
            else:  # asyncmem must not stay behind
                kill(program, signal.SIGCONT)
            self.read_until(leader, "got SIGCONT")
        os.write(leader, b"\n")
        self.assertEqual(self.told.readline().split()[1], "0")


class Init(unittest.TestCase):
    """As process 1 of a container."""

    UNSHARE = ("unshare", "--fork", "--pid", "--mount-proc")

    def setUp(self):
        if subprocess.run([*self.UNSHARE, "true"], capture_output=True).returncode:
            self.skipTest("namespaces of processes cannot be made here")

    def test_status_and_orphans(self):
        place = Place(self)
        # Orphans end while the program lives: none may be left as a zombie.
        script = "for i in 1 2 3 4 5; do (sleep 0.1 & ) ; done; sleep 1; " \
                 "grep -l 'State:.Z' /proc/[0-9]*/status; echo pid $PPID; exit 9"
        done = finish(place.start(["sh", "-c", script], wrapper=self.UNSHARE, env=place.environment(witness=False)))
        self.assertEqual((done.status, done.out), (9, "pid 1\n"))
        self.assertEqual(place.report()["ended_by"], "exit")

    def test_signals_are_passed_on(self):
        place = Place(self)
        process = place.start(["sh", "-c", "trap 'echo end; exit 3' TERM; echo ready; while :; do sleep 0.05; done"],
                              wrapper=self.UNSHARE, env=place.environment(witness=False))
        self.assertEqual(process.stdout.readline(), "ready\n")
        kill(child_of(process, of_asyncmem=False), signal.SIGTERM)  # unshare's child: asyncmem
        done = finish(process)
        self.assertEqual((done.status, done.out), (3, "end\n"))

    def test_ended_by_a_signal(self):
        place = Place(self)
        done = finish(place.start(["sh", "-c", "kill -9 $$"], wrapper=self.UNSHARE,
                                  env=place.environment(witness=False)))
        self.assertEqual(done.status, 128 + signal.SIGKILL)


class Scripts(unittest.TestCase):
    def program_of(self, command, folder=None):
        place = Place(self)
        done = finish(place.start(command, env=place.environment(witness=False)))
        self.assertEqual(done.status, 0, done.err)
        return place.report()

    def test_exec_is_followed(self):
        for command in (["sh", "-c", f"exec {sys.executable} -c 'print(1)'"],
                        ["env", "A=1", "sh", "-c", f"exec {sys.executable} -c 'print(1)'"]):
            document = self.program_of(command)
            # python allocates thousands of blocks, a shell some dozens
            self.assertGreater(document["totals"]["allocations"], 1000)

    def test_start_script(self):
        place = Place(self)
        script = place.folder / "start"
        script.write_text(f"#!/bin/sh\nset -e\nLEVEL=3\nexport LEVEL\nexec {sys.executable} -c "
                          "'import os; print(os.environ[\"LEVEL\"])'\n")
        script.chmod(0o755)
        done = finish(place.start([script], env=place.environment(witness=False)))
        self.assertEqual((done.status, done.out), (0, "3\n"))
        self.assertGreater(place.report()["totals"]["allocations"], 1000)

    def test_text_without_first_line(self):
        """A shell runs it, as execvp(3) says."""
        place = Place(self)
        script = place.folder / "start"
        script.write_text("echo here\n")
        script.chmod(0o755)
        self.assertEqual(finish(place.start([script], env=place.environment(witness=False))).out, "here\n")


class Surroundings(unittest.TestCase):
    """What the program finds."""

    def both(self, command, *, env=None, **more):
        """Output and status without asyncmem and with it."""
        place = Place(self)
        env = env or place.environment(witness=False)
        alone = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env, timeout=60, **more)
        beside = subprocess.run([str(word) for word in (ASYNCMEM, "run", "--no-report", "-o", place.file, *command)],
                                capture_output=True, text=True, env=env, timeout=60, **more)
        self.assertEqual((beside.returncode, beside.stdout), (alone.returncode, alone.stdout))
        return place

    def test_what_systemd_gives_by_process_id(self):
        """Sockets and watchdog are for the program; what names another process stays."""
        place = Place(self)
        show = "echo $$; echo $LISTEN_PID $WATCHDOG_PID $SYSTEMD_EXEC_PID; cat <&3"
        read, write = os.pipe()
        os.write(write, b"from the socket")
        os.close(write)
        self.addCleanup(os.close, read)
        start = 'LISTEN_PID=$$ LISTEN_FDS=1 WATCHDOG_PID=$$ SYSTEMD_EXEC_PID=1 exec "$@"'
        done = subprocess.run(["sh", "-c", start, "sh", ASYNCMEM, "run", "-o", place.file, "--no-report", "--", "sh", "-c", show],
                              capture_output=True, text=True, timeout=60, preexec_fn=lambda: os.dup2(read, 3), pass_fds=(3,))
        own, shown = done.stdout.splitlines()[:2]
        self.assertEqual(shown.split(), [own, own, "1"])
        self.assertEqual(done.stdout.splitlines()[2], "from the socket")

    def test_environment(self):
        show = "import os; print({k: v for k, v in os.environ.items() if k != '_'})"
        self.both([sys.executable, "-c", show])
        self.both([sys.executable, "-c", "import subprocess; subprocess.run(['env'])"])

    def test_own_preload_stays(self):
        place = Place(self)
        env = place.environment(witness=True)
        self.both([sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD']); os.system('echo $LD_PRELOAD')"],
                               env=env)

    def test_files_and_limits(self):
        show = "import os, resource; print(sorted(os.listdir('/proc/self/fd')), [resource.getrlimit(n) for n in range(16)], " \
               "os.getcwd(), oct(os.umask(0)), os.getpgrp() == os.getpgid(os.getppid()), os.getsid(0) == os.getsid(os.getppid()))"

        def set_up():
            for limit, soft, hard in ((resource.RLIMIT_CORE, 4096, 1 << 20), (resource.RLIMIT_FSIZE, 1 << 20, 1 << 41)):
                most = resource.getrlimit(limit)[1]  # which not everybody may raise
                hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
                resource.setrlimit(limit, (min(soft, hard), hard))
            os.umask(0o27)

        self.both([sys.executable, "-c", show], preexec_fn=set_up)

    def test_closed_files(self):
        place = Place(self)
        show = "import os\nfor fd in range(8):\n try: os.fstat(fd); open_ = True\n except OSError: open_ = False\n" \
               f" print(fd, open_, file=open({str(place.folder / 'out')!r}, 'a'))"
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            answers = []
            for words in ((), (ASYNCMEM, "run", "--no-report", "-o", place.file)):
                (place.folder / "out").write_text("")
                command = [str(word) for word in (*words, sys.executable, "-c", show)]
                done = subprocess.run(command, timeout=60, preexec_fn=lambda: [os.close(fd) for fd in closed])
                answers.append((done.returncode, (place.folder / "out").read_text()))
            self.assertEqual(answers[0], answers[1], closed)
            self.assertGreater(place.report()["totals"]["allocations"], 1000)

    def test_who_waits_for_the_output_to_end(self):
        """A program that closes its output is at its end for a reader, though it still runs."""
        place = Place(self)
        process = place.start(["sh", "-c", "echo out; exec >&- <&-; exec sleep 60"], stderr=subprocess.DEVNULL,
                              env=place.environment(witness=False))
        try:
            self.assertEqual(process.stdout.read(), "out\n")
            self.assertIsNone(process.poll())
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


class Scarce(unittest.TestCase):
    """What the recorder needs is not there: the program runs, and a line tells."""

    def run_quietly(self, *, output=None, preexec_fn=None, env=None):
        place = Place(self)
        words = [ASYNCMEM, "run", "-o", output or place.file, "sh", "-c", "echo done; exit 4"]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120,
                              preexec_fn=preexec_fn, env=env)
        self.assertEqual((done.returncode, done.stdout), (4, "done\n"))
        return done.stderr, place

    def test_full_disk(self):
        told, _ = self.run_quietly(output="/dev/full")
        self.assertIn("No space left", told)
        self.assertIn("Allocations", told)  # the report is there all the same

    def test_full_file_system(self):
        place = Place(self)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", place.folder], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", place.folder], check=True)
        (place.folder / "all").write_bytes(b"x" * 4096)
        told, _ = self.run_quietly(output=place.file)
        self.assertIn("No space left", told)
        self.assertEqual([path.name for path in place.folder.iterdir()], ["all"])

    def test_no_folder(self):
        told, _ = self.run_quietly(output="/nonexistent/run.rec")
        self.assertRegex(told, r"\Aasyncmem: nothing can be written in /nonexistent \(No such file")
        self.assertIn("there is no recording: /nonexistent/run.rec", told)

    def test_file_size_limit(self):
        told, place = self.run_quietly(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 1 << 42)))
        self.assertGreater(place.report()["totals"]["allocations"], 0)
        told, _ = self.run_quietly(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        self.assertIn("ulimit -f", told)

    def test_address_space_limit(self):
        gigabyte = 1 << 30
        told, _ = self.run_quietly(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabyte, gigabyte)))
        self.assertIn("ulimit -v", told)
        told, _ = self.run_quietly(
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabyte, resource.RLIM_INFINITY)))
        self.assertIn("ulimit -v", told)

    def test_no_library(self):
        env = {**os.environ, "ASYNCMEM_TRACER": "/nonexistent/libasyncmem-trace.so"}
        told, _ = self.run_quietly(env=env)
        self.assertEqual(told.count("libasyncmem-trace.so is not"), 2)

    def test_few_files(self):
        self.run_quietly(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)))


class Kills(unittest.TestCase):
    def test_recorder_killed(self):
        place = Place(self)
        process = place.start([sys.executable, "-c", "input(); print(sum(len(str(i)) for i in range(100000)))"],
                              env=place.environment(witness=False), stdin=subprocess.PIPE)
        program = child_of(process)
        wait_until("the program reads", lambda: pathlib.Path(f"/proc/{program}/wchan").read_text() != ""
                   and pathlib.Path(f"/proc/{program}/stat").read_text().split(") ")[1][0] == "S")
        others = [pid for pid in recorder_processes(process) if pid not in (process.pid, program)]
        process.kill()
        process.wait(60)
        self.assertEqual(process.communicate("\n", timeout=60)[0], "488890\n")
        wait_until("the program has ended", lambda: ended(program))
        wait_until("all of asyncmem has ended", lambda: all(ended(pid) for pid in others))

    def test_helper_killed(self):
        """The recorder's own processes are not its life."""
        place = Place(self)
        process = place.start([sys.executable, "-c", "print('ready', flush=True); input()"], "--checkpoint", "1",
                              env=place.environment(witness=False), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "ready\n")
        program = child_of(process)
        wait_until("a checkpoint is there", place.file.exists)
        for pid in recorder_processes(process):
            if pid not in (process.pid, program):
                kill(pid)
        self.assertEqual(finish(process, "\n").status, 0)
        self.assertEqual(place.report()["ended_by"], "exit")

    def test_checkpoint_of_a_killed_recorder(self):
        place = Place(self)
        process = place.start([sys.executable, "-c", "print('ready', flush=True); input()"], "--checkpoint", "1",
                              env=place.environment(witness=False), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "ready\n")
        wait_until("a checkpoint is there", place.file.exists)
        document = place.report()
        self.assertEqual(document["ended_by"], "running")
        self.assertGreater(document["totals"]["allocations"], 1000)
        process.kill()
        process.communicate("\n", timeout=60)


C_PROGRAM = 'int puts(const char *); int main(void) { puts("ran"); return 5; }\n'
OWN_MALLOC = '#include <stddef.h>\nstatic char heap[1 << 20]; static size_t used;\n' \
             'void *malloc(size_t n) { used = (used + 15) & ~15ul; void *p = heap + used; used += n; return p; }\n' \
             'void free(void *p) { (void)p; }\n' + C_PROGRAM
GO_SECTION = '__attribute__((section(".go.buildinfo"), used)) static const char go[] = "Go";\n' + C_PROGRAM


class Untraceable(unittest.TestCase):
    """Each kind of program that no tracer gets into runs as ever, and is told twice, with what to do."""

    def setUp(self):
        if not shutil.which("cc"):
            self.skipTest("there is no compiler")
        self.place = Place(self)
        self.place.folder.chmod(0o755)

    def compile(self, source, *options):
        program = self.place.folder / "program"
        done = subprocess.run(["cc", "-x", "c", "-", "-o", program, *options], input=source, text=True, capture_output=True)
        if done.returncode:
            self.skipTest(f"cc cannot do that here: {done.stderr[-200:]}")
        return program

    def expect(self, program, *told, user=None):
        more = {"user": user, "group": user, "extra_groups": []} if user else {}
        done = subprocess.run([ASYNCMEM, "run", "-o", self.place.folder / "file", program], capture_output=True, text=True,
                              timeout=60, **more)
        self.assertEqual((done.returncode, done.stdout), (5, "ran\n"), done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 2, done.stderr)
        for line in lines:
            for text in told:
                self.assertIn(text, line)
        self.assertTrue(lines[1].startswith(f"asyncmem: there is no recording of {program}: "))
        self.assertFalse((self.place.folder / "file").exists())

    def test_static(self):
        self.expect(self.compile(C_PROGRAM, "-static"), "linked statically", "crt-static")

    def test_static_pie(self):
        self.expect(self.compile(C_PROGRAM, "-static-pie"), "linked statically", "crt-static")

    def test_address_sanitizer(self):
        self.expect(self.compile(C_PROGRAM, "-fsanitize=address"), "sanitizer", "build it without")

    def test_thread_sanitizer(self):
        self.expect(self.compile(C_PROGRAM, "-fsanitize=thread"), "sanitizer")

    def test_own_malloc(self):
        self.expect(self.compile(OWN_MALLOC, "-fno-builtin", "-rdynamic"), "defines malloc itself", "unprefixed_malloc")

    def test_go(self):
        self.expect(self.compile(GO_SECTION), "Go program", "pprof")

    def test_32_bits(self):
        self.expect(self.compile(C_PROGRAM, "-m32"), "64 bits")

    def reached(self, program):
        """It is what another program becomes or starts, in each way; the library of the tracer would end it."""
        spawn = f"import os; os.waitpid(os.posix_spawn({str(program)!r}, ['p'], os.environ), 0)"
        spawn_by_name = f"import os; os.waitpid(os.posix_spawnp({program.name!r}, ['p'], os.environ), 0)"
        script = program.parent / "script"
        script.write_text(f"#!/bin/sh\nexec {program}\n")
        script.chmod(0o755)
        env = self.place.environment(witness=False)
        env["PATH"] = f"{env['PATH']}:{program.parent}"
        for command, options in ((["sh", "-c", f"exec {program}"], ()), (["env", program.name], ()), ([script], ()),
                                 (["sh", "-c", f"{program}; exec {program}"], ("--follow-children",)),
                                 ([sys.executable, "-c", spawn], ("--follow-children",)),
                                 ([sys.executable, "-c", spawn_by_name], ("--follow-children",)),
                                 ([sys.executable, "-c", f"import os; os.execv({str(program)!r}, ['p'])"], ())):
            with self.subTest(command=command):
                alone = plain(command, env=env)
                beside = finish(self.place.start(command, *options, env=env))
                self.assertEqual((beside.status, beside.out, beside.err), (alone.status, alone.out, alone.err))
                self.assertIn("ran\n", beside.out)
                lost = self.place.report()["lost"]
                self.assertGreaterEqual(lost.get("exec", 0) + lost.get("children", 0), 1)

    def test_reached_by_exec(self):
        for option in ("-fsanitize=address", "-fsanitize=thread", "-static", "-static-pie", "-m32"):
            with self.subTest(option):
                self.reached(self.compile(C_PROGRAM, option))

    def need_root(self):
        if os.geteuid() != 0:
            self.skipTest("only root can set that up")

    def test_setuid(self):
        self.need_root()
        program = self.compile(C_PROGRAM)
        program.chmod(0o4755)
        self.place.folder.chmod(0o777)
        self.expect(program, "setuid", "owner", user=65534)

    def test_capabilities(self):
        self.need_root()
        program = self.compile(C_PROGRAM)
        if not shutil.which("setcap") or subprocess.run(["setcap", "cap_net_raw+ep", program], capture_output=True).returncode:
            # The same without the tool: version 2, effective, CAP_NET_RAW.
            try:
                os.setxattr(program, "security.capability", bytes.fromhex("01000002" "00200000" "00000000" "00000000" "00000000"))
            except OSError:
                self.skipTest("no file capabilities here")
        self.place.folder.chmod(0o777)
        self.expect(program, "file capabilities", "copy", user=65534)

    def test_root_traces_setuid_programs(self):
        self.need_root()
        program = self.compile(C_PROGRAM)
        program.chmod(0o4755)
        done = subprocess.run([ASYNCMEM, "run", "-o", self.place.file, "--no-report", program], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 5)
        self.assertGreater(self.place.report()["totals"]["allocations"], 0)

    def test_exec_of_a_static_program(self):
        """The recording is of what was before, and says so."""
        program = self.compile(C_PROGRAM, "-static")
        done = finish(self.place.start(["sh", "-c", f"exec {program}"], env=self.place.environment(witness=False)))
        self.assertEqual((done.status, done.out), (5, "ran\n"), done.err)
        self.assertIn("replaced this one", json.dumps(self.place.report()))

    def test_script_of_a_static_interpreter(self):
        """What the script starts may be traceable; where it is not, that is told at the end."""
        program = self.compile(C_PROGRAM, "-static")
        script = self.place.folder / "script"
        script.write_text(f"#!{program}\n")
        script.chmod(0o755)
        self.expect(script, "linked statically")


LOADER_LOCK = """#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int stop;
static int see(struct dl_phdr_info *i, size_t n, void *d) { for (volatile int k = 0; k < 1000; k++); return 0; }
static void *look(void *a) { while (!stop) dl_iterate_phdr(see, 0); return a; }
int main(void) {
    pthread_t thread;
    int status, bad = 0;
    pthread_create(&thread, 0, look, 0);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (!pid) { alarm(5); free(malloc(10)); _exit(0); }
        waitpid(pid, &status, 0);
        bad += status != 0;
    }
    stop = 1;
    pthread_join(thread, 0);
    printf("%d did not end\\n", bad);
}
"""
CHILD_LIMITS = """#define _GNU_SOURCE
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    struct rlimit limit = {1ul << 30, 1ul << 30};
    char *words[] = {"sh", "-c", "read x; ulimit -Sv", 0};
    pid_t pid;
    int ends[2], old = dup(1);
    setrlimit(RLIMIT_AS, &limit);
    for (int i = 0; i < 2; i++) {
        pipe2(ends, 0);
        dup2(ends[0], 0);
        close(ends[0]);
        i ? posix_spawn(&pid, "/bin/sh", 0, 0, words, environ) : posix_spawnp(&pid, "sh", 0, 0, words, environ);
        write(ends[1], "\\n", 1);
        waitpid(pid, 0, 0);
        close(ends[1]);
    }
    char *now[] = {"sh", "-c", "ulimit -Sv", 0};
    if (!(pid = vfork())) { execvp("sh", now); _exit(1); }
    waitpid(pid, 0, 0);
    if (!(pid = fork())) { execvp("sh", now); _exit(1); }
    waitpid(pid, 0, 0);
}
"""
MANY_VFORKS = """#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static long pages(void) {
    long nr = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    fscanf(file, "%ld", &nr);
    fclose(file);
    return nr;
}
int main(void) {
    char *words[] = {"true", 0};
    long before = 0;
    for (int i = 0; i < 60; i++) {
        pid_t pid = vfork();
        if (!pid) { execvp("true", words); _exit(1); }
        waitpid(pid, 0, 0);
        if (i == 20) before = pages();
    }
    printf("%ld\\n", pages() - before);
}
"""


class Children(unittest.TestCase):
    SCRIPT = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', " \
             "'import os; print(os.getpid(), \"ASYNCMEM_RUN\" in os.environ, os.environ.get(\"LD_PRELOAD\"))'], " \
             "capture_output=True, text=True).stdout, end='')"

    def run_script(self, *options):
        place = Place(self)
        done = finish(place.start([sys.executable, "-c", self.SCRIPT], *options, env=place.environment(witness=False)))
        self.assertEqual(done.status, 0, done.err)
        return place, done.out.split(), done.told

    def test_hidden(self):
        place, (_, *seen), _ = self.run_script()
        self.assertEqual(seen, ["False", "None"])
        self.assertEqual([path.name for path in place.folder.iterdir()], [place.file.name])

    def test_followed(self):
        place, (pid, *_), told = self.run_script("--follow-children")
        child = place.report(f"{place.file}.{pid}")
        self.assertEqual(child["pid"], int(pid))
        self.assertGreater(child["totals"]["allocations"], 1000)
        self.assertGreater(place.report()["totals"]["allocations"], 1000)
        self.assertIn("more process", told)

    def compile(self, place, source):
        program = place.folder / "subject"
        if not shutil.which("cc"):
            self.skipTest("there is no compiler")
        subprocess.run(["cc", "-w", "-x", "c", "-", "-o", program, "-lpthread"], input=source, text=True, check=True)
        return program

    def test_followed_while_others_are_in_the_loader(self):
        """Its lock is held in the child for ever: the child must not wait for it."""
        place = Place(self)
        done = finish(place.start([self.compile(place, LOADER_LOCK)], "--follow-children",
                                  env=place.environment(witness=False)), limit_s=120)
        self.assertEqual((done.status, done.out), (0, "0 did not end\n"), done.err)

    def test_limit_of_children(self):
        """A limit of the address space that the program gives itself is what its children get."""
        place = Place(self)
        program = self.compile(place, CHILD_LIMITS)
        done = finish(place.start([program], env=place.environment(witness=False)))
        self.assertEqual((done.status, done.out), (0, "1048576\n" * 4), done.err)

    def test_vfork_leaves_nothing(self):
        """What is made for the exec of a child is in memory that the parent shares."""
        place = Place(self)
        done = finish(place.start([self.compile(place, MANY_VFORKS)], "--follow-children",
                                  env=place.environment(witness=False)))
        self.assertEqual((done.status, done.out), (0, "0\n"), done.err)

    def test_many_followed(self):
        place = Place(self)
        script = f"for i in 1 2 3 4 5 6 7 8; do {sys.executable} -c 'import json' & done; wait"
        done = finish(place.start(["sh", "-c", script], "--follow-children", env=place.environment(witness=False)))
        self.assertEqual(done.status, 0, done.err)
        files = list(place.folder.glob(f"{place.file.name}.*"))
        self.assertEqual(len(files), 8)
        for file in files:
            self.assertGreater(place.report(file)["totals"]["allocations"], 1000)


class Report(unittest.TestCase):
    def test_where_it_goes(self):
        place = Place(self)
        base = [ASYNCMEM, "run", "-o", place.file]
        program = [sys.executable, "-c", "print('own')"]

        def run(*options):
            return subprocess.run([str(word) for word in (*base, *options, *program)], capture_output=True, text=True, timeout=60)
        done = run()
        self.assertEqual(done.stdout, "own\n")
        self.assertIn("Allocations", done.stderr)
        self.assertIn(f"recorded in {place.file}", done.stderr)
        done = run("--no-report")
        self.assertEqual(done.stderr, f"asyncmem: recorded in {place.file}; asyncmem report {place.file} shows it\n")
        done = run("--json")
        document, _ = json.JSONDecoder().raw_decode(done.stderr)
        self.assertEqual(document["schema"], "asyncmem.report/1")
        done = run("--json", "--report", place.folder / "report")
        self.assertEqual(json.loads((place.folder / "report").read_text())["schema"], "asyncmem.report/1")
        done = run("--report", "/dev/stdout")
        self.assertIn("own\n", done.stdout)
        self.assertIn("Allocations", done.stdout)

    def test_stdout_in_a_file_is_kept(self):
        place = Place(self)
        with open(place.folder / "out", "w") as out:
            subprocess.run([ASYNCMEM, "run", "-o", place.file, "--report", "/dev/stdout", "echo", "own"], stdout=out,
                           stderr=subprocess.DEVNULL, timeout=60)
        text = (place.folder / "out").read_text()
        self.assertTrue(text.startswith("own\n"))
        self.assertIn("Allocations", text)

    def test_full_report_file(self):
        place = Place(self)
        done = subprocess.run([ASYNCMEM, "run", "-o", place.file, "--report", "/dev/full", "sh", "-c", "exit 6"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 6)
        self.assertEqual(done.stderr.count("No space left"), 1)

    def test_default_name(self):
        place = Place(self)
        done = subprocess.run([ASYNCMEM, "run", "--no-report", "sh", "-c", "echo $$"], capture_output=True, text=True,
                              timeout=60, cwd=place.folder)
        self.assertEqual([path.name for path in place.folder.iterdir()], [f"asyncmem.{done.stdout.strip()}.rec"])


if __name__ == "__main__":
    unittest.main()
