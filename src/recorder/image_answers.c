/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/image_answers.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "recorder/allocator_slots.h"
#include "recorder/image_file.h"

enum { STACK_BYTES = 512 << 10, STOP_TRY_NS = 100000 };

static void futex_wait(uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Rows behind the last one, then their number. */
static void add_slots(struct image_answers *answers, uint32_t image,
                      const struct allocator_slots *slots)
{
    const struct region_table *table = &answers->view->tables[REGION_SLOTS];
    for (size_t i = 0; i < slots->nr && answers->nr_slots < table->max_rows; i++) {
        struct region_slot slot = slots->rows[i];
        slot.image = image;
        memcpy((char *)answers->region->header +
                   region_row_offset(answers->view, REGION_SLOTS, 0, answers->nr_slots++),
               &slot, sizeof(slot));
    }
    __atomic_store_n(&answers->region->header->tables[REGION_SLOTS].nr_rows, answers->nr_slots,
                     __ATOMIC_RELEASE); /* pairs with the tracer's slots.c */
}

static void answer_image(struct image_answers *answers, uint32_t id)
{
    char path[PATH_MAX];
    struct region_image image; /* the program can change the row */
    struct allocator_slots slots;
    memcpy(&image, region_row(answers->view, REGION_IMAGES, id), sizeof(image));
    if (image.unloaded_ns || !image_file_path(path, answers->pid, &image))
        return;
    allocator_slots_find(&slots, path);
    if (slots.nr)
        add_slots(answers, id, &slots);
    if (slots.hidden)
        atomic_store(&answers->hidden_allocator, slots.hidden);
    free(slots.rows);
}

static void answer_all(struct image_answers *answers)
{
    uint32_t nr = region_nr_rows(answers->view, REGION_IMAGES);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_image *row = region_row(answers->view, REGION_IMAGES, id);
        if (answers->answered[id] || !row || !__atomic_load_n(&row->is_written, __ATOMIC_ACQUIRE))
            continue;
        answers->answered[id] = 1;
        answer_image(answers, id);
    }
}

static void *watch(void *argument)
{
    struct image_answers *answers = argument;
    struct region_header *header = answers->region->header;
    uint32_t seen = 0;
    while (!atomic_load(&answers->stops)) {
        uint32_t published = __atomic_load_n(&header->images_published, __ATOMIC_ACQUIRE);
        if (published == seen) {
            futex_wait(&header->images_published, published);
            continue;
        }
        answer_all(answers);
        seen = published;
        __atomic_store_n(&header->images_seen, seen, __ATOMIC_RELEASE); /* pairs with images.c */
        futex_wake(&header->images_seen);
    }
    atomic_store(&answers->stopped, true);
    return NULL;
}

void image_answers_start(struct image_answers *answers, struct region *region,
                         const struct region_view *view, pid_t pid)
{
    pthread_attr_t attributes;
    *answers = (struct image_answers){.region = region, .view = view, .pid = pid, .nr_slots = 1};
    answers->answered = memory_alloc(view->tables[REGION_IMAGES].max_rows);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    answers->runs = pthread_create(&answers->thread, &attributes, watch, answers) == 0;
    pthread_attr_destroy(&attributes);
}

void image_answers_stop(struct image_answers *answers)
{
    const struct timespec moment = {0, STOP_TRY_NS};
    if (answers->runs) {
        atomic_store(&answers->stops, true);
        /* It may be just about to wait: woken until it says that it is done. */
        while (!atomic_load(&answers->stopped)) {
            futex_wake(&answers->region->header->images_published);
            nanosleep(&moment, NULL);
        }
        pthread_join(answers->thread, NULL);
    }
    free(answers->answered);
    answers->answered = NULL;
    answers->runs = false;
}
