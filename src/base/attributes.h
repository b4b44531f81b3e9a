/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Compiler attributes under readable names. */
#pragma once

#define PRINTF_LIKE(text, first) __attribute__((__format__(__printf__, text, first)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NO_RETURN __attribute__((noreturn))
#define NEVER_NULL __attribute__((returns_nonnull))
