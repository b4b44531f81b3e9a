/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * System calls without libc: no errno, no cancellation, no symbol that the program may have replaced.
 * They return what the kernel returns: minus the error number on failure.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static inline long raw_call(long number, long a, long b, long c, long d)
{
    long result;
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

/* Zeroed private memory, or NULL. */
static inline void *raw_map(size_t bytes)
{
    long result;
    register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    register long fd __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)SYS_mmap), "D"(0L), "S"(bytes),
                       "d"((long)(PROT_READ | PROT_WRITE)), "r"(flags), "r"(fd), "r"(offset)
                     : "rcx", "r11", "memory");
    return result < 0 && result > -4096 ? NULL : (void *)result;
}

static inline void raw_unmap(void *memory, size_t bytes)
{
    (void)raw_call(SYS_munmap, (long)memory, (long)bytes, 0, 0);
}

/*
 * May 8 bytes be read here?  The kernel copies the mask of signals before it finds that the operation is
 * none; nothing changes, and every sandbox allows the call.
 */
static inline bool raw_is_readable(uintptr_t addr)
{
    return raw_call(SYS_rt_sigprocmask, -1, (long)addr, 0, 8) != -EFAULT;
}
