/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which programs and libraries are loaded, as rows of the region: at the start, and whenever a thread that called
 * dlopen or dlclose looks again (image_calls.c).
 */
#pragma once

#include "tracer/tracer.h"

/* All images, for the first time; waits a moment for what the recorder knows of them.  False: no memory. */
bool images_begin(struct tracer *tracer);

/* Did images come or go since the last look, or are there some that are not hooked? */
bool images_have_news(void);
bool images_are_hooked(void);
/* Makes and ends rows, and hooks what is new, if `is_quiet` says that nobody is in the middle of loading. */
void images_look(struct tracer *tracer, bool (*is_quiet)(void));
/* Code of the loader: what it allocates in the middle of its work is no moment to look. */
bool images_is_loader(uintptr_t pc);
