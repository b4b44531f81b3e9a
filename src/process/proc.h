/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of /proc say about one process: proc(5).  The text is the kernel's, but names in
 * it are the target's own: parsers take any bytes.
 */
#pragma once

#include <sys/types.h>

#include "base/text.h"
#include "process/target.h"

/* The whole file into `text`, replacing what was there.  False: errno says why. */
bool proc_read(struct text *text, const char *path_format, ...) PRINTF_LIKE(2, 3);

/* The value of "Key:\tvalue\n" in /proc/PID/status, or NULL.  It ends at the newline. */
const char *proc_status_value(const char *status, const char *key);
/* The same as a number; 0 where the key is absent. */
long proc_status_number(const char *status, const char *key);

/* The state letter of a thread (R, S, D, T, t, Z, X, I), or 0: there is no such thread. */
char proc_thread_state(pid_t pid, pid_t tid);
/* The short name of a process, "?" where there is none. */
void proc_command(pid_t pid, char *command, size_t size);

/*
 * One line of /proc/PID/maps, without its newline.  *path (not terminated, *path_bytes long) is what
 * stands behind the inode, without " (deleted)"; mapping->path stays NULL.
 */
bool proc_maps_line(const char *line, size_t length, struct mapping *mapping, const char **path,
                    size_t *path_bytes);

/* True for the first 16 bytes of a 32-bit ELF file. */
bool proc_is_32_bit(const uint8_t ident[16]);
