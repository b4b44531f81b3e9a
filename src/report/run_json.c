/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * asyncmem.report/1; docs/JSON.md describes each key.  Written piece by piece: a hundred thousand sites
 * and tasks never stand in memory as one text.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "report/run_json_part.h"

enum { FLUSH_BYTES = 1 << 18 };

static void flush(struct run_json *json)
{
    if (json->text.length)
        fwrite(json->text.data, 1, json->text.length, json->out);
    text_clear(&json->text);
}

void run_json_flush(struct run_json *json, bool more)
{
    if (json->text.length < FLUSH_BYTES)
        return;
    flush(json);
    if (more)
        text_append_char(&json->text, ',');
}

/* --- the head -------------------------------------------------------------------------------- */

static void put_time(struct text *out, const char *key, int64_t ns)
{
    char date[32], whole[64];
    const int64_t rest = ns % 1000000000, seconds = ns / 1000000000 - (rest < 0);
    const time_t time = (time_t)seconds;
    struct tm tm;
    const bool is_known =
        ns && gmtime_r(&time, &tm) && strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    if (is_known)
        snprintf(whole, sizeof(whole), "%s.%09lldZ", date,
                 (long long)(rest < 0 ? rest + 1000000000 : rest));
    run_json_word(out, key, is_known ? whole : NULL);
}

static void put_facts(struct text *out, const struct run *run)
{
    static const char *const stacks[NR_RUN_STACKS] = {"all", "sampled", "none"};
    static const char *const details[] = {"none", "names", "full"};
    const struct run_facts *facts = run_facts(run);
    char status[16];
    snprintf(status, sizeof(status), "%" PRId32, facts->exit_status);
    const bool has_status = facts->ended_by == RUN_EXIT || facts->ended_by == RUN_SIGNAL;
    run_json_word(out, "schema", "asyncmem.report/1");
    run_json_string(out, run, "program", facts->program);
    run_json_string(out, run, "command", facts->command);
    json_id(out, "pid", facts->pid);
    put_time(out, "started_at", facts->started_at_ns);
    put_time(out, "ended_at", facts->ended_at_ns);
    json_number(out, "duration_ns", run_duration_ns(run));
    run_json_word(out, "ended_by", run_ended_by_names[facts->ended_by]);
    json_key(out, facts->ended_by == RUN_SIGNAL ? "signal" : "exit_status");
    json_put_word(out, has_status ? status : "null");
    run_json_word(out, "stacks", stacks[facts->stacks]);
    json_id(out, "sample_bytes", facts->sample_bytes);
    run_json_word(out, "detail", details[facts->detail]);
    run_json_string(out, run, "detail_reason", facts->detail_reason);
}

static void put_ends(struct text *out, const struct run *run)
{
    uint64_t ends[NR_RUN_ENDS] = {0};
    size_t nr;
    const struct run_type *types = run_types(run, &nr);
    for (size_t i = 0; i < nr; i++)
        for (size_t j = 0; j < NR_RUN_ENDS && run_kind_has_tasks(types[i].kind); j++)
            ends[j] += types[i].ended[j];
    for (size_t i = 0; i < RUN_END_THREAD; i++)
        json_number(out, run_end_names[i], ends[i]);
}

static void put_totals(struct text *out, const struct run *run)
{
    const struct run_facts *facts = run_facts(run);
    json_key(out, "totals");
    json_open(out, '{');
    json_number(out, "tasks", facts->tasks);
    put_ends(out, run);
    json_number(out, "polls", facts->polls);
    json_number(out, "polls_future", facts->polls_future);
    json_number(out, "polls_blocking", facts->polls_blocking);
    json_number(out, "polls_cancel", facts->polls_cancel);
    json_number(out, "allocations", facts->allocations);
    json_number(out, "allocated_bytes", facts->allocated_bytes);
    json_number(out, "temporary", facts->temporary);
    json_number(out, "frees", facts->frees);
    json_number(out, "freed_bytes", facts->freed_bytes);
    json_number(out, "unknown_frees", facts->unknown_frees);
    json_number(out, "live_bytes", facts->live_bytes);
    json_number(out, "live_blocks", facts->live_blocks);
    json_number(out, "peak_bytes", facts->peak_bytes);
    json_number(out, "peak_error_bytes", facts->peak_error_bytes);
    json_id(out, "peak_ns", facts->peak_ns);
    json_id(out, "peak_rss_bytes", facts->peak_rss_bytes);
    json_number(out, "threads", facts->nr_threads);
    json_close(out, '}');
}

static void put_lost(struct text *out, const struct run *run)
{
    size_t nr;
    const struct run_lost *losts = run_losts(run, &nr);
    json_key(out, "lost");
    json_open(out, '{');
    for (size_t i = 0; i < nr; i++) {
        if (!losts[i].count)
            continue;
        struct text key;
        text_init(&key);
        json_put_string(&key, run_string(run, losts[i].cause));
        json_put_word(out, losts[i].cause.v ? text_str(&key) : "\"unknown\"");
        text_append_char(out, ':');
        json_put_number(out, losts[i].count);
        text_deinit(&key);
    }
    json_close(out, '}');
    json_key(out, "lost_reasons");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++)
        if (losts[i].count)
            json_put_string(out, run_string(run, losts[i].text));
    json_close(out, ']');
}

static void put_images(struct text *out, const struct run *run)
{
    static const char *const details[] = {"none", "names", "full"};
    size_t nr;
    const struct run_image *images = run_images(run, &nr);
    json_key(out, "images");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        run_json_string(out, run, "path", images[i].path);
        run_json_string(out, run, "build_id", images[i].build_id);
        run_json_word(out, "detail", details[images[i].detail]);
        run_json_string(out, run, "detail_reason", images[i].detail_reason);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_notes(struct text *out, const struct run *run)
{
    size_t nr;
    const struct run_note *notes = run_notes(run, &nr);
    json_key(out, "notes");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++)
        json_put_string(out, run_string(run, notes[i].text));
    json_close(out, ']');
}

/* --- the document ---------------------------------------------------------------------------- */

static bool put_document(struct run_json *json, struct error *err)
{
    struct text *out = &json->text;
    json_open(out, '{');
    put_facts(out, json->run);
    put_totals(out, json->run);
    put_lost(out, json->run);
    run_json_findings(json);
    run_json_types(json);
    run_json_tasks(json);
    run_json_sites(json);
    run_json_site_groups(json);
    run_json_left(json);
    run_json_ends(json);
    run_json_runtimes(json);
    run_json_timeline(json);
    put_images(out, json->run);
    put_notes(out, json->run);
    if (!run_json_snapshots(json, err))
        return false;
    json_close(out, '}');
    text_append_char(out, '\n');
    flush(json);
    return true;
}

bool run_write_json(const struct run_report *report, FILE *out, struct error *err)
{
    struct run_json json = {.report = report, .run = report->run, .out = out};
    errno = 0;
    bool ok = put_document(&json, err);
    text_deinit(&json.text);
    if (ok && (fflush(out) != 0 || ferror(out)))
        ok = error_set(err, ERROR_INPUT, "the output could not be written: %s",
                       strerror(errno ? errno : EIO));
    return ok;
}
