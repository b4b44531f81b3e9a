/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What is better looked up before the target stands still.  The one hazard of a fork that no order
 * of steps cures: open(2) forbids it while a read by O_DIRECT into private memory is under way.  The
 * device goes on writing to the old page, and the process may have got a new one by then.  Kernels of today
 * pin such pages, and copy them for the child at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "process/copy.h"
#include "process/proc.h"

enum { PINNING_MAJOR = 6, PINNING_MINOR = 5 };

static bool kernel_pins(void)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major > PINNING_MAJOR || (major == PINNING_MAJOR && minor >= PINNING_MINOR));
}

/* One open file of a process: its flags, octal, are in the second line. */
static bool is_direct(pid_t pid, const char *number)
{
    char path[64];
    struct stat st;
    struct text text;
    snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", (int)pid, number);
    if (stat(path, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return false;
    text_init(&text);
    proc_read(&text, "/proc/%d/fdinfo/%.16s", (int)pid, number);
    const char *flags = proc_status_value(text_str(&text), "flags");
    bool direct = flags && (strtoul(flags, NULL, 8) & O_DIRECT) != 0;
    text_deinit(&text);
    return direct;
}

bool copy_has_direct_files(pid_t pid)
{
    char path[64];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *files = opendir(path);
    for (struct dirent *entry; files && !found && (entry = readdir(files));)
        found = entry->d_name[0] != '.' && is_direct(pid, entry->d_name);
    if (files)
        closedir(files);
    return found;
}

bool target_may_fork(const struct target *target, struct error *err)
{
    if (target->is_core || kernel_pins() || !copy_has_direct_files(target->memory_tid))
        return true;
    return error_set(err, ERROR_TARGET,
                     "process %d: no copy can be made of it: it has files open with O_DIRECT, for "
                     "which a fork is not safe on this kernel; read it in a longer stop instead",
                     (int)target->pid);
}
