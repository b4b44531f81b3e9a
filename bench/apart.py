# SPDX-License-Identifier: MIT OR Apache-2.0
"""apart.py TIMEOUT_S COMMAND...: runs a command and says in the last line of standard error what it took:
seconds of wall clock, of CPU in user and kernel mode, and KiB of peak RSS.  A command that fails speaks last.

Linux counts in a process's peak RSS also that of the process that made it, up to the exec.  This one is
small; the bench itself is not, once it has read a long JSON.
"""

import os
import signal
import sys
import time


def main():
    begin = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(int(sys.argv[1]))
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.perf_counter() - begin
    if os.WIFSIGNALED(status):
        print(f"killed by signal {os.WTERMSIG(status)} after {wall_s:.0f} s", file=sys.stderr)
        return 128 + os.WTERMSIG(status)
    if status == 0:
        print(wall_s, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
    return os.WEXITSTATUS(status)


sys.exit(main())
