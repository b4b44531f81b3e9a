#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""tests/run/test_counted.py on the program `counted` in each way that a release binary is built: every count of tasks,
polls, ends and bytes must be the program's own in all of them. Part of `make matrix`.

    variants.py            all
    variants.py NAME ...   these

The versions of tokio other than the workspace's have their lock files in tests/run/locks.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")).absolute()
HOST = "x86_64-unknown-linux-gnu"  # named, so that flags are not for macros
# Name: keys of [profile.release], flags of rustc.
BUILDS = {
    "opt-level 3": ({}, ""),
    "opt-level 0": ({"opt-level": 0}, ""),
    "opt-level s": ({"opt-level": "s"}, ""),
    "debug info: lines": ({"debug": 1}, ""),
    "debug info: none": ({"debug": 0}, ""),
    "strip debuginfo": ({"strip": "debuginfo"}, ""),
    "strip symbols": ({"strip": "symbols"}, ""),
    "split debuginfo": ({"split-debuginfo": "unpacked"}, ""),
    "fat LTO": ({"lto": "fat", "codegen-units": 1}, ""),
    "thin LTO": ({"lto": "thin"}, ""),
    "panic abort": ({"panic": "abort"}, ""),
    "opt-level z, fat LTO, abort, strip":
        ({"opt-level": "z", "lto": "fat", "panic": "abort", "strip": "symbols", "codegen-units": 1}, ""),
    "v0 names": ({}, "-Csymbol-mangling-version=v0"),
    "legacy names": ({}, "-Csymbol-mangling-version=legacy -Zunstable-options"),
    "this CPU": ({}, "-Ctarget-cpu=native"),
    "non-PIE": ({}, "-Crelocation-model=static"),
    "frame pointers": ({}, "-Cforce-frame-pointers=yes"),
    "lld": ({}, "-Clink-arg=-fuse-ld=lld"),
    "lld, icf, packed relocations":
        ({}, "-Clink-arg=-fuse-ld=lld -Clink-arg=-Wl,--icf=all -Clink-arg=-Wl,-z,pack-relative-relocs"),
    "tokio unstable": ({}, "--cfg tokio_unstable"),
}
# Name: version of tokio, and a build.
TOKIOS = {f"tokio {version}{', fat LTO' if build == 'fat LTO' else ''}": (version, build)
          for version in ("1.24.2", "1.29.1") for build in ("opt-level 3", "fat LTO")}


def crate_with(version, folder):
    """The program alone, with another tokio: the folder of its manifest."""
    source = ROOT / "tests/programs/counted"
    shutil.copytree(source, folder / "counted")
    manifest = (source / "Cargo.toml").read_text()
    for key, value in (("version", '"0.0.0"'), ("edition", '"2021"'), ("license", '"MIT OR Apache-2.0"'),
                       ("publish", "false")):
        manifest = manifest.replace(f"{key}.workspace = true", f"{key} = {value}")
    manifest = manifest.replace('tokio = { version = "1"', f'tokio = {{ version = "={version}"')
    (folder / "counted/Cargo.toml").write_text(manifest + "\n[workspace]\n\n[profile.release]\ndebug = 2\n")
    lock = HERE / "locks" / f"counted-{version}.lock"
    if lock.exists():
        shutil.copy(lock, folder / "counted/Cargo.lock")
    return folder / "counted"


def build(crate, target, profile, flags):
    config = [word for key, value in profile.items()
              for word in ("--config", f"profile.release.{key}={value if isinstance(value, int) else repr(value)}")]
    # RUSTC_BOOTSTRAP: legacy names are an unstable option of new compilers.
    environment = {**os.environ, "RUSTFLAGS": flags, "RUSTC_BOOTSTRAP": "1"}
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", crate / "Cargo.toml",
                    "--package", "counted", "--target", HOST, "--target-dir", target, *config],
                   check=True, timeout=1800, env=environment)


def test(target, profile):
    """What test_counted says of that build; (passed, the last lines)."""
    environment = {**os.environ, "ASYNCMEM_PROGRAMS": str(target / HOST),
                   "ASYNCMEM_NAMELESS": "1" if profile.get("strip") == "symbols" else "0"}
    done = subprocess.run([sys.executable, HERE / "test_counted.py"], env=environment, capture_output=True, text=True,
                          timeout=1800)
    return done.returncode == 0, done.stderr


def run(name):
    with tempfile.TemporaryDirectory(prefix="asyncmem-variant-") as folder:
        folder = pathlib.Path(folder)
        if name in TOKIOS:
            version, built = TOKIOS[name]
            profile, flags = BUILDS[built]
            build(crate_with(version, folder), folder / "target", profile, f"{flags} --cfg tokio_unstable")  # ids were so then
        else:
            built = name
            build(ROOT / "tests/programs", folder / "target", *BUILDS[name])
        return test(folder / "target", BUILDS[built][0])


def main():
    names = sys.argv[1:] or [*BUILDS, *TOKIOS]
    failed = 0
    for name in names:
        try:
            passed, said = run(name)
        except subprocess.SubprocessError as problem:
            passed, said = False, str(problem)
        failed += not passed
        print(f"{'ok  ' if passed else 'FAIL'} {name}", flush=True)
        if not passed:
            print(said[-3000:], file=sys.stderr)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
