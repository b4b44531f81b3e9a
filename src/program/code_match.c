/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/code_match.h"

#include <stdlib.h>
#include <string.h>

enum { PROGRAM, REBUILD };
/* How far calls are followed, and how many functions of one slot at most. */
enum { MAX_DEPTH = 10, MAX_REACHED = 96, MAX_ROUNDS = 4 };
enum { MAX_REACHED_ALL = 1 << 28 }; /* no program needs a tenth */

/* Who has a feature. */
struct feature {
    uint32_t nr[2];   /* items of each side */
    uint32_t last[2]; /* the item that had it last, + 1: each counts once */
    uint32_t type;    /* of the rebuild's items */
    bool is_mixed;    /* these are of several types */
};

/* What the features of one item of the program say. */
struct verdict {
    uint32_t type; /* 0: nothing */
    bool is_contradictory;
};

/* The features of one side's items, as rows: those of item i are first[i] to first[i + 1]. */
struct item_features {
    uint32_t *rows;
    size_t nr, capacity;
    size_t *first;
};

struct matching {
    const struct match_side *sides[2];
    uint32_t *visited[2]; /* of each function: the last walk that met it */
    uint64_t *labels[2];  /* code_graph_labels, `depth` deep */
    struct item_features item_features[2];
    uint32_t nr_walks;
    uint64_t nr_reached; /* functions, all walks together: bounds the work */
    struct map ids;      /* feature -> row + 1 */
    struct feature *features;
    size_t nr_features, capacity;
    struct verdict *verdicts;
    unsigned depth;
};

/* --- what can be reached from an item -------------------------------------------------------- */

/* The row of a feature that an item of this side has; *is_first: for the first time. */
static uint32_t count_feature(struct matching *matching, int side, uint32_t item, uint64_t hash,
                              bool *is_first)
{
    uint32_t *id = map_put(&matching->ids, hash, NULL);
    if (!*id) {
        matching->features = array_reserve(matching->features, &matching->capacity,
                                           matching->nr_features + 1, sizeof(struct feature));
        matching->features[matching->nr_features++] = (struct feature){0};
        *id = (uint32_t)matching->nr_features;
    }
    struct feature *feature = &matching->features[*id - 1];
    *is_first = feature->last[side] != item + 1;
    if (!*is_first)
        return *id - 1;
    feature->last[side] = item + 1;
    feature->nr[side]++;
    if (side == REBUILD) {
        uint32_t type = matching->sides[REBUILD]->items[item].type;
        feature->is_mixed |= feature->type && feature->type != type;
        feature->type = type;
    }
    return *id - 1;
}

static void add_feature(struct matching *matching, int side, uint32_t item, uint64_t hash)
{
    struct item_features *own = &matching->item_features[side];
    bool is_first;
    uint32_t row = count_feature(matching, side, item, hash, &is_first);
    if (!is_first)
        return;
    own->rows = array_reserve(own->rows, &own->capacity, own->nr + 1, sizeof(*own->rows));
    own->rows[own->nr++] = row;
}

static void add_function(struct matching *matching, int side, uint32_t item, uint32_t row,
                         uint64_t seed)
{
    const struct code_graph *graph = matching->sides[side]->graph;
    const struct code_function *function = &graph->functions[row];
    matching->nr_reached++;
    add_feature(matching, side, item, code_hash_add(seed, function->own_hash));
    for (uint32_t i = 0; i < function->nr_facts; i++)
        add_feature(matching, side, item,
                    code_hash_add(seed + 1, graph->facts[function->first_fact + i]));
}

