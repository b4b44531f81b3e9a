/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Compiled with -DSUBJECTS=subjects_O2 and so on. */
#include "emulator_subjects.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;
__extension__ typedef __int128 int128;

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t sum_of(const uint64_t *words, size_t nr)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < nr; i++)
        sum = sum * 31 + words[i];
    return sum;
}

/* --- sorting and searching -------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void sort_range(uint64_t *words, long low, long high,
                       int (*order)(const void *, const void *))
{
    while (low < high) {
        uint64_t pivot = words[(low + high) / 2];
        long i = low, j = high;
        while (i <= j) {
            while (order(&words[i], &pivot) < 0)
                i++;
            while (order(&words[j], &pivot) > 0)
                j--;
            if (i <= j) {
                uint64_t word = words[i];
                words[i++] = words[j];
                words[j--] = word;
            }
        }
        sort_range(words, low, j, order);
        low = i;
    }
}

static uint64_t quick_sort(uint64_t seed, uint64_t *words)
{
    for (int i = 0; i < 500; i++)
        words[i] = next(&seed) % 1000;
    sort_range(words, 0, 499, by_value);
    return sum_of(words, 500);
}

static uint64_t library_sort(uint64_t seed, uint64_t *words)
{
    for (int i = 0; i < 100; i++)
        words[i] = next(&seed);
    qsort(words, 100, sizeof(*words), by_value);
    const uint64_t *found = bsearch(&words[17], words, 100, sizeof(*words), by_value);
    return sum_of(words, 100) + (uint64_t)(found - words);
}

/* --- tables, lists, trees --------------------------------------------------------------------- */

static uint64_t hash_table(uint64_t seed, uint64_t *words)
{
    memset(words, 0, 1024 * sizeof(*words));
    uint64_t found = 0;
    for (int i = 0; i < 400; i++) {
        uint64_t key = next(&seed) % 600 + 1, at = key * 0x9e3779b97f4a7c15 >> 55;
        while (words[2 * at] && words[2 * at] != key)
            at = (at + 1) % 512;
        found += words[2 * at] == key;
        words[2 * at] = key;
        words[2 * at + 1] += (uint64_t)i;
    }
    return found * 1000003 + sum_of(words, 1024);
}

struct node {
    struct node *left, *right;
    uint64_t key;
};

static struct node *insert(struct node *root, struct node *node)
{
    if (!root)
        return node;
    if (node->key < root->key)
        root->left = insert(root->left, node);
    else
        root->right = insert(root->right, node);
    return root;
}

static uint64_t walk(const struct node *node, uint64_t sum)
{
    return node ? walk(node->right, walk(node->left, sum) * 33 + node->key) : sum;
}

static uint64_t tree(uint64_t seed, uint64_t *words)
{
    struct node *nodes = (struct node *)words, *root = NULL;
    for (int i = 0; i < 200; i++) {
        nodes[i] = (struct node){.key = next(&seed)};
        root = insert(root, &nodes[i]);
    }
    uint64_t sum = walk(root, 1);
    memset(words, 0, sizeof(struct node) * 200); /* addresses are no result */
    return sum;
}

static uint64_t list(uint64_t seed, uint64_t *words)
{
    struct node *nodes = (struct node *)words, *first = NULL, *reversed = NULL;
    for (int i = 0; i < 300; i++) {
        nodes[i] = (struct node){.left = first, .key = next(&seed)};
        first = &nodes[i];
    }
    while (first) {
        struct node *rest = first->left;
        first->left = reversed;
        reversed = first;
        first = rest;
    }
    uint64_t sum = 0;
    for (; reversed; reversed = reversed->left)
        sum = sum * 7 + reversed->key;
    memset(words, 0, sizeof(struct node) * 300);
    return sum;
}

/* --- control ---------------------------------------------------------------------------------- */

static uint64_t ackermann(uint64_t m, uint64_t n)
{
    if (!m)
        return n + 1;
    return ackermann(m - 1, n ? ackermann(m, n - 1) : 1);
}

