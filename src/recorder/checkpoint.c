/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the packer is asked for, and when: every few seconds, at the end, and for each followed child when that has
 * ended.  A recording that cannot be written is told once, and tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "recorder/memory_file.h"
#include "recorder/packer.h"
#include "recorder/recorder_part.h"

enum { CHECKPOINT_COST = 4 }; /* packing takes at most one part in so many of the time */

/* --- where --------------------------------------------------------------------------------------- */

void checkpoint_path(const struct recorder *recorder, const struct traced *traced,
                     struct text *path)
{
    if (recorder->output.length)
        text_append_str(path, text_str(&recorder->output));
    else
        text_printf(path, "asyncmem.%d.rec", (int)recorder->pid);
    if (traced != recorder->main)
        text_printf(path, ".%d", (int)traced->pid);
}

/* A pipe or a device gets the bytes once, at the end. */
static bool is_stream(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

void checkpoint_check_output(struct recorder *recorder)
{
    struct error err;
    struct text path = {0};
    checkpoint_path(recorder, recorder->main, &path);
    char *copy = strdup(text_str(&path)), *folder = copy ? dirname(copy) : NULL;
    if (folder && !is_stream(text_str(&path)) && access(folder, W_OK | X_OK) != 0) {
        error_set(
            &err, ERROR_INPUT,
            "nothing can be written in %s (%s): the program runs, its recording will be lost; "
            "name another file by -o",
            strcmp(folder, ".") == 0 ? "this folder" : folder, strerror(errno));
        recorder->options->tell(&err);
        recorder->was_write_told = true;
    }
    free(copy);
    text_deinit(&path);
}

/* --- the question -------------------------------------------------------------------------------- */

static void append_string(struct text *out, const char *string)
{
    text_append(out, string, strlen(string) + 1);
}

static void set_end(const struct recorder *recorder, const struct traced *traced,
                    struct pack_input *input)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    input->ended_at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    input->ended_by = RUN_RUNNING;
    if (traced != recorder->main)
        input->ended_by =
            traced->has_ended ? RUN_LOST : RUN_RUNNING; /* its status is its parent's */
    else if (recorder->has_ended && WIFSIGNALED(recorder->wait_status))
        input->ended_by = RUN_SIGNAL;
    else if (recorder->has_ended)
        input->ended_by = RUN_EXIT;
    if (input->ended_by == RUN_SIGNAL)
        input->exit_status = WTERMSIG(recorder->wait_status);
    else if (input->ended_by == RUN_EXIT)
        input->exit_status = WEXITSTATUS(recorder->wait_status);
}

/* Of the program alone where the kernel's own figure is not of its children, too. */
static uint64_t peak_rss(const struct recorder *recorder, const struct traced *traced)
{
    uint64_t sampled = traced->sampler.peak_rss_bytes;
    bool is_alone = traced == recorder->main && !recorder->nr_execs &&
                    !traced->view.header->lost[LOST_CHILDREN] && !recorder->nr_children;
    return is_alone && recorder->max_rss_bytes > sampled ? recorder->max_rss_bytes : sampled;
}

static void add_notes(const struct traced *traced, struct pack_input *input, struct text *strings)
{
    struct text note = {0};
    if (traced->view.header->state == REGION_OFF) {
        text_printf(&note, "the tracer stepped aside before the end: %.255s",
                    traced->view.header->off_reason);
        append_string(strings, text_str(&note));
        input->nr_notes++;
    }
    const char *hidden = atomic_load(&traced->images.hidden_allocator);
    text_clear(&note);
    if (hidden) {
        text_printf(&note,
                    "an allocator is linked in (%s) that cannot be found without the symbol table: "
                    "what goes "
                    "through it is not counted; build with strip = \"none\" or \"debuginfo\"",
                    hidden);
        append_string(strings, text_str(&note));
        input->nr_notes++;
    }
    text_deinit(&note);
}

static void add_snapshots(struct traced *traced, struct pack_input *input,
                          struct helper_question *question)
{
    for (uint32_t why = 0; why < NR_RUN_SNAPSHOT_WHYS; why++) {
        const struct kept_snapshot *kept = &traced->snapshots[why];
        if (kept->file < 0)
            continue;
        input->snapshots[input->nr_snapshots++] =
            (struct pack_snapshot){kept->t_ns, kept->live_bytes, why, 0};
        question->files[question->nr_files++] = kept->file;
    }
}