/* All features of one slot, the nearest functions first. */
static void walk_slot(struct matching *matching, int side, uint32_t item, unsigned slot)
{
    const struct match_side *own = matching->sides[side];
    uint32_t queue[MAX_REACHED], nr = 0, end_of_level = 1;
    uint32_t walk = ++matching->nr_walks;
    uint64_t seed = hash_u64(slot, own->items[item].group);
    if (!own->items[item].slots[slot])
        return;
    queue[nr++] = own->items[item].slots[slot] - 1;
    matching->visited[side][queue[0]] = walk;
    add_feature(matching, side, item, code_hash_add(seed + 2, matching->labels[side][queue[0]]));
    for (uint32_t at = 0, depth = 0; at < nr; at++) {
        if (at == end_of_level) {
            depth++;
            end_of_level = nr;
        }
        add_function(matching, side, item, queue[at], seed);
        const struct code_function *function = &own->graph->functions[queue[at]];
        if (depth == matching->depth)
            continue;
        for (uint32_t c = 0; c < function->nr_calls && nr < MAX_REACHED; c++) {
            uint32_t callee = own->graph->calls[function->first_call + c].callee;
            if (matching->visited[side][callee] == walk)
                continue;
            matching->visited[side][callee] = walk;
            queue[nr++] = callee;
        }
    }
}

static void collect_features(struct matching *matching, int side)
{
    const struct match_side *own = matching->sides[side];
    struct item_features *features = &matching->item_features[side];
    features->nr = 0;
    for (uint32_t i = 0; i < own->nr; i++) {
        features->first[i] = features->nr;
        for (unsigned slot = 0; !own->items[i].match && slot < MATCH_MAX_SLOTS; slot++)
            walk_slot(matching, side, i, slot);
    }
    features->first[own->nr] = features->nr;
}

/* --- votes ----------------------------------------------------------------------------------- */

/* Have equally many items of both sides the feature? */
static bool is_balanced(const struct feature *feature)
{
    return feature->nr[PROGRAM] == feature->nr[REBUILD];
}

static void vote(struct matching *matching, uint32_t item, uint32_t row)
{
    struct verdict *verdict = &matching->verdicts[item];
    const struct feature *feature = &matching->features[row];
    if (!is_balanced(feature) || feature->is_mixed)
        return;
    verdict->is_contradictory |= verdict->type && verdict->type != feature->type;
    verdict->type = feature->type;
}

static void begin_votes(struct matching *matching)
{
    memset(matching->verdicts, 0, matching->sides[PROGRAM]->nr * sizeof(*matching->verdicts));
}

/* The sum of an item's balanced features as one; 0: it has none. */
static uint64_t signature(const struct matching *matching, int side, uint32_t item)
{
    const struct item_features *own = &matching->item_features[side];
    uint64_t sum = 0;
    for (size_t f = own->first[item]; f < own->first[item + 1]; f++)
        if (is_balanced(&matching->features[own->rows[f]]))
            sum += code_hash_add(1, own->rows[f]);
    return sum ? hash_u64(sum, matching->sides[side]->items[item].group) : 0;
}

/* --- pairs ----------------------------------------------------------------------------------- */

/* The items of a group and type: how many the program claims, and the rebuild's that are left. */
struct claim {
    uint32_t nr_claimed, nr_left;
    uint32_t next; /* where the search for the next one that is left begins */
};

static uint64_t claim_key(uint64_t group, uint32_t type)
{
    return hash_u64(type, group);
}

static uint32_t next_left(const struct match_side *rebuild, struct claim *claim, uint64_t group,
                          uint32_t type)
{
    for (uint32_t r = claim->next; r < rebuild->nr; r++)
        if (!rebuild->items[r].match && rebuild->items[r].group == group &&
            rebuild->items[r].type == type) {
            claim->next = r + 1;
            return r + 1;
        }
    return 0;
}