static uint64_t recursion(uint64_t seed, uint64_t *words)
{
    (void)words;
    return ackermann(2, seed % 7);
}

static uint64_t machine(uint64_t seed, uint64_t *words)
{
    uint64_t a = 1, b = seed | 1;
    for (int i = 0; i < 2000; i++) {
        switch (next(&seed) % 13) {
        case 0:
            a += b;
            break;
        case 1:
            a -= 7;
            break;
        case 2:
            a ^= b << 3;
            break;
        case 3:
            b = a >> 5 | 1;
            break;
        case 4:
            a *= b;
            break;
        case 5:
            a /= b;
            break;
        case 6:
            a %= b | 16;
            break;
        case 7:
            b = ~b | 1;
            break;
        case 8:
            words[a % 64]++;
            break;
        case 9:
            a = words[b % 64] + 1;
            break;
        case 10:
            a = (uint64_t) - (int64_t)a;
            break;
        case 11:
            b = (b << 7 | b >> 57) | 1;
            break;
        default:
            a = a > b ? a - b : b - a;
            break;
        }
    }
    return a ^ b;
}

static uint64_t variadic(int nr, ...)
{
    va_list list;
    uint64_t sum = 0;
    va_start(list, nr);
    for (int i = 0; i < nr; i++)
        sum = i % 3 == 2 ? sum + (uint64_t)va_arg(list, double) : sum * 5 + va_arg(list, uint64_t);
    va_end(list);
    return sum;
}

static uint64_t many_arguments(uint64_t seed, uint64_t *words)
{
    (void)words;
    return variadic(9, seed, seed + 1, 3.75, seed + 2, seed * 3, 1e6, seed ^ 5, ~seed, 0.25);
}

static jmp_buf place;
static volatile uint64_t deepest;

static void leap(uint64_t depth)
{
    volatile uint64_t here = depth; /* a frame of its own */
    if (depth == deepest)
        longjmp(place, 42);
    if (here)
        leap(here - 1);
}

static uint64_t long_jump(uint64_t seed, uint64_t *words)
{
    volatile uint64_t count = 0;
    int value = setjmp(place);
    count++;
    if (value == 0 || count < 4)
        leap(seed % 9 + 1);
    words[0] = count;
    memset(&place, 0, sizeof(place));
    return (uint64_t)value + count;
}

/* --- structures ------------------------------------------------------------------------------- */

struct big {
    uint64_t words[40];
    uint8_t tail[13];
};

static struct big __attribute__((noinline)) change(struct big big, unsigned at)
{
    big.words[at % 40] += at;
    big.tail[at % 13] ^= 0x5a;
    return big;
}

static uint64_t structures(uint64_t seed, uint64_t *words)
{
    struct big bigs[4];
    memset(bigs, 0, sizeof(bigs));
    for (unsigned i = 0; i < 60; i++)
        bigs[i % 4] = change(bigs[(i + 1) % 4], (unsigned)(next(&seed) % 100));
    memcpy(words, bigs, sizeof(bigs));
    return sum_of(words, sizeof(bigs) / 8);
}

struct fields {
    unsigned a : 3, b : 7;
    int c : 11;
    bool d : 1;
    uint64_t e : 37;
};

