# SPDX-License-Identifier: MIT OR Apache-2.0
"""Counts the future types in a binary's DWARF with llvm-dwarfdump: a second pair of eyes.

A future type may stand in many units, as a definition or as a mere declaration; by its qualified name
it is one.
"""
import re
import subprocess

ENTRY = re.compile(r"^0x[0-9a-f]+:( +)(DW_TAG_\w+|NULL)")
NAME = re.compile(r'^ +DW_AT_name\t\("(.*)"\)$')
FUTURE = re.compile(r"\{async_(fn|block|closure)_env#")
SCOPES = ("DW_TAG_namespace", "DW_TAG_structure_type")


def future_paths(lines):
    """The qualified names of future types in a dump, as a set."""
    paths = set()
    scopes = []  # [indentation, name] of the entries around the current one
    at_scope = False
    for line in lines:
        entry = ENTRY.match(line)
        if entry:
            indentation = len(entry.group(1))
            while scopes and scopes[-1][0] >= indentation:
                scopes.pop()
            at_scope = entry.group(2) in SCOPES
            if at_scope:
                scopes.append([indentation, "?"])
            continue
        name = at_scope and NAME.match(line)
        if name:
            at_scope = False  # the first name is the entry's own
            scopes[-1][1] = name.group(1)
            if FUTURE.match(name.group(1)):
                paths.add("::".join(scope[1] for scope in scopes))
    return paths


def count(binary):
    """Number of future types; FileNotFoundError if llvm-dwarfdump is missing, OSError if it fails."""
    dump = subprocess.Popen(["llvm-dwarfdump", "--debug-info", binary], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, errors="replace")
    with dump:
        number = len(future_paths(dump.stdout))
    if dump.returncode != 0:
        raise OSError("llvm-dwarfdump fails on %s" % binary)
    return number
