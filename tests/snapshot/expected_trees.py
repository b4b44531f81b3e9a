# SPDX-License-Identifier: MIT OR Apache-2.0
"""The trees that a program's source writes beside each shape (tests/programs/trees says how), and the same
form made of a snapshot's `await_tree`, so that the two compare line by line."""

import pathlib
import re
import typing

TREE_LINE = re.compile(r"//   ((?:  )*)(?:\*(\d+) )?(\S.*?) @(\w+)(?:: (.+))?$")


class Place(typing.NamedTuple):
    depth: int
    future: str
    file: str
    line: int
    waits_for: str | None

    def __str__(self):
        leaf = f": {self.waits_for}" if self.waits_for else ""
        return f"{'  ' * self.depth}{self.future} {self.file}:{self.line}{leaf}"


def tags(folder):
    """Tag -> (file, line)."""
    found = {}
    for path in sorted(folder.glob("*.rs")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := re.search(r"\S.* // @(\w+)$", line):
                if match[1] in found:
                    raise ValueError(f"{path}:{number}: the tag @{match[1]} is there twice")
                found[match[1]] = (path.name, number)
    return found


def repeated(lines):
    """Lines as (depth, times, place): a line that is there `times` times takes what is below it along."""
    result, at = [], 0
    while at < len(lines):
        times, place = lines[at]
        end = at + 1
        while end < len(lines) and lines[end][1].depth > place.depth:
            end += 1
        result += ([place] + repeated(lines[at + 1:end])) * times
        at = end
    return result


def expected(folder):
    """Name of the task's future -> its tree, a list of places from the task down to the leaves."""
    found, places = {}, tags(folder)
    for path in sorted(folder.glob("*.rs")):
        lines = path.read_text().splitlines()
        for start in (number for number, line in enumerate(lines) if line == "// tree:"):
            tree = []
            for line in lines[start + 1:]:
                if not (match := TREE_LINE.fullmatch(line)):
                    break
                spaces, times, future, tag, leaf = match.groups()
                tree.append((int(times or 1), Place(len(spaces) // 2, future, *places[tag], leaf)))
            if not tree or tree[0][1].future in found:
                raise ValueError(f"{path}:{start + 1}: no tree, or one that is there twice")
            found[tree[0][1].future] = repeated(tree)
    return found


def children_of(frames):
    children = {}
    for number, frame in enumerate(frames):
        children.setdefault(frame["parent"], []).append(number)
    return children


def below(children, number):
    """The frames under one, from the top."""
    for child in children.get(number, []):
        yield child
        yield from below(children, child)


def shown(task, crate):
    """The await tree of a task of a snapshot in the form of the expected ones: the crate's own futures."""
    frames = task["await_tree"]
    children = children_of(frames)
    result = []

    def is_own(frame):
        return bool(frame["state"]) and f"{crate}/src/" in (frame["file"] or "")

    def visit(number, depth):
        frame = frames[number]
        if is_own(frame):
            under = [frames[other] for other in below(children, number)]
            words = [other["waits_for"] for other in under if other["waits_for"]]
            waits_for = words[0] if words and not any(map(is_own, under)) else None
            file = pathlib.PurePath(frame["file"] or "").name
            result.append(Place(depth, frame["future"], file, frame["line"], waits_for))
            depth += 1
        for child in children.get(number, []):
            visit(child, depth)

    for root in children.get(-1, []):
        visit(root, 0)
    return result