static uint64_t bit_fields(uint64_t seed, uint64_t *words)
{
    struct fields fields = {0};
    for (int i = 0; i < 200; i++) {
        uint64_t word = next(&seed);
        fields.a += (unsigned)word & 3;
        fields.b ^= (unsigned)(word >> 3) & 127;
        fields.c = (int)(word >> 10) % 1000;
        fields.d = fields.c < 0;
        fields.e += word >> 30;
        words[i] = fields.a + fields.b * 8u + (uint64_t)(int64_t)fields.c + fields.d + fields.e;
    }
    return sum_of(words, 200);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static uint64_t bit_tricks(uint64_t seed, uint64_t *words)
{
    for (int i = 0; i < 200; i++) {
        uint64_t x = next(&seed) >> (i % 60), y = x | 1;
        uint32_t z = (uint32_t)x | 1;
        words[i] = (uint64_t)__builtin_popcountll(x) + (uint64_t)__builtin_ctzll(y) * 3 +
                   (uint64_t)__builtin_clzll(y) * 5 + __builtin_bswap64(x) + __builtin_bswap32(z) +
                   (uint64_t)__builtin_ctz(z) + (uint64_t)__builtin_clz(z) +
                   (x << (i % 63 + 1) | x >> (63 - i % 63)) + (uint64_t)__builtin_parityll(x) +
                   (x & -x) + (x & (x - 1)) + (~x & y) + __builtin_bswap16((uint16_t)x);
    }
    return sum_of(words, 200);
}

static uint64_t wide(uint64_t seed, uint64_t *words)
{
    uint128 a = 1;
    int128 b = -1;
    for (int i = 0; i < 100; i++) {
        a = a * next(&seed) + ((uint128)next(&seed) << 64);
        b = b * 3 - (int128)(next(&seed) >> 1);
        uint128 by = (uint128)next(&seed) << (i % 64) | 1;
        words[i] = (uint64_t)(a / by) ^ (uint64_t)(a % by) ^ (uint64_t)(b / (int128)(by >> 9 | 1)) ^
                   (uint64_t)(a >> (i % 127)) ^ (uint64_t)(b >> (i % 100));
    }
    return sum_of(words, 100);
}

static uint64_t divisions(uint64_t seed, uint64_t *words)
{
    for (int i = 0; i < 300; i++) {
        uint64_t x = next(&seed), y = (next(&seed) >> (i % 63)) | 1;
        int64_t sx = (int64_t)x, sy = (int64_t)y == -1 ? 3 : (int64_t)y;
        int32_t nx = (int32_t)x, ny = (int32_t)y == -1 ? 7 : (int32_t)y | 1;
        int16_t wx = (int16_t)x;
        int8_t bx = (int8_t)x;
        words[i] = x / y + x % y + (uint64_t)(sx / sy) + (uint64_t)(sx % sy) +
                   (uint64_t)(nx / (ny == -1 ? 5 : ny)) + (uint32_t)x % ((uint32_t)y | 1) +
                   (uint64_t)(wx / 7) + (uint64_t)(bx % 5) + x / 10 + (uint64_t)(sx / 1000) +
                   (uint16_t)x / (uint16_t)(y | 1) + (uint8_t)x / (uint8_t)(y | 1);
    }
    return sum_of(words, 300);
}

static uint64_t overflows(uint64_t seed, uint64_t *words)
{
    uint64_t nr = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t x = next(&seed) >> (i % 64), y = next(&seed) >> (i * 7 % 64), z;
        int64_t sz;
        int32_t nz;
        nr += __builtin_add_overflow(x, y, &z) + 2u * __builtin_mul_overflow(x, y, &z);
        nr += 4u * __builtin_sub_overflow((int64_t)x, (int64_t)y, &sz);
        nr += 8u * __builtin_mul_overflow((int32_t)x, (int32_t)y, &nz);
        nr += 16u * __builtin_mul_overflow((int64_t)x, (int64_t)y, &sz);
        words[i] = z + (uint64_t)sz + (uint64_t)nz;
    }
    return nr * 31 + sum_of(words, 300);
}

static uint64_t floats(uint64_t seed, uint64_t *words)
{
    double *numbers = (double *)words, sum = 0;
    for (int i = 0; i < 256; i++)
        numbers[i] = (double)(int64_t)(next(&seed) % 20001) - 10000.5;
    for (int i = 1; i < 256; i++) {
        numbers[i] = numbers[i] * 0.75 + numbers[i - 1] / 3.0 - 1.0;
        if (numbers[i] > 100.0 || numbers[i] != numbers[i])
            sum += numbers[i];
        float single = (float)numbers[i] * 1.5f;
        sum += single < 0.0f ? -single : single;
        sum += (double)(int32_t)numbers[i] + (double)(uint32_t)(next(&seed) >> 40);
    }
    return (uint64_t)(int64_t)sum;
}