/* One map for both sides' counts; rows are claims. */
static struct claim *count_claims(const struct matching *matching, struct map *map)
{
    const struct match_side *program = matching->sides[PROGRAM],
                            *rebuild = matching->sides[REBUILD];
    struct claim *claims = memory_alloc((rebuild->nr + 1) * sizeof(*claims));
    uint32_t nr = 0;
    for (uint32_t r = 0; r < rebuild->nr; r++) {
        const struct match_item *item = &rebuild->items[r];
        if (item->match)
            continue;
        uint32_t *row = map_put(map, claim_key(item->group, item->type), NULL);
        if (!*row) {
            claims[nr].next = r;
            *row = ++nr;
        }
        claims[*row - 1].nr_left++;
    }
    for (uint32_t p = 0; p < program->nr; p++) {
        const struct verdict *verdict = &matching->verdicts[p];
        if (!verdict->type || verdict->is_contradictory)
            continue;
        const uint32_t *row = map_find(map, claim_key(program->items[p].group, verdict->type));
        if (row)
            claims[*row - 1].nr_claimed++;
    }
    return claims;
}

static bool take_pairs(struct matching *matching)
{
    const struct match_side *program = matching->sides[PROGRAM],
                            *rebuild = matching->sides[REBUILD];
    struct map map;
    bool changed = false;
    map_init(&map);
    struct claim *claims = count_claims(matching, &map);
    for (uint32_t p = 0; p < program->nr; p++) {
        const struct verdict *verdict = &matching->verdicts[p];
        uint64_t group = program->items[p].group;
        const uint32_t *row = verdict->type && !verdict->is_contradictory
                                  ? map_find(&map, claim_key(group, verdict->type))
                                  : NULL;
        struct claim *claim = row ? &claims[*row - 1] : NULL;
        uint32_t found = claim && claim->nr_claimed <= claim->nr_left
                             ? next_left(rebuild, claim, group, verdict->type)
                             : 0;
        if (!found)
            continue;
        program->items[p].match = found;
        rebuild->items[found - 1].match = p + 1;
        changed = true;
    }
    free(claims);
    map_deinit(&map);
    return changed;
}

/* What all features of an item say together: each alone may be that of many types. */
static bool match_signatures(struct matching *matching)
{
    uint32_t *rows = memory_alloc((matching->sides[PROGRAM]->nr + 1) * sizeof(*rows));
    for (int side = REBUILD; side >= PROGRAM; side--)
        for (uint32_t i = 0; i < matching->sides[side]->nr; i++) {
            bool is_first;
            uint64_t hash = signature(matching, side, i);
            uint32_t row = hash ? count_feature(matching, side, i, hash, &is_first) + 1 : 0;
            if (side == PROGRAM)
                rows[i] = row;
        }
    begin_votes(matching);
    for (uint32_t i = 0; i < matching->sides[PROGRAM]->nr; i++)
        if (rows[i])
            vote(matching, i, rows[i] - 1);
    free(rows);
    return take_pairs(matching);
}

/* What each feature says by itself. */
static bool match_features(struct matching *matching)
{
    const struct item_features *own = &matching->item_features[PROGRAM];
    begin_votes(matching);
    for (uint32_t i = 0; i < matching->sides[PROGRAM]->nr; i++)
        for (size_t f = own->first[i]; f < own->first[i + 1]; f++)
            vote(matching, i, own->rows[f]);
    return take_pairs(matching);
}

/* All features as deep as they go now, and what they settle. */
static bool run_round(struct matching *matching)
{
    map_init(&matching->ids);
    matching->nr_features = 0;
    collect_features(matching, REBUILD);
    collect_features(matching, PROGRAM);
    bool changed = match_signatures(matching) || match_features(matching);
    map_deinit(&matching->ids);
    return changed;
}

static void matching_init(struct matching *matching)
{
    for (int side = PROGRAM; side <= REBUILD; side++) {
        const struct match_side *own = matching->sides[side];
        matching->visited[side] =
            memory_alloc((own->graph->nr_functions + 1) * sizeof(*matching->visited[side]));
        matching->labels[side] = code_graph_labels(own->graph);
        matching->item_features[side].first = memory_alloc((own->nr + 1) * sizeof(size_t));
    }
    matching->verdicts =
        memory_alloc((matching->sides[PROGRAM]->nr + 1) * sizeof(*matching->verdicts));
}

