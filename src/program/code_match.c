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
    uint32_t signed_last[2];
    uint32_t type; /* of the rebuild's items */
    bool is_mixed; /* these are of several types */
};

struct matching {
    const struct match_side *sides[2];
    uint32_t *visited[2]; /* of each function: the last walk that met it */
    uint64_t *labels[2];  /* code_graph_labels, `depth` deep */
    uint32_t nr_walks;
    uint64_t nr_reached; /* functions, all walks together: bounds the work */
    struct map ids;      /* feature -> row + 1 */
    struct feature *features;
    size_t nr_features, capacity;
    unsigned depth;
};

typedef void see_feature(struct matching *matching, int side, uint32_t item, uint64_t feature);

/* --- what can be reached from an item -------------------------------------------------------- */

static void see_function(struct matching *matching, int side, uint32_t item, uint32_t row,
                         uint64_t seed, see_feature *see)
{
    const struct code_graph *graph = matching->sides[side]->graph;
    const struct code_function *function = &graph->functions[row];
    see(matching, side, item, hash_u64(function->own_hash, seed));
    for (uint32_t i = 0; i < function->nr_facts; i++)
        see(matching, side, item, hash_u64(graph->facts[function->first_fact + i], seed + 1));
}

/* All features of one slot, the nearest functions first. */
static void walk_slot(struct matching *matching, int side, uint32_t item, unsigned slot,
                      see_feature *see)
{
    const struct match_side *own = matching->sides[side];
    uint32_t queue[MAX_REACHED], nr = 0, end_of_level;
    uint32_t walk = ++matching->nr_walks;
    uint64_t seed = hash_u64(slot, own->items[item].group);
    if (!own->items[item].slots[slot])
        return;
    queue[nr++] = own->items[item].slots[slot] - 1;
    matching->visited[side][queue[0]] = walk;
    see(matching, side, item, hash_u64(matching->labels[side][queue[0]], seed + 2));
    end_of_level = 1;
    for (uint32_t at = 0, depth = 0; at < nr; at++) {
        if (at == end_of_level) {
            depth++;
            end_of_level = nr;
        }
        matching->nr_reached++;
        see_function(matching, side, item, queue[at], seed, see);
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

static void walk_items(struct matching *matching, int side, see_feature *see)
{
    const struct match_side *own = matching->sides[side];
    for (uint32_t i = 0; i < own->nr; i++)
        for (unsigned slot = 0; !own->items[i].match && slot < MATCH_MAX_SLOTS; slot++)
            walk_slot(matching, side, i, slot, see);
}

/* --- votes ----------------------------------------------------------------------------------- */

static void count_feature(struct matching *matching, int side, uint32_t item, uint64_t hash)
{
    uint32_t *id = map_put(&matching->ids, hash, NULL);
    if (!*id) {
        matching->features = array_reserve(matching->features, &matching->capacity,
                                           matching->nr_features + 1, sizeof(struct feature));
        matching->features[matching->nr_features++] = (struct feature){0};
        *id = (uint32_t)matching->nr_features;
    }
    struct feature *feature = &matching->features[*id - 1];
    if (feature->last[side] == item + 1)
        return;
    feature->last[side] = item + 1;
    feature->nr[side]++;
    if (side == REBUILD) {
        uint32_t type = matching->sides[REBUILD]->items[item].type;
        feature->is_mixed |= feature->type && feature->type != type;
        feature->type = type;
    }
}

/* What the features of one item of the program say. */
struct verdict {
    uint32_t type; /* 0: nothing */
    bool is_contradictory;
};

struct voting {
    struct matching matching; /* first: the callback gets it */
    struct verdict *verdicts;
    uint64_t *signatures[2]; /* of each item: the sum of its features that are balanced */
};

/* Have equally many items of both sides the feature? */
static bool is_balanced(const struct feature *feature)
{
    return feature && feature->nr[PROGRAM] == feature->nr[REBUILD];
}

static struct feature *find_feature(const struct matching *matching, uint64_t hash)
{
    const uint32_t *id = map_find(&matching->ids, hash);
    return id ? &matching->features[*id - 1] : NULL;
}

static void sign(struct matching *matching, int side, uint32_t item, uint64_t hash)
{
    struct voting *voting = (struct voting *)matching;
    struct feature *feature = find_feature(matching, hash);
    if (!is_balanced(feature) || feature->signed_last[side] == item + 1)
        return;
    feature->signed_last[side] = item + 1;
    voting->signatures[side][item] += hash_u64(hash, 0);
}

static void vote(struct matching *matching, int side, uint32_t item, uint64_t hash)
{
    struct voting *voting = (struct voting *)matching;
    struct verdict *verdict = &voting->verdicts[item];
    const struct feature *feature = find_feature(matching, hash);
    (void)side;
    if (!is_balanced(feature) || feature->is_mixed)
        return;
    verdict->is_contradictory |= verdict->type && verdict->type != feature->type;
    verdict->type = feature->type;
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
static struct claim *count_claims(const struct voting *voting, struct map *map)
{
    const struct match_side *program = voting->matching.sides[PROGRAM],
                            *rebuild = voting->matching.sides[REBUILD];
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
        const struct verdict *verdict = &voting->verdicts[p];
        if (!verdict->type || verdict->is_contradictory)
            continue;
        const uint32_t *row = map_find(map, claim_key(program->items[p].group, verdict->type));
        if (row)
            claims[*row - 1].nr_claimed++;
    }
    return claims;
}

static bool take_pairs(struct voting *voting)
{
    const struct match_side *program = voting->matching.sides[PROGRAM],
                            *rebuild = voting->matching.sides[REBUILD];
    struct map map;
    bool changed = false;
    map_init(&map);
    struct claim *claims = count_claims(voting, &map);
    for (uint32_t p = 0; p < program->nr; p++) {
        const struct verdict *verdict = &voting->verdicts[p];
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

static void begin_count(struct matching *matching)
{
    map_deinit(&matching->ids);
    map_init(&matching->ids);
    matching->nr_features = 0;
}

static void walk_signatures(struct voting *voting, int side, see_feature *see)
{
    const struct match_side *own = voting->matching.sides[side];
    for (uint32_t i = 0; i < own->nr; i++)
        if (!own->items[i].match && voting->signatures[side][i])
            see(&voting->matching, side, i,
                hash_u64(voting->signatures[side][i], own->items[i].group));
}

/* What all features of an item say together: one alone may be that of many types. */
static bool match_signatures(struct voting *voting)
{
    struct matching *matching = &voting->matching;
    for (int side = PROGRAM; side <= REBUILD; side++) {
        memset(voting->signatures[side], 0, matching->sides[side]->nr * sizeof(uint64_t));
        walk_items(matching, side, sign);
    }
    begin_count(matching);
    walk_signatures(voting, REBUILD, count_feature);
    walk_signatures(voting, PROGRAM, count_feature);
    walk_signatures(voting, PROGRAM, vote);
    return take_pairs(voting);
}

static void count_features(struct voting *voting)
{
    struct matching *matching = &voting->matching;
    begin_count(matching);
    memset(voting->verdicts, 0, matching->sides[PROGRAM]->nr * sizeof(*voting->verdicts));
    walk_items(matching, REBUILD, count_feature);
    walk_items(matching, PROGRAM, count_feature);
}

/* All features as deep as they go now, and what they settle. */
static bool run_round(struct voting *voting)
{
    count_features(voting);
    if (match_signatures(voting))
        return true;
    count_features(voting);
    walk_items(&voting->matching, PROGRAM, vote);
    return take_pairs(voting);
}

/* The nearest evidence is the best: what it settles is out of the way of the next. */
void code_match(const struct match_side *program, const struct match_side *rebuild)
{
    struct voting voting = {.matching = {.sides = {program, rebuild}}};
    struct matching *matching = &voting.matching;
    for (int side = PROGRAM; side <= REBUILD; side++) {
        matching->visited[side] = memory_alloc((matching->sides[side]->graph->nr_functions + 1) *
                                               sizeof(*matching->visited[side]));
        matching->labels[side] = code_graph_labels(matching->sides[side]->graph);
        voting.signatures[side] = memory_alloc((matching->sides[side]->nr + 1) * sizeof(uint64_t));
    }
    voting.verdicts = memory_alloc((program->nr + 1) * sizeof(*voting.verdicts));
    for (; matching->depth <= MAX_DEPTH && matching->nr_reached < MAX_REACHED_ALL;
         matching->depth++) {
        for (int round = 0; round < MAX_ROUNDS && run_round(&voting); round++)
            continue;
        code_graph_deepen(program->graph, &matching->labels[PROGRAM]);
        code_graph_deepen(rebuild->graph, &matching->labels[REBUILD]);
    }
    free(voting.verdicts);
    free(matching->features);
    map_deinit(&matching->ids);
    for (int side = PROGRAM; side <= REBUILD; side++) {
        free(matching->visited[side]);
        free(matching->labels[side]);
        free(voting.signatures[side]);
    }
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
