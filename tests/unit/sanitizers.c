/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Read by the sanitizers' runtimes, where a test is built with them: a report ends the test, with
 * its stack, by a signal, so that no test passes over one.
 */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "abort_on_error=1:detect_leaks=1:allocator_may_return_null=0";
}

const char *__ubsan_default_options(void)
{
    return "halt_on_error=1:abort_on_error=1:print_stacktrace=1";
}