/* --- loops that compilers turn into vectors --------------------------------------------------- */

static uint64_t vectors(uint64_t seed, uint64_t *words)
{
    uint8_t *bytes = (uint8_t *)words;
    uint16_t *shorts = (uint16_t *)(words + 256);
    uint32_t *ints = (uint32_t *)(words + 512);
    float *singles = (float *)(words + 1024);
    for (int i = 0; i < 1000; i++) {
        bytes[i] = (uint8_t)next(&seed);
        shorts[i] = (uint16_t)(bytes[i] * 259);
        ints[i] = (uint32_t)bytes[i] << 20 | shorts[i];
    }
    uint64_t sum = 0, most = 0, nr = 0;
    for (int i = 0; i < 1000; i++)
        sum += bytes[i];
    for (int i = 0; i < 1000; i++)
        most = ints[i] > most ? ints[i] : most;
    for (int i = 0; i < 1000; i++)
        nr += bytes[i] == 'a' || (int8_t)bytes[i] < -100;
    for (int i = 0; i < 1000; i++)
        shorts[i] = (uint16_t)(shorts[i] * 3 + (bytes[i] >> 2));
    for (int i = 0; i < 1000; i++)
        ints[i] = (ints[i] >> 3) * ints[999 - i] ^ (ints[i] < 0x1000000 ? shorts[i] : bytes[i]);
    for (int i = 0; i < 1000; i++)
        singles[i] = (float)(int32_t)(ints[i] >> 9) * 0.5f;
    for (int i = 0; i < 1000; i++)
        nr += (uint64_t)(singles[i] > 1000.0f) + (uint64_t)(int32_t)singles[i];
    for (int i = 0; i < 500; i++)
        words[2048 + i] = (uint64_t)(int8_t)bytes[i] + (uint64_t)ints[i] * shorts[i] + words[i];
    return sum * 3 + most * 5 + nr * 7;
}

/* --- text and memory -------------------------------------------------------------------------- */

static uint64_t own_text(uint64_t seed, uint64_t *words)
{
    char *text = (char *)words;
    size_t length = 0;
    for (int i = 0; i < 40; i++) {
        uint64_t number = next(&seed) >> (i % 60);
        char digits[24];
        size_t nr = 0;
        do
            digits[nr++] = (char)('0' + number % 10);
        while (number /= 10);
        while (nr)
            text[length++] = digits[--nr];
        text[length++] = ',';
    }
    text[length] = 0;
    uint64_t sum = length, number = 0;
    for (const char *at = text; *at; at++) {
        if (*at == ',')
            sum = sum * 131 + number, number = 0;
        else
            number = number * 10 + (uint64_t)(*at - '0');
    }
    return sum;
}

static uint64_t library_memory(uint64_t seed, uint64_t *words)
{
    char *bytes = (char *)words;
    uint64_t sum = 0;
    for (int i = 0; i < 4096; i++)
        bytes[i] = (char)(next(&seed) % 255 + 1);
    for (int i = 0; i < 60; i++) {
        size_t from = next(&seed) % 2000, to = next(&seed) % 2000,
               nr = next(&seed) % (i < 30 ? 70 : 2000);
        memmove(bytes + to, bytes + from, nr);
        memcpy(bytes + 4100 + to, bytes + from, nr);
        memset(bytes + 8300 + to, (int)nr, nr);
        sum = sum * 3 + (uint64_t)memcmp(bytes + to, bytes + from, nr % 40) % 3;
        const char *found = memchr(bytes + from, (int)(next(&seed) % 256), nr);
        sum += found ? (uint64_t)(found - bytes) : 7;
    }
    return sum;
}

