# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares Rust paths that were printed by different hands.

rustc prints the path a user would write (`tokio::sync::Mutex<T>::lock`), without the name of the crate it is
compiling; a binary's debug information has the path of the definition (`tokio::sync::mutex::Mutex<T>::lock`).
A path is therefore brought to a key: its last segments from the first type on, without modules and generics.
Modules and generics are kept beside the key, to choose between paths of equal keys.
"""

import re
from dataclasses import dataclass

_OPEN, _CLOSE = "<([{", ">)]}"
# What a report has to print where the binary has no symbol that tells the type of an impl.
UNKNOWN_IMPL = re.compile(r"\{impl#\d+\}")
_LIFETIME = re.compile(r"'(_|[a-z][A-Za-z0-9_]*)\b(, |\s)?")


def split_top(text, separator):
    """Splits at separators that are in no bracket of any kind. The `>` of an arrow closes nothing."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if text.startswith("->", i):
            i += 2
            continue
        if text[i] in _OPEN:
            depth += 1
        elif text[i] in _CLOSE:
            depth -= 1
        elif depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i])
            i += len(separator)
            start = i
            continue
        i += 1
    parts.append(text[start:])
    return parts


def short_type(text):
    """A type without modules, lifetimes, default allocators and blanks; the bounds of a `dyn` sorted; a
    future by its path."""
    text = re.sub(r"\{async fn body of (.*?)\(\)\}", r"\1", text)
    text = _LIFETIME.sub("", text).replace("<>", "")
    text = re.sub(r"\b(?:[A-Za-z_][A-Za-z0-9_]*::)+(?=[A-Za-z_{<])", "", text)
    text = re.sub(r",\s*Global>", ">", text)
    text = re.sub(r"\((dyn [^()]*)\)", r"\1", text)
    text = re.sub(r"\s+", "", text)
    return re.sub(r"(?:\+\w+){2,}", lambda bounds: "".join(sorted(re.findall(r"\+\w+", bounds[0]))), text)


@dataclass(frozen=True)
class Path:
    key: str
    modules: tuple  # the segments before the key
    generics: tuple  # all generic arguments in the order written, each by short_type


def _generics(segment):
    start = segment.find("<", 1)
    if start < 0 or not segment.endswith(">"):
        return segment, ()
    arguments = [short_type(part) for part in split_top(segment[start + 1:-1], ",")]
    return segment[:start].removesuffix("::"), tuple(a for a in arguments if a)


def parse_path(text):
    """`crate::module::Type<A>::method<B>` or `<Type<A> as Trait<B>>::method<C>`. Closures on the way to a
    nested function (`f::{closure#0}::g`) are left out: not everybody prints them."""
    key, modules, generics, in_type = [], [], [], False
    for segment in split_top(text.strip(), "::"):
        if not segment or segment.startswith("{closure#"):
            continue
        if segment.startswith("<") and key:  # turbofish: `f::<A>`
            generics += _generics("x" + segment)[1]
            continue
        if segment.startswith("<"):
            sides = [parse_path(side) for side in split_top(segment[1:-1], " as ")]
            generics += [argument for side in sides for argument in side.generics]
            key.append("<" + " as ".join(side.key for side in sides) + ">")
            in_type = True
            continue
        name, arguments = _generics(segment)
        generics += arguments
        if key and not in_type:
            modules.append(key.pop())
        key.append(name)
        in_type = in_type or name[0].isupper() or bool(UNKNOWN_IMPL.match(name))
    return Path("::".join(key), tuple(modules), tuple(generics))


def behind_impl(key):
    """`{impl#5}::wait` -> `wait`, `Child::wait` -> `wait`, `f` -> None: what is left without the type."""
    segments = split_top(key, "::")
    return "::".join(segments[1:]) if len(segments) > 1 else None


def re_exported(shown, defined):
    """Whether an item shown in one module may be defined in the other: a re-export leaves modules out."""
    rest = iter(defined)
    return shown[:1] == defined[:1] and all(part in rest for part in shown)


def _may_be_one(left, right):
    """A closure or block among the arguments is described by its place or by its number: not comparable."""
    return left == right or all("{" in side or "closure" in side for side in (left, right))


def generics_agree(ours, theirs):
    """Equal from the end on: an impl's own arguments may be missing on their side."""
    return len(ours) >= len(theirs) and all(map(_may_be_one, reversed(ours), reversed(theirs)))


def same_file(left, right):
    """Whether one path is the tail of the other."""
    a, b = ([part for part in path.split("/") if part not in ("", ".")] for path in (left, right))
    count = min(len(a), len(b))
    return count > 0 and a[-count:] == b[-count:]
