/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which images get plans: those with task vtables, one after the other (recorder/planner.h compiles them). */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recorder/planner.h"
#include "recorder/recorder_part.h"

enum { PREPARE_LIMIT_MS = 5000 };

/* 0: none is wanted. */
static uint32_t wanted_image(const struct traced *traced)
{
    uint32_t nr = region_nr_rows(&traced->view, REGION_IMAGES);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_image *image = region_row(&traced->view, REGION_IMAGES, id);
        if (image && !traced->is_planned[id] && image->nr_vtables && !image->unloaded_ns &&
            __atomic_load_n(&image->is_written, __ATOMIC_ACQUIRE))
            return id;
    }
    return 0;
}

void plans_tick(struct recorder *recorder)
{
    struct traced *traced = recorder->main;
    if (!traced || !traced->is_given || recorder->planner.is_busy)
        return;
    uint32_t image = wanted_image(traced);
    if (!image)
        return;
    const struct planner_question asked = {image, (uint32_t)traced->pid, traced->plans_bytes};
    struct helper_question question = {.nr_files = 1, .files = {traced->region.fd}};
    memcpy(question.bytes, &asked, sizeof(asked));
    traced->is_planned[image] = 1;
    recorder->planning = traced->generation;
    helper_ask(&recorder->planner, &question);
}

static void ask_for_program(struct recorder *recorder)
{
    const struct planner_question asked = {0};
    struct helper_question question = {.nr_files = 1};
    question.files[0] = open(text_str(&recorder->launch.binary), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (question.files[0] < 0)
        return;
    memcpy(question.bytes, &asked, sizeof(asked));
    recorder->planning = 0;
    helper_ask(&recorder->planner, &question);
    close(question.files[0]);
}

void plans_prepare(struct recorder *recorder)
{
    struct helper_answer answer;
    ask_for_program(recorder);
    if (!recorder->planner.is_busy)
        return;
    struct pollfd file = {.fd = recorder->planner.fd, .events = POLLIN};
    if (poll(&file, 1, PREPARE_LIMIT_MS) == 1)
        helper_take(&recorder->planner, &answer);
    pid_t pid = recorder->planner.pid;
    helper_end(&recorder->planner); /* it has files open that are the program's now */
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

/* An image without a plan has no await trees; the report says so by itself. */
void plans_take(struct recorder *recorder)
{
    struct helper_answer answer;
    helper_take(&recorder->planner, &answer);
    struct traced *traced = recorder_find(recorder, recorder->planning);
    if (traced && answer.is_ok)
        traced->plans_bytes = answer.numbers[0];
    plans_tick(recorder);
}
