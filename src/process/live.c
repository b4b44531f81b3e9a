/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A process through /proc and process_vm_readv.  Nothing here stops it; reading needs the same
 * permission as tracing (ptrace(2), "Ptrace access mode checking"), so that one byte read at the
 * beginning tells whether target_stop would be allowed, too.
 *
 * A thread id is as good as a process id for /proc and for process_vm_readv.  That helps where the
 * first thread has ended before the others: it is a zombie without memory, they are not.
 */
#include "process/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/search.h"
#include "process/copy_guard.h"
#include "process/images.h"
#include "process/proc.h"

/* --- why not ------------------------------------------------------------------------------------- */

bool live_error_gone(pid_t pid, struct error *err)
{
    return error_set(err, ERROR_TARGET,
                     "process %d: there is no such process; `ps -e` lists those that run",
                     (int)pid);
}

bool live_error_traced(pid_t pid, pid_t tracer, struct error *err)
{
    char command[64];
    proc_command(tracer, command, sizeof(command));
    return error_set(err, ERROR_TARGET,
                     "process %d: is already traced by process %d (%s), and only one may; "
                     "end or detach that first",
                     (int)pid, (int)tracer, command);
}

/* --- others of our own kind ---------------------------------------------------------------------- */

bool live_is_looked_at(pid_t pid)
{
    struct text status;
    char command[64] = "";
    text_init(&status);
    pid_t tracer = 0;
    if (proc_read(&status, "/proc/%d/status", (int)pid))
        tracer = (pid_t)proc_status_number(text_str(&status), "TracerPid");
    if (tracer && tracer != getpid())
        proc_command(tracer, command, sizeof(command));
    text_deinit(&status);
    return str_starts_with(command, "asyncmem");
}

void live_wait_for_others(pid_t pid)
{
    enum { LOOKS = 500, REST_NS = 10 * 1000000 };
    for (int i = 0; i < LOOKS && live_is_looked_at(pid); i++)
        nanosleep(&(struct timespec){.tv_nsec = REST_NS}, NULL);
}

/* --- why not, of permission ---------------------------------------------------------------------- */

static const char *user_name(uid_t uid)
{
    const struct passwd *entry = getpwuid(uid);
    return entry ? entry->pw_name : "?";
}

bool live_error_permission(pid_t pid, struct error *err)
{
    struct text text;
    text_init(&text);
    static const char yama_path[] = "/proc/sys/kernel/yama/ptrace_scope";
    int yama = proc_read(&text, yama_path) ? atoi(text_str(&text)) : 0;
    if (!proc_read(&text, "/proc/%d/status", (int)pid)) {
        text_deinit(&text);
        return live_error_gone(pid, err);
    }
    uid_t owner = (uid_t)proc_status_number(text_str(&text), "Uid"), self = geteuid();
    text_deinit(&text);
    if (self != 0 && owner != self)
        return error_set(err, ERROR_TARGET,
                         "process %d: no permission: it belongs to user %s (uid %u), asyncmem runs "
                         "with uid %u; run it as that user or with sudo",
                         (int)pid, user_name(owner), owner, self);
    if (yama >= 3)
        return error_set(err, ERROR_TARGET,
                         "process %d: no permission: %s is %d, which forbids it to everybody until "
                         "the next boot; take a core (`kill -ABRT %d` ends it) and use --core",
                         (int)pid, yama_path, yama, (int)pid);
    if (self != 0 && yama > 0)
        return error_set(
            err, ERROR_TARGET,
            "process %d: no permission: %s is %d; run with sudo, or "
            "`sudo sysctl kernel.yama.ptrace_scope=0`, or give asyncmem CAP_SYS_PTRACE",
            (int)pid, yama_path, yama);
    return error_set(err, ERROR_TARGET,
                     "process %d: no permission though the user is right: it %s; %s", (int)pid,
                     self != 0 ? "is protected (setuid, file capabilities or PR_SET_DUMPABLE)"
                               : "needs CAP_SYS_PTRACE, which this container lacks",
                     self != 0 ? "run with sudo" : "start it with --cap-add=SYS_PTRACE");
}

