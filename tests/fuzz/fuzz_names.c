/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Names: the bytes are taken as a symbol, as a type's name, as a path and a symbol of one future. */
#include <stdlib.h>
#include <string.h>

#include "base/rust_path.h"
#include "model/leaf_names.h"
#include "model/names.h"
#include "pipeline.h"
#include "plan_sample.h"
#include "program/demangle.h"
#include "report/display.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is the path, the rest the symbol. */
static void name_future(const char *text)
{
    const char *line = strchr(text, '\n');
    char *path = strndup(text, line ? (size_t)(line - text) : strlen(text));
    struct plan_builder builder;
    struct plan plan;
    struct names names;
    struct text out;
    plan_builder_init(&builder);
    struct plan_future future = {.path = plan_builder_string(&builder, path),
                                 .symbol = plan_builder_string(&builder, line ? line + 1 : "")};
    struct plan_impl impl = {future.path, future.symbol};
    plan_builder_add(&builder, PLAN_IMPLS, &impl);
    uint8_t *bytes = sample_open(&builder, &plan);
    names_init(&names, &plan);
    text_init(&out);
    for (int style = NAME_SHORT; style <= NAME_FULL; style++) {
        names_future(&names, &future, (enum name_style)style, &out);
        names_type(&names, text, (enum name_style)style, &out);
    }
    leaf_name(text_str(&out));
    text_deinit(&out);
    names_deinit(&names);
    plan_builder_deinit(&builder);
    free(bytes);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 16384)
        return 0;
    char *text = strndup((const char *)data, size);
    struct text out;
    text_init(&out);
    demangle_rust(text, &out);
    rust_path_source_form(&out);
    rust_path_unwrap(&out);
    display_escape(text, &out);
    display_valid_utf8(text, &out);
    display_cut(&out, 80);
    display_cut_front(&out, 40);
    text_deinit(&out);
    name_future(text);
    free(text);
    return 0;
}
