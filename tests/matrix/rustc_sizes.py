# SPDX-License-Identifier: MIT OR Apache-2.0
"""What rustc itself says of future types: reads -Zprint-type-sizes and finds a future in it.

Functions are found by path, blocks by file and line (rustc 1.63: both by file and line); never by size.
rustc prints re-exported and crate-local paths, so a path is compared from its end: the whole path if
it is there, else the type and the function, else the function within its crate. Where several
entries remain (generic instances), a size must be one of theirs.
"""
import os
import re

TYPE = re.compile(r"^print-type-size type: `(.*)`: (\d+) bytes, alignment: (\d+) bytes$")
PLACE = re.compile(r"^(.*):(\d+):\d+: \d+:\d+$")
EXTERNAL = {"std", "core", "alloc", "tokio", "mio", "bytes", "socket2", "subject"}


def strip_generics(path):
    """`a::b<C<D>>::f` -> `a::b::f`; the angle brackets of `<T as Trait>::f` stay."""
    out = []
    open_kinds = []
    for position, char in enumerate(path):
        if char == "<":
            before = path[position - 1] if position else ""
            generic = before.isalnum() or before in ("_", ":", "}", "]")
            open_kinds.append("generic" if generic else "qualified")
        if "generic" not in open_kinds:
            out.append(char)
        if char == ">" and path[position - 1:position] != "-" and open_kinds:
            open_kinds.pop()
    return "".join(out).replace("::::", "::")


def segments(path):
    """The identifiers of a path, without generics, closures and `{impl#N}`: [crate, ..., name]."""
    plain = strip_generics(path)
    plain = re.sub(r"::\{(async (fn|block|closure)|closure)(#\d+)?\}", "", plain)
    qualified = re.match(r"^<(.*?) as .*>(::.*)$", plain)
    if qualified:
        plain = qualified.group(1).lstrip("&") + qualified.group(2)
    return [s.strip("<> ") for s in plain.split("::") if s and not s.startswith("{impl")]


def is_type(segment):
    return bool(segment) and segment[0][:1].isupper()


def body_line(future):
    """rustc 1.63 gives the line where the body begins; the fn of a long signature begins before that."""
    line = future["line"]
    if future["kind"] != "async fn" or not os.path.exists(future["file"]):
        return line
    with open(future["file"], errors="replace") as source:
        text = source.read().splitlines()
    for number in range(line, min(line + 40, len(text) + 1)):
        if text[number - 1].rstrip().endswith("{"):
            return number
    return line


def place_key(file, line):
    parts = os.path.normpath(file).split(os.sep)
    return "/".join(parts[-2:]), int(line)


class Entry:
    def __init__(self, kind, path, place, size, align):
        self.kind, self.path, self.place = kind, path, place
        self.size, self.align = size, align
        self.met = False


class Sizes:
    """Every future type that rustc listed for the crates of one build."""

    def __init__(self):
        self.entries = []
        self.by_name = {}   # (kind, crate, function) -> entries
        self.by_place = {}  # (file, line) -> entries

    def read(self, crate, path):
        seen = set()
        with open(path) as lines:
            for line in lines:
                match = TYPE.match(line)
                if not match or match.group(0) in seen:
                    continue
                seen.add(match.group(0))
                self._add(crate, match.group(1), int(match.group(2)), int(match.group(3)))

    def _add(self, crate, name, size, align):
        parsed = self._parse(name)
        if parsed is None:
            return
        kind, where = parsed
        place = PLACE.match(where)
        if place:
            entry = Entry(kind, None, place_key(place.group(1), place.group(2)), size, align)
            self.by_place.setdefault(entry.place, []).append(entry)
        else:
            path = segments(where)
            if path and path[0] not in EXTERNAL - {crate}:
                path = [crate] + path
            entry = Entry(kind, path, None, size, align)
            kinds = ("fn", "block", "closure") if kind == "any" else (kind,)
            for one in kinds:
                self.by_name.setdefault((one, path[0], path[-1]), []).append(entry)
        self.entries.append(entry)

    @staticmethod
    def _parse(name):
        """(kind, path or place) of a future type's name; None for every other type."""
        match = re.match(r"^\{async fn body of (.*)\(\)\}$", name)
        if match:
            return "fn", match.group(1)
        match = re.match(r"^\{async closure body of (.*)\(\)\}$", name)
        if match:
            return "closure", match.group(1)
        match = re.match(r"^\{async block@(.*)\}$", name)
        if match:
            return "block", match.group(1)
        # Up to 1.66 the state machine of an `async` body is wrapped, and only the wrapper is listed.
        match = re.match(r"^std::future::from_generator::GenFuture<\[static generator@(.*)\]>$", name)
        if match:
            return "any", match.group(1)
        return None

    def find(self, future):
        """The entries that can be this future of asyncmem's JSON."""
        kind = future["kind"].split()[-1]
        placed = self._placed(future, ("any",) if kind == "fn" else ("block", "closure", "any"))
        path = segments(future["name"])
        if placed or not path:
            return placed
        named = self.by_name.get((kind, path[0], path[-1]), [])
        whole = [e for e in named if e.path == path]
        if whole:
            return whole
        if "{impl#" in future["name"]:  # a type that asyncmem could not name
            return named
        if is_type(path[-2:-1]):
            return [e for e in named if e.path[-2:] == path[-2:]]
        return [e for e in named if not is_type(e.path[-2:-1])]

    def _placed(self, future, kinds):
        if not future.get("file") or not future.get("line"):
            return []
        key = place_key(future["file"], body_line(future))
        return [e for e in self.by_place.get(key, []) if e.kind in kinds]
