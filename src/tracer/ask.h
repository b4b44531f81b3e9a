/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Questions to the recorder, for whose answer a thread of the program waits. */
#pragma once

#include "tracer/tracer.h"

/* The word grows from `seen` on, or the time is up, or the recorder is gone: false. */
bool ask_wait(const struct region_header *region, const uint32_t *word, uint32_t until,
              unsigned wait_ms);
/* Asks and waits for the answer, REGION_SNAPSHOT_WAIT_MS at most; false: there was none, or another
 * thread's question is open. */
bool ask_recorder(struct tracer *tracer, enum region_question question);
/* Waits until the word is 0, REGION_SNAPSHOT_WAIT_MS at most. */
void ask_zero_wait(const struct region_header *region, const uint32_t *word);
