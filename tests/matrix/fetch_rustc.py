#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fetch older and newer Rust compilers from Debian's packages, each into a folder of its own.

Nothing is installed and the system's package database is only read: apt gets a private state and
cache folder, in which arm64 is known as a second architecture; packages are downloaded and unpacked
with dpkg-deb. Libraries that a compiler needs and the system lacks (libllvm) land in the same folder.
A folder that is complete holds the file `complete` with the package versions; it is left alone by the
next run.

    fetch_rustc.py [--dest DIR] [NAME...]      NAME: 1.63, 1.85, 1.96, 1.96-arm64
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEST = os.path.join(ROOT, "build", "matrix", "toolchains")

# name -> (version prefix, [packages taken at that version])
TOOLCHAINS = {
    "1.63": ("1.63.", ["rustc", "libstd-rust-1.63", "libstd-rust-dev", "cargo"]),
    "1.85": ("1.85.", ["rustc-web", "libstd-rust-web-1.85", "libstd-rust-web-dev"]),
    "1.96": ("1.96.", ["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev"]),
    # The standard library for aarch64 of the same compiler: only rlibs, nothing of it runs here.
    "1.96-arm64": ("1.96.", ["libstd-rust-web-dev:arm64"]),
}
# cargo of the 1.63 era carries a number of its own.
VERSION_OF = {"cargo": "0.66."}
# Never unpacked: a system that can build C has them.
ASSUMED = {"gcc", "libc-dev", "libc6-dev", "binutils", "libc6", "libgcc-s1", "clang", "c-compiler"}


class FetchError(Exception):
    pass


def say(text):
    print("fetch_rustc: " + text, file=sys.stderr)


def run(argv, **kw):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise FetchError("%s: %s" % (" ".join(argv[:1] + argv[-2:]), last))
    return done.stdout


class Apt:
    """apt with private lists and cache; the system's sources and keys, the system's dpkg status."""

    def __init__(self, folder):
        self.folder = folder
        for sub in ("state/lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(folder, sub), exist_ok=True)
        self.options = [
            "-o", "Dir::State=" + os.path.join(folder, "state"),
            "-o", "Dir::State::status=/var/lib/dpkg/status",
            "-o", "Dir::Cache=" + os.path.join(folder, "cache"),
            "-o", "APT::Architectures::=amd64",
            "-o", "APT::Architectures::=arm64",
            "-o", "Acquire::Languages=none",
            "-o", "Acquire::Retries=2",
            "-o", "Acquire::http::Timeout=60",
        ]
        if os.geteuid() == 0:  # the build folder may be closed to the user _apt
            self.options += ["-o", "APT::Sandbox::User=root"]

    def update(self):
        say("reading package lists (amd64, arm64)")
        run(["apt-get"] + self.options + ["-q", "update"], timeout=400)

    def version(self, package, prefix):
        """The newest version of the package that starts with the prefix."""
        listing = run(["apt-cache"] + self.options + ["madison", package])
        for line in listing.splitlines():
            fields = [f.strip() for f in line.split("|")]
            if len(fields) == 3 and fields[1].startswith(prefix) and "Packages" in fields[2]:
                return fields[1]
        raise FetchError("Debian has no %s of version %s*" % (package, prefix))

    def depends(self, package, version):
        text = run(["apt-cache"] + self.options + ["show", "%s=%s" % (package, version)])
        match = re.search(r"^Depends: (.*)$", text, re.M)
        if not match:
            return []
        names = []
        for group in match.group(1).split(","):
            first = group.split("|")[0].strip()
            names.append(re.split(r"[ (:]", first)[0])
        return names

    def download(self, package, version, folder):
        run(["apt-get"] + self.options + ["-q", "download", "%s=%s" % (package, version)],
            cwd=folder, timeout=500)


def installed(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}\n", package],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return "installed" in done.stdout.split()


def wanted_packages(apt, name):
    """The toolchain's own packages at their version, then what they need and the system lacks."""
    prefix, packages = TOOLCHAINS[name]
    chosen = {p: apt.version(p, VERSION_OF.get(p, prefix)) for p in packages}
    if name.endswith("-arm64"):
        return chosen
    queue = list(chosen)
    while queue:
        package = queue.pop()
        for need in apt.depends(package, chosen[package]):
            if need in chosen or need in ASSUMED or installed(need):
                continue
            chosen[need] = apt.version(need, "")
            queue.append(need)
    return chosen


def fetch(name, dest=DEST, apt=None):
    """Make DEST/NAME complete; returns the folder. The folder holds the packages' usr/ tree."""
    folder = os.path.join(dest, name)
    if os.path.exists(os.path.join(folder, "complete")):
        return folder
    if apt is None:
        apt = Apt(os.path.join(dest, "apt"))
        apt.update()
    chosen = wanted_packages(apt, name)
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(part, "debs"))
    for package, version in sorted(chosen.items()):
        say("%s: %s %s" % (name, package, version))
        apt.download(package, version, os.path.join(part, "debs"))
    for deb in sorted(os.listdir(os.path.join(part, "debs"))):
        run(["dpkg-deb", "-x", os.path.join(part, "debs", deb), part])
    shutil.rmtree(os.path.join(part, "debs"))
    with open(os.path.join(part, "complete"), "w") as out:
        out.writelines("%s %s\n" % item for item in sorted(chosen.items()))
    os.rename(part, folder)
    return folder


def library_path(folder):
    """LD_LIBRARY_PATH for the programs of an unpacked folder."""
    parts = ["usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
    return ":".join(os.path.join(folder, p) for p in parts if os.path.isdir(os.path.join(folder, p)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dest", default=DEST)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOOLCHAINS))
    args = parser.parse_args()
    unknown = [n for n in args.names if n not in TOOLCHAINS]
    if unknown:
        parser.error("unknown toolchain %s; known: %s" % (unknown[0], ", ".join(TOOLCHAINS)))
    names = args.names or list(TOOLCHAINS)
    missing = [n for n in names if not os.path.exists(os.path.join(args.dest, n, "complete"))]
    try:
        if missing:
            apt = Apt(os.path.join(args.dest, "apt"))
            apt.update()
            for name in missing:
                fetch(name, args.dest, apt)
    except (FetchError, subprocess.TimeoutExpired) as problem:
        say("%s; check the network and the apt sources, then run it again" % problem)
        return 1
    for name in names:
        print("%s %s" % (name, os.path.join(args.dest, name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