static uint64_t library_text(uint64_t seed, uint64_t *words)
{
    char *text = (char *)words;
    uint64_t sum = 0;
    for (int i = 0; i < 30; i++) {
        size_t nr = next(&seed) % 300 + 1;
        for (size_t k = 0; k < nr; k++)
            text[k] = (char)('a' + next(&seed) % 20);
        text[nr] = 0;
        strcpy(text + 1000 + i % 17, text);
        text[1000 + i % 17 + nr / 2] ^= 1;
        const char *found = strchr(text, 'c'), *last = strrchr(text, 'd');
        sum = sum * 5 + strlen(text) + strnlen(text, 100) + (found ? (size_t)(found - text) : 0);
        sum += (last ? (size_t)(last - text) : 0) + (strcmp(text, text + 1000 + i % 17) < 0);
        sum += (uint64_t)(strncmp(text, text + 1000 + i % 17, nr / 2) == 0) +
               strtoul("8123", NULL, 10);
    }
    return sum;
}

static uint64_t allocations(uint64_t seed, uint64_t *words)
{
    char *blocks[64] = {0};
    uint64_t sum = 0;
    (void)words;
    for (int i = 0; i < 600; i++) {
        uint64_t at = next(&seed) % 64, nr = next(&seed) % (i % 7 ? 200 : 3000) + 1;
        if (blocks[at])
            sum = sum * 3 + (uint8_t)blocks[at][0];
        free(blocks[at]);
        blocks[at] = i % 3 ? malloc(nr) : calloc(1, nr);
        blocks[at][0] = (char)i;
        if (i % 5 == 0)
            blocks[at] = realloc(blocks[at], nr * 2);
        sum += (uintptr_t)blocks[at] % 16;
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    return sum;
}

static uint64_t printing(uint64_t seed, uint64_t *words)
{
    char *text = (char *)words;
    int nr = snprintf(text, 500, "%llu %s %x %-8d|%c", (unsigned long long)seed, "words",
                      (unsigned)seed, (int)seed % 1000, 'x');
    return (uint64_t)nr;
}

static uint64_t atomics(uint64_t seed, uint64_t *words)
{
    uint64_t sum = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t *word = &words[next(&seed) % 32], expected = i % 2 ? *word : 1;
        uint32_t *half = (uint32_t *)&words[40];
        sum += __atomic_fetch_add(word, seed, __ATOMIC_SEQ_CST);
        sum += __atomic_sub_fetch(half, 3, __ATOMIC_RELEASE);
        sum += __atomic_exchange_n(word, sum, __ATOMIC_SEQ_CST);
        sum += __atomic_compare_exchange_n(word, &expected, 5, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
        sum += __atomic_fetch_or(word, 64, __ATOMIC_SEQ_CST) +
               __atomic_fetch_xor(half, 9, __ATOMIC_SEQ_CST);
        sum += expected;
    }
    return sum;
}

static _Thread_local uint64_t of_thread = 5;

static uint64_t thread_local_word(uint64_t seed, uint64_t *words)
{
    words[0] = of_thread;
    of_thread += seed;
    uint64_t sum = of_thread * 3;
    of_thread -= seed;
    return sum;
}

const struct subject_function SUBJECTS[] = {
    {"quick_sort", quick_sort},
    {"library_sort", library_sort},
    {"hash_table", hash_table},
    {"tree", tree},
    {"list", list},
    {"recursion", recursion},
    {"machine", machine},
    {"many_arguments", many_arguments},
    {"long_jump", long_jump},
    {"structures", structures},
    {"bit_fields", bit_fields},
    {"bit_tricks", bit_tricks},
    {"wide", wide},
    {"divisions", divisions},
    {"overflows", overflows},
    {"floats", floats},
    {"vectors", vectors},
    {"own_text", own_text},
    {"library_memory", library_memory},
    {"library_text", library_text},
    {"allocations", allocations},
    {"printing", printing},
    {"atomics", atomics},
    {"thread_local_word", thread_local_word},
    {0},
};
