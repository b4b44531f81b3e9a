#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The matrix's RUSTC_WRAPPER: runs rustc as asked and, beside it, a second time for the truth.

The second run adds -Zprint-type-sizes and writes what rustc prints to MATRIX_SIZES_DIR/<crate>.txt. It
is a run of its own because RUSTC_BOOTSTRAP changes what the compiler makes (symbol mangling, for one):
the binary under test must come from the plain stable compiler. LLVM's optimisation and debug
information are left out there; layouts are decided before them.
"""
import os
import subprocess
import sys
import tempfile

MEASURED = ("tokio", "subject")


def crate_of(argv):
    """The crate's name if this run compiles one for the target that is measured, else None."""
    if "--crate-name" not in argv or "--target" not in argv:
        return None
    name = argv[argv.index("--crate-name") + 1]
    return name if name in MEASURED else None


def measuring_args(argv, out_dir):
    """The same arguments, less what belongs to output and linking."""
    result = []
    skip = False
    for position, arg in enumerate(argv):
        if skip:
            skip = False
            continue
        following = argv[position + 1] if position + 1 < len(argv) else ""
        if arg == "--out-dir":
            skip = True
            continue
        if arg == "-C" and following.startswith(("lto", "linker-plugin-lto", "strip")):
            skip = True
            continue
        if arg.startswith(("--emit=", "--error-format", "--json=", "-Clto")):
            continue
        result.append(arg)
    return result + ["--emit=obj", "--out-dir", out_dir, "-Zprint-type-sizes",
                     "-Cno-prepopulate-passes", "-Cdebuginfo=0", "--cap-lints=allow"]


def start_measuring(argv, scratch):
    env = dict(os.environ, RUSTC_BOOTSTRAP="1")
    with open(os.path.join(scratch, "sizes"), "w") as out:
        return subprocess.Popen(measuring_args(argv, scratch), stdout=out, env=env)


def compile_and_measure(argv, crate, sizes_dir):
    """Both runs side by side; the exit code of the one that failed, or 0."""
    os.makedirs(sizes_dir, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sizes_dir) as scratch:
        measuring = start_measuring(argv, scratch)
        compiled = subprocess.run(argv, close_fds=False).returncode
        measured = measuring.wait()
        if measured == 0:
            os.replace(os.path.join(scratch, "sizes"), os.path.join(sizes_dir, crate + ".txt"))
    return compiled or measured


def main():
    argv = sys.argv[1:]
    sizes_dir = os.environ.get("MATRIX_SIZES_DIR")
    crate = crate_of(argv) if sizes_dir else None
    if "-Zunstable-options" in argv:
        # Set here and not for cargo, which would compile every shared crate anew.
        os.environ["RUSTC_BOOTSTRAP"] = "1"
    if crate is not None:
        return compile_and_measure(argv, crate, sizes_dir)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    sys.exit(main())
