/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "drop_subjects.h"

#include <linux/futex.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As Rust's own shim: only its name and arguments tell anything. */
void rust_dealloc(void *block, size_t size, size_t align) __asm__("__rust_dealloc");

__attribute__((noinline)) void rust_dealloc(void *block, size_t size, size_t align)
{
    __asm__ volatile("" : : "r"(size), "r"(align));
    free(block);
}

/* --- the allocator --------------------------------------------------------------------------- */

static int all_are(const uint8_t *bytes, size_t nr, uint8_t wanted)
{
    for (size_t i = 0; i < nr; i++)
        if (bytes[i] != wanted)
            return 0;
    return 1;
}

static uint64_t nr_checks, first_wrong; /* number + 1; 0: none is */

static void check(int ok)
{
    nr_checks++;
    if (!ok && !first_wrong)
        first_wrong = nr_checks;
}

uint64_t subject_allocates(void)
{
    void *pages = NULL;
    uint8_t *first = malloc(100), *second = calloc(10, 10);
    check(first && second && first != second && (uintptr_t)first % 16 == 0);
    check(all_are(second, 100, 0));
    memset(first, 1, 100);
    memset(second, 2, 100);
    check(all_are(first, 100, 1));
    first = realloc(first, 5000);
    check(first && all_are(first, 100, 1));
    check(malloc_usable_size(first) >= 5000 && malloc_usable_size(NULL) == 0);
    first = realloc(first, 50);
    check(first && all_are(first, 50, 1));
    check(posix_memalign(&pages, 4096, 100) == 0 && pages && (uintptr_t)pages % 4096 == 0);
    uint8_t *aligned = aligned_alloc(256, 512), *third = realloc(NULL, 24);
    check(aligned && (uintptr_t)aligned % 256 == 0 && third);
    memset(pages, 3, 100);
    memset(aligned, 4, 512);
    check(all_are(second, 100, 2) && all_are(pages, 100, 3) && all_are(aligned, 512, 4));
    free(first);
    free(second);
    free(third);
    free(pages);
    free(aligned);
    free(NULL);
    return first_wrong;
}

uint64_t subject_cannot_allocate(void)
{
    /* Numbers that the compiler does not see. */
    static volatile size_t most = SIZE_MAX, much = (size_t)1 << 40, half = (size_t)1 << 32;
    void *pages = NULL;
    check(!malloc(much));
    check(!malloc(most));
    check(!calloc(most, 2));
    check(!calloc(half, half));
    check(posix_memalign(&pages, much, 8) != 0);
    check(malloc(0) != NULL);
    return first_wrong;
}

uint64_t subject_makes_bigger(uint64_t *block)
{
    enum { NR_WORDS = 1000 };
    uint64_t sum = 0, *bigger = realloc(block, NR_WORDS * sizeof(*bigger));
    for (size_t i = 0; i < 8; i++)
        sum += bigger[i];
    bigger[NR_WORDS - 1] = 1;
    size_t size = malloc_usable_size(bigger);
    free(bigger);
    return size < NR_WORDS * sizeof(*bigger) ? ~(uint64_t)0 : sum;
}

void subject_drops_boxes(void **vec)
{
    for (int i = 0; i < 3; i++)
        free(vec[i]);
    free(vec);
}

void subject_frees_sized(void *sized, void *plain)
{
    rust_dealloc(sized, 21, 8);
    free(plain);
}

/* --- reads and counts ------------------------------------------------------------------------ */

uint64_t subject_reads(uint64_t *words)
{
    uint64_t sum = 0, half, pair[2];
    __asm__ volatile("movq (%1), %0" : "=r"(sum) : "r"(words) : "memory");
    __asm__ volatile("movl 8(%1), %k0" : "=r"(half) : "r"(words) : "memory");
    sum += half;
    __asm__ volatile("movups 16(%0), %%xmm0\n\tmovups %%xmm0, (%1)"
                     :
                     : "r"(words), "r"(pair)
                     : "xmm0", "memory");
    return sum + pair[0] + pair[1];
}

uint64_t subject_counts(uint64_t *words)
{
    uint64_t minus = ~(uint64_t)0;
    __asm__ volatile("lock decq (%0)" : : "r"(words) : "memory");
    __asm__ volatile("lock xaddq %1, 8(%0)" : : "r"(words), "r"(minus) : "memory");
    __asm__ volatile("decq 16(%0)" : : "r"(words) : "memory");
    __asm__ volatile("subq $1, 24(%0)" : : "r"(words) : "memory");
    __asm__ volatile("lock addq $-1, 32(%0)" : : "r"(words) : "memory");
    return 5;
}

uint64_t subject_changes_others(uint64_t *words)
{
    __asm__ volatile("lock incq (%0)" : : "r"(words) : "memory");
    __asm__ volatile("lock subq $2, 8(%0)" : : "r"(words) : "memory");
    __asm__ volatile("lock decl 16(%0)" : : "r"(words) : "memory");
    __asm__ volatile("lock decq 24(%0)" : : "r"(words) : "memory");
    return words[3];
}

void subject_writes(uint64_t *words)
{
    for (int i = 0; i < 8; i++)
        words[i] = 100 + (uint64_t)i;
}

/* --- system calls ---------------------------------------------------------------------------- */

static uint64_t raw_call(uint64_t number, uint64_t first, uint64_t second, uint64_t third)
{
    uint64_t result;
    __asm__ volatile("xorl %%r10d, %%r10d\n\tsyscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "r10", "memory");
    return result;
}

uint64_t subject_wakes(uint32_t *word)
{
    return raw_call(SYS_futex, (uint64_t)word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

uint64_t subject_waits(uint32_t *word)
{
    return raw_call(SYS_futex, (uint64_t)word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, *word);
}

uint64_t subject_yields(void)
{
    return raw_call(SYS_sched_yield, 0, 0, 0);
}

uint64_t subject_asks_for_parent(void)
{
    return raw_call(SYS_getppid, 0, 0, 0);
}

/* --- glue ------------------------------------------------------------------------------------ */

void subject_glue_legacy(void *value)
{
    free(value);
}

void subject_glue_v0(void *value)
{
    __asm__ volatile("" : : "r"(value), "i"(1));
}

void subject_drop_legacy(void *value)
{
    __asm__ volatile("" : : "r"(value), "i"(2));
}

void subject_drop_v0(void *value)
{
    __asm__ volatile("" : : "r"(value), "i"(3));
}

void subject_no_glue(void *value)
{
    __asm__ volatile("" : : "r"(value), "i"(4));
}
