#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Real servers with requests in flight: each connection's task holds its buffers, and the heap adds up.

The accept loop allocated them, on another thread; the program is mini-redis, and one of hyper.
"""

import json
import os
import socket
import unittest

from subjects import Subject, async_tasks, snapshot, wait_until

CLASSES = ("cells", "held", "maybe_held", "shared", "runtime", "other", "unknown")
NO_TCACHE = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
NO_TCACHE.pop("MALLOC_PERTURB_", None)
SENT = [30_000, 60_000, 120_000]
ARENA_BYTES = 4096  # of each, that malloc counts as in use: its own state


class Server:
    """A server with a connection for each of SENT, which has sent so much of a request of more."""

    def __init__(self, test, kind, request):
        self.subject = Subject("servers", kind, env=NO_TCACHE)
        test.addCleanup(self.subject.__exit__)
        self.port = int(self.subject.line())
        self.mallinfo()
        for count in SENT:
            client = socket.create_connection(("127.0.0.1", self.port))
            test.addCleanup(client.close)
            client.sendall(request + b"x" * count)

    def mallinfo(self):
        self.subject.process.stdin.write(b"\n")
        self.subject.process.stdin.flush()
        return json.loads(self.subject.line())["mallinfo"]


def slots(task, name):
    return [slot for frame in task["await_tree"] for slot in frame["slots"] if slot["name"] == name]


class Servers(unittest.TestCase):
    def arrived(self, server, of_future, variable):
        """A snapshot in which each connection has all that was sent to it."""
        def look():
            document = snapshot(server.subject.pid)
            tasks = [task for task in async_tasks(document) if of_future in (task["future"] or "")]
            held = sorted(slot["heap_bytes"] or 0 for task in tasks for slot in slots(task, variable))
            self.last = (len(tasks), held, [(task["future"], task["held_bytes"], task["held_is"], task["held_reason"])
                                            for task in tasks])
            is_all = len(held) == len(SENT) and all(bytes >= sent for bytes, sent in zip(held, SENT))
            return document if is_all else None
        try:
            return wait_until("every buffer is held", look, 60)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.last}") from None

    def expect_whole(self, server, document):
        heap = document["heap"]
        self.assertEqual(sum(heap[row + "_bytes"] for row in CLASSES), heap["live_bytes"])
        self.assertLessEqual(heap["unknown_bytes"], 0.05 * heap["live_bytes"])
        in_use = server.mallinfo() - 8 * heap["blocks"]
        self.assertGreaterEqual(in_use, heap["live_bytes"])
        self.assertLess(in_use - heap["live_bytes"], ARENA_BYTES * (document["threads"] + 1))

    def expect_held(self, document, of_future, variable):
        for task in async_tasks(document):
            if of_future in (task["future"] or "") and slots(task, variable):
                with self.subTest(task=task["id"]):
                    self.assertIn(task["held_is"], ("exact", "at_least"))
                    self.assertGreaterEqual(task["held_bytes"], max(slot["heap_bytes"] for slot in slots(task, variable)))

    def test_mini_redis(self):
        server = Server(self, "redis", b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000000\r\n")
        document = self.arrived(server, "mini_redis::server::", "handler")
        self.expect_held(document, "mini_redis::server::", "handler")
        self.expect_whole(server, document)

    def test_hyper(self):
        server = Server(self, "http", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        document = self.arrived(server, "servers::serve_connection", "received")
        self.expect_held(document, "servers::serve_connection", "received")
        self.expect_whole(server, document)


if __name__ == "__main__":
    unittest.main()
