/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* System calls with more than three arguments, by purpose (tracer/syscalls.h). */
#include "tracer/syscalls.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <time.h>

void *sys_map(size_t bytes, int fd)
{
    long flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    long args[6] = {0, (long)bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0};
    long result = sys_call6(SYS_mmap, args);
    return sys_failed(result) ? NULL : (void *)result;
}

void sys_unmap(void *memory, size_t bytes)
{
    sys_call(SYS_munmap, (long)memory, (long)bytes, 0);
}

void *sys_map_wiped(size_t bytes)
{
    void *memory = sys_map(bytes, -1);
    if (!memory)
        return NULL;
    if (sys_failed(sys_call(SYS_madvise, (long)memory, (long)bytes, MADV_WIPEONFORK))) {
        sys_unmap(memory, bytes);
        return NULL;
    }
    sys_call(SYS_madvise, (long)memory, (long)bytes, MADV_DONTDUMP);
    return memory;
}

void sys_futex_wait(const uint32_t *word, uint32_t while_it_is, unsigned wait_ms)
{
    struct timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000L};
    long args[6] = {(long)word, FUTEX_WAIT, while_it_is, (long)&wait, 0, 0};
    sys_call6(SYS_futex, args);
}

void sys_futex_wake(const uint32_t *word)
{
    long args[6] = {(long)word, FUTEX_WAKE, INT32_MAX, 0, 0, 0};
    sys_call6(SYS_futex, args);
}

bool sys_is_readable(uintptr_t addr)
{
    enum { NO_OPERATION = -1, MASK_BYTES = 8 };
    long args[6] = {NO_OPERATION, (long)addr, 0, MASK_BYTES, 0, 0};
    return addr && sys_call6(SYS_rt_sigprocmask, args) != -EFAULT; /* of 0 it reads nothing */
}
