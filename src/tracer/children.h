/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Processes that the program makes.  What is wiped and unmapped in a child of fork is decided where it is
 * mapped; here they are counted, and set up anew if they are to be traced too.
 */
#pragma once

/* At the set-up. */
void children_begin(void);
