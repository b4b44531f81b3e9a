/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Code as drop code is, for the interpreter to run in a copy of the test: it allocates, frees, counts
 * and waits.  Compiled without sanitizers and without what the compiler knows of libc.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* 0, or the number of the first check that is not as malloc(3) says. */
uint64_t subject_allocates(void);
uint64_t subject_cannot_allocate(void);
/* Makes a block of 8 words bigger; their sum, or ~0 where its new size is wrong. */
uint64_t subject_makes_bigger(uint64_t *block);
/* One word of each of the kinds that are told apart; the sum of what it read. */
uint64_t subject_reads(uint64_t *words);
/* Ways to lower a count by one, and others that change it otherwise; how many were lowered. */
uint64_t subject_counts(uint64_t *words);
/* Of 4 bytes, from 0, by 2. */
uint64_t subject_changes_others(uint64_t *words);
/* As a Vec of 3 boxes: frees them and the buffer. */
void subject_drops_boxes(void **vec);
/* With its size, as Rust's deallocation has it; and one that is freed without. */
void subject_frees_sized(void *sized, void *plain);
void subject_writes(uint64_t *words);
uint64_t subject_wakes(uint32_t *word);
uint64_t subject_waits(uint32_t *word);
uint64_t subject_yields(void);
uint64_t subject_asks_for_parent(void);

/* Named as the compiler names drop glue, in both manglings, and as it does not. */
void subject_glue_legacy(void *value) __asm__(
    "_ZN4core3ptr30drop_in_place$LT$demo..Lock$GT$17h0123456789abcdefE");
void subject_glue_v0(void *value) __asm__("_RINvNtCs1_4core3ptr13drop_in_placeNtCs2_4demo4LockE");
void subject_drop_legacy(void *value) __asm__(
    "_ZN53_$LT$demo..Lock$u20$as$u20$core..ops..drop..Drop$GT$4drop17h0123456789abcdefE");
void subject_drop_v0(void *value) __asm__(
    "_RNvXCs2_4demoNtB2_4LockNtNtNtCs1_4core3ops4drop4Drop4drop");
void subject_no_glue(void *value) __asm__("_ZN4demo9drop_here17h0123456789abcdefE");
