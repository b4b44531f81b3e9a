/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Limits of the address space, and memory that is locked (tracer/limits.h). */
#undef _FILE_OFFSET_BITS /* both names of each function are needed, not one for the other */
#include "tracer/limits.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "tracer/real.h"
#include "tracer/syscalls.h"
#include "tracer/tracer.h"

#define HOOK __attribute__((visibility("default")))
#define OWN_BYTES ((rlim_t)256 << 20) /* the tracer's memory besides the region */

/* What the program wished; not wiped by a fork. */
static struct rlimit wished = {RLIM_INFINITY, RLIM_INFINITY};
static struct rlimit raised;
static uint32_t is_raised;

static bool is_traced(void)
{
    return tracer_page->ready && (uint32_t)sys_getpid() == tracer_page->pid;
}

static rlim_t raise(rlim_t limit)
{
    rlim_t more = tracer_page->region->region_bytes + OWN_BYTES;
    return limit > RLIM_INFINITY - more ? RLIM_INFINITY : limit + more;
}

/* Of RLIMIT_AS, of this process. */
static int set_limit(const struct rlimit *limit)
{
    if (limit->rlim_cur == RLIM_INFINITY) {
        int result = real.setrlimit(RLIMIT_AS, limit);
        is_raised = result == 0 ? 0 : is_raised;
        return result;
    }
    if (limit->rlim_cur > limit->rlim_max) {
        errno = EINVAL;
        return -1;
    }
    struct rlimit higher = {raise(limit->rlim_cur), raise(limit->rlim_max)};
    int result = real.setrlimit(RLIMIT_AS, &higher);
    if (result == 0) {
        wished = *limit;
        raised = higher;
        is_raised = 1;
    }
    return result;
}

void limits_lower(pid_t process)
{
    if (!is_raised)
        return;
    /* Not the hard limit, which could not be raised again. */
    struct rlimit limit = {wished.rlim_cur, raised.rlim_max};
    long args[6] = {process, RLIMIT_AS, (long)&limit, 0, 0, 0};
    sys_call6(SYS_prlimit64, args);
}

void limits_raise(void)
{
    if (!is_raised)
        return;
    long args[6] = {0, RLIMIT_AS, (long)&raised, 0, 0, 0};
    sys_call6(SYS_prlimit64, args);
}

HOOK int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    return resource == RLIMIT_AS && is_traced() ? set_limit(limit)
                                                : real.setrlimit(resource, limit);
}

HOOK int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    int result = real.getrlimit(resource, limit);
    if (result == 0 && resource == RLIMIT_AS && is_raised)
        *limit = wished;
    return result;
}

HOOK int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *limit,
                 struct rlimit *old)
{
    if (resource != RLIMIT_AS || (pid && pid != sys_getpid()) || !is_traced())
        return real.prlimit(pid, resource, limit, old);
    struct rlimit before;
    if (getrlimit(resource, &before) != 0 || (limit && set_limit(limit) != 0))
        return -1;
    if (old)
        *old = before;
    return 0;
}

/* The same: files and memory have 64 bits anyway. */
HOOK int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return setrlimit(resource, (const struct rlimit *)limit);
}

HOOK int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *limit)
{
    return getrlimit(resource, (struct rlimit *)limit);
}

HOOK int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *limit,
                   struct rlimit64 *old)
{
    return prlimit(pid, resource, (const struct rlimit *)limit, (struct rlimit *)old);
}

/* --- locked memory ------------------------------------------------------------------------------------- */

enum { MAPS_BYTES = 1 << 16, LOCK_ON_FAULT = 1 };

/* Reads lines of /proc/self/maps through a buffer. */
struct maps {
    int fd;
    char *bytes;
    long nr, at;
};

/* The next byte; -1: the end. */
static int next_byte(struct maps *maps)
{
    if (maps->at == maps->nr) {
        maps->nr = sys_call(SYS_read, maps->fd, (long)maps->bytes, MAPS_BYTES);
        maps->at = 0;
        if (maps->nr <= 0)
            return -1;
    }
    return (unsigned char)maps->bytes[maps->at++];
}

/* A hexadecimal number and the byte behind it, which is returned. */
static int next_number(struct maps *maps, uintptr_t *number)
{
    *number = 0;
    for (;;) {
        int byte = next_byte(maps);
        if (byte >= '0' && byte <= '9')
            *number = *number * 16 + (uintptr_t)(byte - '0');
        else if (byte >= 'a' && byte <= 'f')
            *number = *number * 16 + (uintptr_t)(byte - 'a' + 10);
        else
            return byte;
    }
}

/* False: the kernel does not allow so much. */
static bool lock_mappings(struct maps *maps, int flags)
{
    uintptr_t region = (uintptr_t)tracer_page->region, start, end;
    uintptr_t region_end = region + tracer_page->region->region_bytes;
    while (next_number(maps, &start) == '-' && next_number(maps, &end) == ' ') {
        bool is_readable = next_byte(maps) == 'r';
        bool is_ours = start < region_end && end > region;
        if (!is_ours && end >> REGION_ADDR_BITS == 0) {
            long result = sys_call(SYS_mlock2, (long)start, (long)(end - start),
                                   flags & MCL_ONFAULT ? LOCK_ON_FAULT : 0);
            /* What cannot be read cannot be touched: it is locked, as by mlockall. */
            if (sys_failed(result) && (is_readable || result != -ENOMEM)) {
                errno = (int)-result;
                return false;
            }
        }
        for (int byte = 0; byte != '\n';)
            if ((byte = next_byte(maps)) < 0)
                return true;
    }
    return true;
}

static bool lock_all(int flags)
{
    struct maps maps = {.bytes = sys_map(MAPS_BYTES, -1)};
    maps.fd = (int)sys_call(SYS_open, (long)"/proc/self/maps", 0, 0);
    bool is_locked = false;
    if (maps.bytes && maps.fd >= 0)
        is_locked = lock_mappings(&maps, flags);
    else
        errno = EAGAIN;
    if (maps.fd >= 0)
        sys_call(SYS_close, maps.fd, 0, 0);
    if (maps.bytes)
        sys_unmap(maps.bytes, MAPS_BYTES);
    return is_locked;
}

/* Locking the region would fill it.  Everything else is locked, one mapping after the other. */
HOOK int mlockall(int flags)
{
    if (!is_traced() || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == 0 ||
        flags == MCL_ONFAULT)
        return real.mlockall(flags);
    if (flags & MCL_FUTURE && real.mlockall(flags & ~MCL_CURRENT) != 0)
        return -1;
    if (!(flags & MCL_CURRENT) || lock_all(flags))
        return 0;
    int failed = errno;
    sys_call(SYS_munlockall, 0, 0, 0);
    errno = failed;
    return -1;
}