/* --- opening ------------------------------------------------------------------------------------- */

pid_t live_thread(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    pid_t living = 0;
    for (struct dirent *entry; folder && !living && (entry = readdir(folder));) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        char state = tid > 0 ? proc_thread_state(pid, tid) : 0;
        if (state && !strchr("ZX", state))
            living = tid;
    }
    if (folder)
        closedir(folder);
    return living;
}

/* Sets pid and memory_tid. */
static bool check_status(struct target *target, const char *status, struct error *err)
{
    pid_t pid = target->pid = (pid_t)proc_status_number(status, "Tgid");
    const char *state = proc_status_value(status, "State");
    target->memory_tid = state && strchr("ZX", *state) ? live_thread(pid) : pid;
    if (!target->memory_tid)
        return error_set(err, ERROR_TARGET,
                         "process %d: has ended and is a zombie, its memory is gone; give a "
                         "process that runs",
                         (int)pid);
    pid_t tracer = (pid_t)proc_status_number(status, "TracerPid");
    if (tracer)
        return live_error_traced(pid, tracer, err);
    if (target->memory_tid == pid && !proc_status_value(status, "VmSize"))
        return error_set(err, ERROR_TARGET,
                         "process %d: is a kernel thread or just ending, it has no memory of its "
                         "own; give a program's id",
                         (int)pid);
    return true;
}

static bool check_program(const struct target *target, struct error *err)
{
    char path[64];
    uint8_t ident[16] = {0};
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)target->memory_tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return live_error_permission(target->pid, err);
    bool is_32_bit = fd >= 0 && read(fd, ident, sizeof(ident)) == (ssize_t)sizeof(ident) &&
                     proc_is_32_bit(ident);
    if (fd >= 0)
        close(fd);
    return !is_32_bit || error_set(err, ERROR_TARGET,
                                   "process %d: is a 32-bit program; only 64-bit ones are read",
                                   (int)target->pid);
}

static bool check_readable(const struct target *target, struct error *err)
{
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        uint8_t byte;
        struct iovec local = {&byte, 1}, remote = {(void *)(uintptr_t)m->start, 1};
        if (!m->readable || m->is_device)
            continue;
        if (process_vm_readv(target->memory_tid, &local, 1, &remote, 1, 0) == 1)
            return true;
        if (errno == EPERM || errno == EACCES)
            return live_error_permission(target->pid, err);
        if (errno == ESRCH)
            return live_error_gone(target->pid, err);
        if (errno == ENOSYS)
            return error_set(err, ERROR_TARGET,
                             "process %d: process_vm_readv is not allowed here; run asyncmem "
                             "outside of this sandbox",
                             (int)target->pid);
    }
    return error_set(err, ERROR_TARGET, "process %d: has no memory that can be read",
                     (int)target->pid);
}

bool live_open(struct target *target, pid_t pid, struct error *err)
{
    struct text status;
    text_init(&status);
    live_wait_for_others(pid);
    bool ok = pid > 0 && proc_read(&status, "/proc/%d/status", (int)pid);
    pid_t group = ok ? (pid_t)proc_status_number(text_str(&status), "Tgid") : pid;
    if (group != pid)
        ok = proc_read(&status, "/proc/%d/status", (int)group);
    if (!ok && pid > 0 && access("/proc/self/status", R_OK) != 0)
        error_set(err, ERROR_TARGET, "/proc is not mounted; `mount -t proc proc /proc`");
    else if (!ok)
        live_error_gone(pid, err);
    else
        ok = check_status(target, text_str(&status), err);
    text_deinit(&status);
    if (!ok || !check_program(target, err) || !live_read_mappings(target, err) ||
        !check_readable(target, err))
        return false;
    images_read_live(target);
    if (copy_is_namespace_init(target->pid))
        copy_guard_start(target);
    char command[64];
    proc_command(target->pid, command, sizeof(command));
    bool has_program = target->nr_images && target->images[0].is_program;
    target->name = has_program ? target->images[0].name
                               : arena_strndup(&target->arena, command, strlen(command));
    return true;
}

