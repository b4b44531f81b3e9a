# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads the future types out of what `rustc -Zprint-type-sizes` printed.

rustc lists the entries of each state in the order of their offsets, with the padding between them, so the
offsets can be worked out again: counting starts behind the discriminant (which rustc takes to be first
even where it is not); an entry that begins before the count carries its offset in words.
"""

import re
from dataclasses import dataclass, field

PREFIX = "print-type-size "
_TYPE = re.compile(r"type: `(?P<name>.*)`: (?P<size>\d+) bytes, alignment: (?P<align>\d+) bytes$")
_VARIANT = re.compile(r"    variant `(?P<name>[^`]*)`: \d+ bytes$")
_DISCRIMINANT = re.compile(r"    discriminant: (?P<size>\d+) bytes$")
_PADDING = re.compile(r"        padding: (?P<size>\d+) bytes$")
_ENTRY = re.compile(
    r"        (?P<kind>upvar|local|field) `\.(?P<name>[^`]*)`: (?P<size>\d+) bytes"
    r"(?:, offset: (?P<offset>\d+) bytes)?(?:, alignment: \d+ bytes)?(?:, type: (?P<type>.*))?$"
)
# rustc numbers unnamed entries over all states, DWARF (`__7`) within each: the numbers say nothing here.
_UNNAMED = re.compile(r"\.coroutine_field\d+$")
UNNAMED = "__unnamed"
_FUTURE = re.compile(r"\{async (fn body of|block@|closure body@)")
_KINDS = {"fn body of": "async fn", "block@": "async block", "closure body@": "async closure"}


@dataclass(frozen=True)
class Entry:
    kind: str  # "upvar" or "local"
    name: str  # UNNAMED for a temporary or a drop flag, `__awaitee` for the awaited future
    offset: int
    size: int
    type: str  # "" where rustc does not print it

    @property
    def bytes(self):
        return set(range(self.offset, self.offset + self.size))


@dataclass
class Layout:
    crate: str  # the crate whose compilation printed it; its name is missing in paths of its own
    name: str  # as printed, with the braces
    kind: str
    size: int
    align: int
    discriminant: int = 0
    states: dict = field(default_factory=dict)  # state name -> list of Entry

    @property
    def fingerprint(self):
        states = tuple((name, tuple(entries)) for name, entries in self.states.items())
        return (self.name, self.size, self.align, self.discriminant, states)


class ListingError(Exception):
    pass


def _entry(match, at):
    offset = at if match["offset"] is None else int(match["offset"])
    name = _UNNAMED.sub(UNNAMED, match["name"])
    return Entry(match["kind"], name, offset, int(match["size"]), match["type"] or "")


def parse(lines, crate):
    """The future types of one crate's listing, in its order. Raises ListingError at an unknown line."""
    layouts, layout, entries, at = [], None, None, 0
    for number, line in enumerate(lines, 1):
        if not line.startswith(PREFIX):
            continue
        line = line[len(PREFIX):].rstrip("\n")
        if match := _TYPE.match(line):
            layout = entries = None
            if future := _FUTURE.match(match["name"]):
                kind = _KINDS[future[1]]
                layout = Layout(crate, match["name"], kind, int(match["size"]), int(match["align"]))
                layouts.append(layout)
        elif layout is None:
            continue
        elif match := _DISCRIMINANT.match(line):
            layout.discriminant = int(match["size"])
        elif match := _VARIANT.match(line):
            entries, at = layout.states.setdefault(match["name"], []), layout.discriminant
        elif match := _PADDING.match(line):
            at += int(match["size"])
        elif match := _ENTRY.match(line):
            entry = _entry(match, at)
            entries.append(entry)
            at = entry.offset + entry.size
        elif not line.startswith("    end padding: "):
            raise ListingError(f"{crate}, line {number}: cannot read `{line}`")
    return layouts
