/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * System calls as they are: no errno, no cancellation, no way into libc, so that they can be made from any hook
 * at any time.  A result from -4095 to -1 is an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long sys_call6(long number, const long arg[6])
{
    long result;
    register long r10 __asm__("r10") = arg[3];
    register long r8 __asm__("r8") = arg[4];
    register long r9 __asm__("r9") = arg[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(arg[0]), "S"(arg[1]), "d"(arg[2]), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long sys_call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static inline int sys_failed(long result)
{
    return result < 0 && result >= -4095;
}

/* Private zeroed memory, or shared of `fd` where that is not -1; NULL: there is none. */
void *sys_map(size_t bytes, int fd);
void sys_unmap(void *memory, size_t bytes);
/* Private zeroed memory that is zeroed again in a child of fork, and in no core dump; NULL: none. */
void *sys_map_wiped(size_t bytes);

static inline int sys_getpid(void)
{
    return (int)sys_call(SYS_getpid, 0, 0, 0);
}

static inline int sys_gettid(void)
{
    return (int)sys_call(SYS_gettid, 0, 0, 0);
}

/* A futex in memory that processes share; at most `wait_ms`. */
void sys_futex_wait(const uint32_t *word, uint32_t while_it_is, unsigned wait_ms);
void sys_futex_wake(const uint32_t *word);

/*
 * May 8 bytes be read at addr?  The kernel copies a mask of signals from there before it finds that the operation
 * is none; nothing changes, and every sandbox allows the call.
 */
bool sys_is_readable(uintptr_t addr);
