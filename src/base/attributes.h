/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Compiler attributes under readable names. */
#pragma once

#define ATTRIBUTE_PRINTF(format, first) __attribute__((format(printf, format, first)))
#define ATTRIBUTE_MUST_CHECK __attribute__((warn_unused_result))
#define ATTRIBUTE_UNUSED __attribute__((unused))
#define ATTRIBUTE_NORETURN __attribute__((noreturn))
#define ATTRIBUTE_RETURNS_NONNULL __attribute__((returns_nonnull))
