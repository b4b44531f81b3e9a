/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Functions for the interpreter to run, which the test runs natively too.  The file of the
 * functions is compiled several times, with other options and under another name of its table.
 */
#pragma once

#include <stdint.h>

enum { SUBJECT_WORDS = 4096 };

/* They may change `words` (SUBJECT_WORDS of them) and nothing else that stays. */
typedef uint64_t subject_fn(uint64_t seed, uint64_t *words);

struct subject_function {
    const char *name; /* NULL: the end */
    subject_fn *run;
};

extern const struct subject_function subjects_O0[], subjects_O1[], subjects_O2[], subjects_O3[];
extern const struct subject_function subjects_Os[], subjects_v3[];
