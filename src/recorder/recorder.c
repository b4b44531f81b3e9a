/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The story of a traced run: look, prepare, start, wait, pack. */
#include "recorder/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recorder/packer.h"
#include "recorder/planner.h"
#include "recorder/recorder_part.h"
#include "recorder/snapshotter.h"
#include "recorder/spawn.h"

enum { STATUS_FAILED = 125 };

/* --- before -------------------------------------------------------------------------------------- */

static void set_reason(struct recorder *recorder, const char *reason)
{
    snprintf(recorder->reason, sizeof(recorder->reason), "%s", reason);
}

/* The program is going to run without us. */
static void give_up(struct recorder *recorder, const char *why)
{
    struct error err;
    set_reason(recorder, why);
    error_set(&err, ERROR_TARGET, "%s: not traced: %s", recorder->options->program[0], why);
    recorder->options->tell(&err);
}

static void join_command(struct text *command, char **arguments)
{
    for (char **argument = arguments; *argument; argument++)
        text_printf(command, "%s%s", argument == arguments ? "" : " ", *argument);
}

static void prepare_region(struct recorder *recorder)
{
    struct error err = {0};
    if (!serve_open(&recorder->serve, &err) || !clock_start(&recorder->clock, &err)) {
        give_up(recorder, err.message);
        return;
    }
    recorder->main = traced_new(&recorder->options->region, &recorder->clock, &err);
    if (!recorder->main)
        give_up(recorder, err.message);
}

static void prepare(struct recorder *recorder, const struct recorder_options *options)
{
    *recorder = (struct recorder){
        .options = options,
        .serve = {.fd = -1},
        .clock = {.asked_fd = -1},
        .recording_fd = -1,
        .signals = {.witness = {.fd = -1}},
        .packer = {"pack", packer_answer, 0, -1, -1, false, 0},
        .planner = {"plan", planner_answer, 0, -1, -1, false, 0},
        .snapshotter = {"snap", snapshotter_answer, 0, -1, -1, false, 0},
    };
    manners_begin(&recorder->manners);
    join_command(&recorder->command, options->program);
    if (options->output)
        text_append_str(&recorder->output, options->output);
    launch_look(&recorder->launch, options->program[0]);
    if (!recorder->launch.path.length)
        return; /* exec will tell */
    if (recorder->launch.is_traceable)
        prepare_region(recorder);
    else
        give_up(recorder, recorder->launch.reason);
}

/* --- the program --------------------------------------------------------------------------------- */

static void born(void *context, pid_t pid)
{
    struct recorder *recorder = context;
    recorder->pid = pid;
    if (recorder->main)
        traced_set_pid(recorder->main, pid);
}

static bool start_program(struct recorder *recorder, int *exit_status, struct error *err)
{
    const struct spawn_request request = {
        .arguments = recorder->options->program,
        .library = recorder->main ? text_str(&recorder->launch.library) : NULL,
        .socket = recorder->serve.name,
        .manners = &recorder->manners,
        .born = born,
        .context = recorder,
    };
    if (recorder->main) {
        checkpoint_check_output(recorder);
        plans_prepare(recorder);
    }
    if (!spawn_program(&request, exit_status, err)) {
        if (*exit_status == STATUS_FAILED) {
            give_up(recorder, err->message);
            *exit_status = spawn_in_place(request.arguments, request.manners, err);
        }
        return false;
    }
    signals_begin(&recorder->signals, recorder->pid);
    return true;
}

/* --- after --------------------------------------------------------------------------------------- */

/* The tracer's own words first. */
static void explain_nothing(struct recorder *recorder)
{
    const struct traced *traced = recorder->main;
    char reason[sizeof(traced->view.header->off_reason)];
    if (!traced)
        return; /* set before */
    memcpy(reason, traced->view.header->off_reason, sizeof(reason));
    reason[sizeof(reason) - 1] = 0;
    if (traced->reason[0])
        set_reason(recorder, traced->reason);
    else if (traced->is_given && reason[0])
        set_reason(recorder, reason);
    else if (traced->is_given)
        set_reason(recorder, "the program ended before it allocated anything");
    else
        set_reason(recorder,
                   "the tracer was never loaded: the program's loader did not take it, or what it "
                   "started was linked statically; asyncmem run the program itself");
}

/* What is left of children, then the program itself. */
static void pack_all(struct recorder *recorder)
{
    recorder_wait_packer(recorder);
    for (size_t i = 0; i < recorder->nr_children && !recorder->is_hurried; i++) {
        struct traced *child = recorder->children[i];
        if (!child->is_packed && traced_has_content(child) && checkpoint_ask(recorder, child, true))
            recorder_wait_packer(recorder);
    }
    struct traced *traced = recorder->main;
    traced_look(traced);
    /* Once more where the packer itself came to an end: what it met may be gone, or was its killer. */
    for (int i = 0; i < 2 && !recorder->is_hurried && (!i || !recorder->packer.pid); i++)
        if (checkpoint_ask(recorder, traced, true))
            recorder_wait_packer(recorder);
}

static void tell_write_problem(struct recorder *recorder)
{
    struct error err;
    if (recorder->is_written)
        return;
    error_set(&err, ERROR_INPUT, "there is no recording: %s",
              recorder->is_hurried         ? "its making was interrupted"
              : recorder->write_problem[0] ? recorder->write_problem
                                           : "it could not be made; is there memory?");
    recorder->options->tell(&err);
}

static void finish(struct recorder *recorder, struct recorder_result *result)
{
    struct error err;
    if (recorder->main && traced_has_content(recorder->main)) {
        pack_all(recorder);
        tell_write_problem(recorder);
        if (recorder->is_written)
            checkpoint_path(recorder, recorder->main, &result->path);
        if (recorder->recording_fd >= 0)
            snprintf(result->recording, sizeof(result->recording), "/proc/self/fd/%d",
                     recorder->recording_fd);
    } else {
        explain_nothing(recorder);
        error_set(&err, ERROR_TARGET, "there is no recording of %s: %s",
                  recorder->options->program[0], recorder->reason);
        recorder->options->tell(&err);
    }
    result->nr_children = recorder->nr_children_recorded;
    int status = recorder->wait_status;
    result->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void clean_up(struct recorder *recorder)
{
    helper_end(&recorder->packer);
    helper_end(&recorder->planner);
    helper_end(&recorder->snapshotter);
    signals_end(&recorder->signals);
    traced_free(recorder->main, &recorder->clock);
    for (size_t i = 0; i < recorder->nr_children; i++)
        traced_free(recorder->children[i], &recorder->clock);
    free(recorder->children);
    clock_stop(&recorder->clock);
    serve_close(&recorder->serve);
    launch_deinit(&recorder->launch);
    text_deinit(&recorder->command);
    text_deinit(&recorder->output);
}

bool recorder_run(struct recorder_result *result, const struct recorder_options *options,
                  struct error *err)
{
    struct recorder recorder;
    *result = (struct recorder_result){.exit_status = STATUS_FAILED, .is_init = getpid() == 1};
    prepare(&recorder, options);
    bool ok = start_program(&recorder, &result->exit_status, err);
    if (ok) {
        manners_leave_files(options->keeps_stdout, true);
        recorder.next_checkpoint_ns = recorder_clock_ns() + options->checkpoint_s * 1000000000;
        recorder_loop(&recorder);
        finish(&recorder, result);
    }
    clean_up(&recorder);
    return ok;
}
