#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The process that is looked at goes on as if nothing were: a server under load answers each request right
through many snapshots, and when asyncmem is killed in the middle of one; system calls that block go on."""

import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

from subjects import ASYNCMEM, LONG, Subject, ask, async_tasks, snapshot, wait_until

SNAPSHOTS = 500 if LONG else 50
KILLS = 200 if LONG else 20
CLIENTS = 4


class Client(threading.Thread):
    """One connection that sets and gets values of its own, and looks at each answer."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.number, self.answers, self.problem, self.ends = number, 0, None, False
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.stream = self.connection.makefile("rb")

    def ask(self, *words):
        parts = [f"*{len(words)}\r\n".encode()]
        for word in words:
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        self.connection.sendall(b"".join(parts))
        line = self.stream.readline()
        if not line.startswith(b"$"):
            return line
        return self.stream.read(int(line[1:]) + 2)[:-2]

    def expect(self, answer, expected):
        if answer != expected:
            raise ValueError(f"client {self.number}, answer {self.answers}: {answer[:80]!r}, not {expected[:80]!r}")
        self.answers += 1

    def run(self):
        try:
            turn = 0
            while not self.ends:
                turn += 1
                key, value = b"key%d.%d" % (self.number, turn % 50), b"%d " % turn * (1 + turn % 300)
                self.expect(self.ask(b"SET", key, value), b"+OK\r\n")
                self.expect(self.ask(b"GET", key), value)
        except Exception as error:  # told by the test, in its own thread
            self.problem = error
        finally:
            self.stream.close()
            self.connection.close()


def is_free(pid):
    """Nobody traces the process, and none of its threads is stopped."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if re.search(r"^State:\s+[tT]", status, re.MULTILINE) or not re.search(r"^TracerPid:\s+0$", status,
                                                                               re.MULTILINE):
            return False
    return True


def started_snapshot(pid):
    return subprocess.Popen([str(ASYNCMEM), "snapshot", "--json", str(pid)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def killed_snapshot(pid, after_s):
    """Kills a snapshot some time after its start; False if it had ended by then."""
    process = started_snapshot(pid)
    time.sleep(after_s)
    process.kill()
    return process.wait(30) == -signal.SIGKILL


def duration_s(pid):
    """How long a snapshot takes, from the moment that it is started; the shortest of a few."""
    durations = []
    for _ in range(5):
        process, began = started_snapshot(pid), time.monotonic()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        durations.append(time.monotonic() - began)
        if process.wait(30) != 0:
            raise AssertionError("a snapshot failed")
    return min(durations)


class Server(unittest.TestCase):
    def setUp(self):
        self.subject = Subject("real-mini-redis", 0)
        self.addCleanup(self.subject.__exit__)
        port = int(self.subject.line().rsplit(":", 1)[1])
        self.clients = [Client(port, number) for number in range(CLIENTS)]
        for client in self.clients:
            client.start()
        self.addCleanup(self.end_clients)
        self.wait_for_answers()

    def end_clients(self):
        for client in self.clients:
            client.ends = True
        for client in self.clients:
            client.join(30)

    def answers(self):
        for client in self.clients:
            self.assertIsNone(client.problem)
        return [client.answers for client in self.clients]

    def wait_for_answers(self):
        """Waits until each client has had another answer."""
        before = self.answers()
        wait_until("each client is answered", lambda: all(
            now > then for now, then in zip(self.answers(), before, strict=True)))

    def end_server(self):
        self.end_clients()
        self.answers()
        self.assertTrue(all(not client.is_alive() for client in self.clients))
        os.kill(self.subject.pid, signal.SIGTERM)
        self.assertEqual(self.subject.process.wait(30), 0)

    def test_snapshots_under_load(self):
        for _ in range(SNAPSHOTS):
            document = snapshot(self.subject.pid)
            handlers = [task for task in async_tasks(document) if "mini_redis" in (task["future"] or "")]
            self.assertGreaterEqual(len(handlers), CLIENTS)
            for runtime in document["runtimes"]:
                self.assertEqual(runtime["found_tasks"], runtime["owned_tasks"])
            self.wait_for_answers()
        self.assertTrue(is_free(self.subject.pid))
        self.end_server()

    def test_killed_at_random_moments(self):
        moments, limit, killed = random.Random(3), duration_s(self.subject.pid), 0
        for _ in range(KILLS):
            killed += killed_snapshot(self.subject.pid, moments.uniform(0, limit))
            wait_until("the server is free again", lambda: is_free(self.subject.pid), limit_s=5)
            self.wait_for_answers()
        self.assertGreater(killed, KILLS // 4, "too few were killed in the middle")
        snapshot(self.subject.pid)
        self.end_server()


class SystemCalls(unittest.TestCase):
    def check(self, disturb):
        with Subject("blocked") as subject:
            subject.truth()
            disturb(subject)
            exit_code = subject.finish()
            self.assertEqual(subject.truth()["failed"], [])
            self.assertEqual(exit_code, 0)

    def test_go_on_through_snapshots(self):
        def disturb(subject):
            for _ in range(SNAPSHOTS):
                ask("snapshot", subject.pid)
        self.check(disturb)

    def test_go_on_when_asyncmem_is_killed(self):
        def disturb(subject):
            moments, limit = random.Random(4), duration_s(subject.pid)
            for _ in range(KILLS):
                killed_snapshot(subject.pid, moments.uniform(0, limit))
                wait_until("the program is free again", lambda: is_free(subject.pid), limit_s=5)
        self.check(disturb)

    def test_a_stopped_process_stays_stopped(self):
        """SIGSTOP from somebody else is not lifted by a snapshot."""
        with Subject("trees") as subject:
            truth = subject.truth()
            os.kill(subject.pid, signal.SIGSTOP)
            status = pathlib.Path(f"/proc/{subject.pid}/status")
            stopped = re.compile(r"^State:\s+T", re.MULTILINE)
            wait_until("it is stopped", lambda: stopped.search(status.read_text()))
            self.assertEqual(len(async_tasks(snapshot(subject.pid))), truth["alive"])
            wait_until("it is stopped again", lambda: stopped.search(status.read_text()), limit_s=5)
            os.kill(subject.pid, signal.SIGCONT)
            self.assertEqual(subject.finish(), 0)


if __name__ == "__main__":
    unittest.main()