/* --- mappings ------------------------------------------------------------------------------------ */

/* The path as a string that lives as long as the target; mostly it is known already. */
static const char *keep_path(struct target *target, const char *path, size_t length,
                             const struct mapping *before, const struct mapping *old, size_t nr_old,
                             uint64_t start)
{
    if (!length)
        return "";
    const struct mapping *known[2] = {before, NULL};
    size_t nr = SEARCH_UP_TO(old, nr_old, start, start);
    if (nr && old[nr - 1].start == start)
        known[1] = &old[nr - 1];
    for (int i = 0; i < 2; i++)
        if (known[i] && strlen(known[i]->path) == length &&
            memcmp(known[i]->path, path, length) == 0)
            return known[i]->path;
    return arena_strndup(&target->arena, path, length);
}

bool live_read_mappings(struct target *target, struct error *err)
{
    struct text maps;
    text_init(&maps);
    if (!proc_read(&maps, "/proc/%d/maps", (int)target->memory_tid) || !maps.length) {
        bool denied = errno == EACCES || errno == EPERM;
        text_deinit(&maps);
        return denied ? live_error_permission(target->pid, err) : live_error_gone(target->pid, err);
    }
    struct mapping *old = target->mappings;
    size_t nr_old = target->nr_mappings;
    target->mappings = NULL;
    target->nr_mappings = target->mappings_capacity = 0;
    for (const char *line = maps.data, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        target->mappings = array_reserve(target->mappings, &target->mappings_capacity,
                                         target->nr_mappings + 1, sizeof(*target->mappings));
        struct mapping *m = &target->mappings[target->nr_mappings];
        const struct mapping *before = target->nr_mappings ? m - 1 : NULL;
        const char *path;
        size_t path_bytes;
        /* Read in pieces while the target maps and unmaps: a line may overlap the one before. */
        if (!proc_maps_line(line, (size_t)(end - line), m, &path, &path_bytes) ||
            (before && m->start < before->end))
            continue;
        m->path = keep_path(target, path, path_bytes, before, old, nr_old, m->start);
        target->nr_mappings++;
    }
    text_deinit(&maps);
    free(old);
    return true;
}

/* --- memory -------------------------------------------------------------------------------------- */

size_t live_read(const struct target *target, uint64_t addr, void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        struct iovec local = {(char *)buffer + done, size - done};
        struct iovec remote = {(void *)(uintptr_t)(addr + done), size - done};
        ssize_t n = process_vm_readv(target->memory_tid, &local, 1, &remote, 1, 0);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

enum { MAX_RANGES = 1024 }; /* UIO_MAXIOV */

/* One call for the first ranges of the array; how many of them are settled: at least 1. */
static size_t read_some(const struct target *target, struct target_range *ranges, size_t nr)
{
    struct iovec local[MAX_RANGES], remote[MAX_RANGES];
    nr = nr < MAX_RANGES ? nr : MAX_RANGES;
    for (size_t i = 0; i < nr; i++) {
        local[i] = (struct iovec){ranges[i].buffer, ranges[i].size_bytes};
        remote[i] = (struct iovec){(void *)(uintptr_t)ranges[i].addr, ranges[i].size_bytes};
    }
    ssize_t result = process_vm_readv(target->memory_tid, local, nr, remote, nr, 0);
    size_t left = result > 0 ? (size_t)result : 0, i = 0;
    while (i < nr && ranges[i].size_bytes <= left)
        left -= ranges[i++].size_bytes;
    if (i < nr) /* it stopped here: this one is bad, or more than one call can do */
        if (live_read(target, ranges[i].addr, ranges[i].buffer, ranges[i].size_bytes) !=
            ranges[i].size_bytes)
            ranges[i].size_bytes = 0;
    return i < nr ? i + 1 : i;
}

void live_read_many(const struct target *target, struct target_range *ranges, size_t nr)
{
    for (size_t done = 0; done < nr;)
        done += read_some(target, ranges + done, nr - done);
}
