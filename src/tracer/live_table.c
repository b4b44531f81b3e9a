/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* To be written. */
#include "tracer/tracer.h"
