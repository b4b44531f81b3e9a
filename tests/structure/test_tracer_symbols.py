#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tracer's library replaces in a program, and what it wants of it: nothing else may creep in.

A name more in EXPORTS is a function of the program that is replaced; one more in IMPORTS may be missing in an old
glibc, allocate, lock, or be replaced by the program itself."""

import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIBRARY = pathlib.Path(os.environ.get("ASYNCMEM_BUILD", ROOT / "build")) / "libasyncmem-trace.so"

EXPORTS = """
    malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign valloc pvalloc
    dlopen dlmopen dlclose dlsym
    execve execv execvp execvpe execl execlp execle fexecve execveat
    vfork posix_spawn posix_spawnp system popen
    setrlimit setrlimit64 getrlimit getrlimit64 prlimit prlimit64 mlockall
    _Unwind_RaiseException
""".split()

# Not among them: __tls_get_addr, since other thread-local storage than initial-exec may allocate inside of a hook.
IMPORTS = """
    __environ environ __errno_location
    memchr memcmp memcpy memmem memmove memset stpcpy strcat strchr strcmp strcpy strcspn strlen strncmp strrchr strspn
    strstr
    dlvsym dladdr1 dl_iterate_phdr _dl_find_object _r_debug __libc_malloc
    pthread_key_create pthread_setspecific __register_atfork
    clock_gettime getpid sched_yield syscall process_vm_readv mmap64 mprotect munmap
    __cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable
""".split()


def symbols(option):
    listing = subprocess.run(["nm", "-D", option, LIBRARY], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in listing.splitlines() if line.strip()}


class Symbols(unittest.TestCase):
    def test_exports(self):
        self.assertEqual(symbols("--defined-only"), set(EXPORTS))

    def test_imports(self):
        self.assertEqual(symbols("--undefined-only") - set(IMPORTS), set())

    def test_needs_nothing_but_libc(self):
        dynamic = subprocess.run(["readelf", "-dW", LIBRARY], check=True, capture_output=True, text=True).stdout
        needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
        self.assertLessEqual(needed, {"libc.so.6", "ld-linux-x86-64.so.2"})
        self.assertRegex(dynamic, r"FLAGS.*NOW", "lazy binding needs more stack than some threads have")
        self.assertRegex(dynamic, r"NODELETE")
        self.assertRegex(dynamic, r"STATIC_TLS")

    def test_the_real_loader_is_jumped_to(self):
        """dlopen and dlsym look at who calls them: there must be no frame of ours in between."""
        for name in ("dlopen", "dlmopen", "dlclose", "dlsym", "vfork"):
            code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", f"--disassemble={name}", LIBRARY],
                                  check=True, capture_output=True, text=True).stdout
            body = code[code.index(f"<{name}>:"):]
            self.assertRegex(body, r"jmp +\*%rax", name)
            self.assertNotRegex(body.split("Disassembly")[0], r"\bret", name)


if __name__ == "__main__":
    unittest.main()
