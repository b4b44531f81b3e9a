# SPDX-License-Identifier: MIT OR Apache-2.0
"""A tokio whose task cells are laid out in another order, as a future tokio's may be.

The newest tokio, fetched by `cargo vendor`, is copied and its fields are moved: of Header and Core, which
are repr(C), and of Trailer, which gets a repr(C). The offsets that tokio computes for its vtable
(tokio/src/runtime/task/raw.rs) follow; nothing else in tokio knows the order.
"""
import os
import re
import shutil
import subprocess
import typing


class Order(typing.NamedTuple):
    about: str
    header: list
    core: list
    trailer: list


ORDERS = {
    "a": Order("the vtable second, the state last, the id before the scheduler",
               ["owner_id", "vtable", "queue_next", "state"], ["task_id", "scheduler", "stage"],
               ["hooks", "waker", "owned"]),
    "b": Order("the vtable first, the state third", ["vtable", "owner_id", "state", "queue_next"],
               ["scheduler", "task_id", "stage"], ["waker", "owned", "hooks"]),
    "c": Order("the state and the vtable in place, the owner second",
               ["state", "owner_id", "vtable", "queue_next"], ["scheduler", "task_id", "stage"],
               ["owned", "hooks", "waker"]),
}
SCHEDULER_AND_ID = re.compile(
    r"const SCHEDULER_OFFSET: usize = get_core_offset\((.*?)\);.*?const ID_OFFSET: usize = get_id_offset\((.*?)\);",
    re.S)


def vendored_tokio(subject, folder):
    """The newest tokio's source, fetched once."""
    vendor = os.path.join(folder, "vendor")
    tokio = os.path.join(vendor, "tokio")
    if not os.path.exists(tokio):
        subprocess.run(["cargo", "vendor", "--locked", vendor], cwd=subject, check=True, timeout=300,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return tokio


def split_fields(body):
    """(field name, its text with comments and attributes) for each field of a struct's body."""
    fields, start = [], 0
    for end in re.finditer(r",\n", body):
        text = body[start:end.end()]
        fields.append((re.search(r"^\s*pub\(super\) (\w+):", text, re.M).group(1), text))
        start = end.end()
    if body[start:].strip():
        raise ValueError("a struct of tokio has a field that was not understood: %r" % body[start:].strip())
    return fields


def reorder(source, struct, names):
    """The source with the named fields of a struct first, in this order."""
    match = re.search(r"(struct %s\b[^{;]*\{\n)(.*?)(^\}\n)" % struct, source, re.S | re.M)
    fields = dict(split_fields(match.group(2)))
    if not set(names) <= set(fields):
        raise ValueError("tokio's %s has the fields %s" % (struct, ", ".join(fields)))
    ordered = [fields[name] for name in names] + [text for name, text in fields.items() if name not in names]
    return source[:match.start(2)] + "".join(ordered) + source[match.end(2):]


def patch(tokio, order):
    task = os.path.join(tokio, "src", "runtime", "task")
    path = os.path.join(task, "core.rs")
    with open(path) as file:
        source = file.read()
    for struct, names in (("Header", order.header), ("Core", order.core), ("Trailer", order.trailer)):
        source = reorder(source, struct, names)
    source = source.replace("pub(super) struct Trailer", "#[repr(C)]\npub(super) struct Trailer")
    with open(path, "w") as file:
        file.write(source)
    if order.core[0] == "task_id":
        put_id_first(os.path.join(task, "raw.rs"))


def put_id_first(path):
    """The offsets of scheduler and id for a Core that begins with its id."""
    with open(path) as file:
        source = file.read()
    match = SCHEDULER_AND_ID.search(source)
    core, both = match.group(1), match.group(2)
    swapped = both.replace("size_of::<S>()", "size_of::<Id>()").replace("align_of::<Id>()", "align_of::<S>()")
    offsets = ("const SCHEDULER_OFFSET: usize = get_id_offset(%s);\n"
               "    const ID_OFFSET: usize = get_core_offset(%s);" % (swapped, core))
    with open(path, "w") as file:
        file.write(source[:match.start()] + offsets + source[match.end():])


def write_package(subject, package, name):
    """Makes the subject's manifest and lock file for a reordered tokio beside them."""
    packages = os.path.dirname(package)
    tokio = os.path.join(packages, "tokio-reordered-" + name)  # inside the package it would be a member of it
    if not os.path.exists(tokio):
        shutil.rmtree(tokio + ".part", ignore_errors=True)
        shutil.copytree(vendored_tokio(subject, packages), tokio + ".part")
        os.unlink(os.path.join(tokio + ".part", ".cargo-checksum.json"))
        patch(tokio + ".part", ORDERS[name])
        os.rename(tokio + ".part", tokio)
    with open(os.path.join(subject, "Cargo.toml")) as file:
        manifest = file.read()
    with open(os.path.join(package, "Cargo.toml"), "w") as file:
        file.write(manifest + "\n[patch.crates-io]\ntokio = { path = \"%s\" }\n" % tokio)
    with open(os.path.join(subject, "Cargo.lock")) as file:
        lock = file.read()
    lock = re.sub(r'(name = "tokio"\nversion = "[^"]*"\n)source = .*\nchecksum = .*\n', r"\1", lock)
    with open(os.path.join(package, "Cargo.lock"), "w") as file:
        file.write(lock)