/* All of it as one file; -1: no memory. */
static int make_input(const struct recorder *recorder, struct traced *traced, bool is_final,
                      struct helper_question *question)
{
    const struct sampler *sampler = &traced->sampler;
    struct text bytes = {0}, strings = {0}, path = {0};
    size_t nr_types;
    struct run_build_step_type *types = sampler_step_types(sampler, &nr_types);
    struct pack_input input = {.pid = (uint32_t)traced->pid,
                               .is_final = is_final,
                               .peak_rss_bytes = peak_rss(recorder, traced),
                               .nr_steps = (uint32_t)sampler->nr_steps,
                               .nr_step_types = (uint32_t)nr_types,
                               .nr_site_peaks = traced->peaks.nr};
    set_end(recorder, traced, &input);
    add_snapshots(traced, &input, question);
    checkpoint_path(recorder, traced, &path);
    append_string(&strings, text_str(&path));
    append_string(&strings, text_str(&recorder->launch.path));
    append_string(&strings, text_str(&recorder->command));
    add_notes(traced, &input, &strings);
    input.string_bytes = strings.length;
    text_append(&bytes, (const char *)&input, sizeof(input));
    text_append(&bytes, (const char *)sampler->steps, sampler->nr_steps * sizeof(*sampler->steps));
    text_append(&bytes, (const char *)types, nr_types * sizeof(*types));
    text_append(&bytes, (const char *)traced->peaks.bytes,
                traced->peaks.nr * sizeof(*traced->peaks.bytes));
    text_append(&bytes, strings.data, strings.length);
    int fd = memory_file_make("input", bytes.data, bytes.length);
    free(types);
    text_deinit(&bytes);
    text_deinit(&strings);
    text_deinit(&path);
    return fd;
}

bool checkpoint_ask(struct recorder *recorder, struct traced *traced, bool is_final)
{
    struct helper_question question = {.nr_files = PACK_FIRST_SNAPSHOT};
    if (recorder->packer.is_busy)
        return false;
    int input = make_input(recorder, traced, is_final, &question);
    if (input < 0)
        return false;
    question.files[PACK_REGION_FILE] = traced->region.fd;
    question.files[PACK_INPUT_FILE] = input;
    recorder->packing = traced->generation;
    bool ok = helper_ask(&recorder->packer, &question);
    close(input);
    traced->is_packed |= is_final && ok;
    return ok;
}

/* --- the answer ---------------------------------------------------------------------------------- */

static void tell(struct recorder *recorder, const char *message)
{
    struct error err;
    if (recorder->was_write_told || recorder->has_ended)
        return;
    recorder->was_write_told = true;
    error_set(&err, ERROR_INPUT, "the recording could not be written, and will be tried again: %s",
              message);
    recorder->options->tell(&err);
}

void checkpoint_take(struct recorder *recorder)
{
    struct helper_answer answer;
    helper_take(&recorder->packer, &answer);
    struct traced *traced = recorder_find(recorder, recorder->packing);
    uint64_t now_ns = recorder_clock_ns(), took_ns = now_ns - recorder->packer.asked_ns;
    uint64_t period_ns = recorder->options->checkpoint_s * 1000000000;
    if (period_ns < took_ns * CHECKPOINT_COST)
        period_ns = took_ns * CHECKPOINT_COST;
    recorder->next_checkpoint_ns = now_ns + period_ns;
    if (!answer.is_ok)
        tell(recorder, answer.message);
    if (traced && traced == recorder->main) {
        recorder->is_written = answer.is_ok;
        memcpy(recorder->write_problem, answer.message, sizeof(recorder->write_problem));
        if (recorder->recording_fd >= 0)
            close(recorder->recording_fd);
        recorder->recording_fd = answer.file;
    } else {
        recorder->nr_children_recorded += answer.is_ok && traced && traced->is_packed;
        if (answer.file >= 0)
            close(answer.file);
    }
}

/* --- when ---------------------------------------------------------------------------------------- */

static struct traced *ended_child(const struct recorder *recorder)
{
    for (size_t i = 0; i < recorder->nr_children; i++)
        if (recorder->children[i]->has_ended && !recorder->children[i]->is_packed)
            return recorder->children[i];
    return NULL;
}

void checkpoint_tick(struct recorder *recorder, uint64_t now_ns)
{
    struct traced *child = ended_child(recorder);
    if (recorder->packer.is_busy)
        return;
    if (child) {
        if (traced_has_content(child))
            checkpoint_ask(recorder, child, true);
        else
            child->is_packed = true;
        return;
    }
    if (now_ns < recorder->next_checkpoint_ns || !recorder->main ||
        !traced_has_content(recorder->main))
        return;
    struct text path = {0};
    checkpoint_path(recorder, recorder->main, &path);
    recorder->next_checkpoint_ns = now_ns + recorder->options->checkpoint_s * 1000000000;
    if (!is_stream(text_str(&path)))
        checkpoint_ask(recorder, recorder->main, false);
    text_deinit(&path);
}
