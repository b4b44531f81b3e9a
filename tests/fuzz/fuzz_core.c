/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A core file of these bytes: opened, and, where it opens, every mapping, thread and image read. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process/heap_chunks.h"
#include "process/reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct target *target)
{
    struct reading reading;
    reading_init(&reading, target, 1 << 16);
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *mapping = &target->mappings[i];
        struct read_request requests[] = {{mapping->start, 64, NULL},
                                          {mapping->start + 32, 512, NULL},
                                          {mapping->end - 8, 16, NULL}};
        reading_fetch(&reading, requests, 3);
        uint64_t block = mapping->start + 32;
        enum chunk_answer answer;
        heap_chunks_look_up(target, &block, 1, &answer);
        if (target_mapping_at(target, mapping->start) != mapping)
            __builtin_trap();
    }
    for (size_t i = 0; i < target->nr_threads; i++)
        target_image_at(target, target->threads[i].pc);
    reading_deinit(&reading);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct target target;
    struct error err;
    int fd = memfd_create("core", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        __builtin_trap();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (target_open_core(&target, path, NULL, &err)) {
        read_all(&target);
        target_close(&target);
    }
    close(fd);
    return 0;
}