static void matching_deinit(struct matching *matching)
{
    for (int side = PROGRAM; side <= REBUILD; side++) {
        free(matching->visited[side]);
        free(matching->labels[side]);
        free(matching->item_features[side].rows);
        free(matching->item_features[side].first);
    }
    free(matching->verdicts);
    free(matching->features);
}

/* The nearest evidence is the best: what it settles is out of the way of the next. */
void code_match(const struct match_side *program, const struct match_side *rebuild)
{
    struct matching matching = {.sides = {program, rebuild}};
    matching_init(&matching);
    for (; matching.depth <= MAX_DEPTH && matching.nr_reached < MAX_REACHED_ALL; matching.depth++) {
        for (int round = 0; round < MAX_ROUNDS && run_round(&matching); round++)
            continue;
        code_graph_deepen(program->graph, &matching.labels[PROGRAM]);
        code_graph_deepen(rebuild->graph, &matching.labels[REBUILD]);
    }
    matching_deinit(&matching);
}

/* --- single functions ------------------------------------------------------------------------ */

static void map_only(struct map *only, const uint64_t *labels, size_t nr)
{
    map_init(only);
    for (uint32_t i = 0; i < nr; i++) {
        bool is_new;
        uint32_t *row = map_put(only, labels[i], &is_new);
        *row = is_new ? i + 1 : 0;
    }
}

void function_match_init(struct function_match *match, const struct code_graph *program,
                         const struct code_graph *rebuild)
{
    *match = (struct function_match){.graphs = {program, rebuild}};
    for (int side = PROGRAM; side <= REBUILD; side++) {
        const struct code_graph *graph = match->graphs[side];
        uint64_t *labels = code_graph_labels(graph);
        for (unsigned depth = 0; depth < MATCH_LABEL_DEPTHS; depth++) {
            if (depth)
                code_graph_deepen(graph, &labels);
            map_only(&match->only[side][depth], labels, graph->nr_functions);
            if (side == REBUILD) {
                match->labels[depth] = memory_alloc((graph->nr_functions + 1) * sizeof(*labels));
                memcpy(match->labels[depth], labels, graph->nr_functions * sizeof(*labels));
            }
        }
        free(labels);
    }
}

void function_match_deinit(struct function_match *match)
{
    for (unsigned depth = 0; depth < MATCH_LABEL_DEPTHS; depth++) {
        free(match->labels[depth]);
        map_deinit(&match->only[PROGRAM][depth]);
        map_deinit(&match->only[REBUILD][depth]);
    }
}

/* Is a callee of one another function than that of the other, both being in both builds? */
static bool calls_differ(const struct function_match *match, uint32_t row, uint32_t other)
{
    const struct code_graph *program = match->graphs[PROGRAM], *rebuild = match->graphs[REBUILD];
    const struct code_function *a = &program->functions[row], *b = &rebuild->functions[other];
    for (uint32_t i = 0; i < a->nr_calls && i < b->nr_calls; i++) {
        uint64_t left = program->functions[program->calls[a->first_call + i].callee].own_hash;
        uint64_t right = rebuild->functions[rebuild->calls[b->first_call + i].callee].own_hash;
        if (left != right && map_find(&match->only[REBUILD][0], left) &&
            map_find(&match->only[PROGRAM][0], right))
            return true;
    }
    return false;
}

uint32_t function_match_find(const struct function_match *match, uint32_t row)
{
    const struct code_function *function = &match->graphs[REBUILD]->functions[row];
    for (unsigned depth = 0; depth < MATCH_LABEL_DEPTHS; depth++) {
        uint64_t label = match->labels[depth][row];
        const uint32_t *own = map_find(&match->only[REBUILD][depth], label);
        const uint32_t *found = map_find(&match->only[PROGRAM][depth], label);
        if (!own || !*own || !found || !*found)
            continue;
        uint64_t name = match->graphs[PROGRAM]->functions[*found - 1].name_hash;
        bool is_other = name && function->name_hash && name != function->name_hash;
        return is_other || calls_differ(match, *found - 1, row) ? 0 : *found;
    }
    return 0;
}
