/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/types_writer.h"

#include <string.h>

void types_put(const struct types_writer *writer, const char *text)
{
    fputs(text, writer->display->out);
}

void types_put_number(const struct types_writer *writer, uint64_t number, unsigned columns)
{
    struct text text;
    text_init(&text);
    display_number(number, &text);
    fprintf(writer->display->out, "%*s", (int)columns, text_str(&text));
    text_deinit(&text);
}

void types_append_place(const struct types_writer *writer, const char *file, uint32_t line,
                        struct text *out)
{
    display_place(file, line, writer->report->options->full_names, out);
}

void types_put_line(const struct types_writer *writer, struct text *left, const struct text *right)
{
    unsigned columns = writer->display->columns, right_width = display_width(text_str(right));
    if (right_width + 2 < columns)
        display_cut(left, columns - right_width - 2);
    fprintf(writer->display->out, "%s", text_str(left));
    int gap = (int)columns - (int)display_width(text_str(left)) - (int)right_width;
    fprintf(writer->display->out, "%*s%s\n", gap > 0 ? gap : 1, "", text_str(right));
}

void types_put_cut(const struct types_writer *writer, struct text *line)
{
    display_cut(line, writer->display->columns);
    types_put(writer, text_str(line));
    types_put(writer, "\n");
}
