/* The checker: see tests/support/linearize.h. */
#include "support/linearize.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (LIN_OPS_MAX / 64)
#define STEPS_MAX 50000000

struct state {
    uint64_t value[2];
};

/* One end of an operation in the list that the search unlinks from and relinks into, in order of
 * time. */
struct entry {
    const struct lin_op *op;
    int id; /* of the operation */
    bool is_call;
    int64_t at;
    struct entry *match; /* the call's return */
    struct entry *prev, *next;
};

struct visited {
    uint64_t done[WORDS];
    struct state state;
    bool used;
};

struct search {
    struct entry *entries, head;
    size_t n; /* operations */
    struct visited *set;
    size_t set_n, set_cap;
    uint64_t done[WORDS];
};

/* ---- the object ---- */

static bool step(const struct lin_op *op, const struct state *from, struct state *to)
{
    *to = *from;
    if (op->kind == LIN_GET)
        return op->unknown || op->value[op->key] == from->value[op->key];
    if (op->kind == LIN_SNAP)
        return op->unknown || (op->value[0] == from->value[0] && op->value[1] == from->value[1]);
    bool holds = true;
    for (int k = 0; k < 2; k++)
        holds &= !(op->compared & (1 << k)) || op->expect[k] == from->value[k];
    for (int k = 0; k < 2; k++) {
        if (holds && op->mask & (1 << k))
            to->value[k] = op->value[k];
    }
    return op->unknown || holds == op->done;
}

/* ---- visited states ---- */

static uint64_t hash(const uint64_t done[WORDS], const struct state *s)
{
    uint64_t h = s->value[0] * 0x9e3779b97f4a7c15u ^ s->value[1];
    for (int i = 0; i < WORDS; i++)
        h = (h ^ done[i]) * 0xbf58476d1ce4e5b9u ^ (h >> 29);
    return h;
}

static struct visited *slot(struct visited *set, size_t cap, const uint64_t done[WORDS],
                            const struct state *s)
{
    size_t i = hash(done, s) & (cap - 1);
    while (set[i].used && (memcmp(set[i].done, done, sizeof set[i].done) != 0 ||
                           memcmp(&set[i].state, s, sizeof *s) != 0))
        i = (i + 1) & (cap - 1);
    return &set[i];
}

static void grow(struct search *q)
{
    size_t cap = q->set_cap ? q->set_cap * 2 : 1024;
    struct visited *set = calloc(cap, sizeof *set);
    if (!set)
        abort();
    for (size_t i = 0; i < q->set_cap; i++) {
        if (q->set[i].used)
            *slot(set, cap, q->set[i].done, &q->set[i].state) = q->set[i];
    }
    free(q->set);
    q->set = set;
    q->set_cap = cap;
}

/* True the first time. */
static bool remember(struct search *q, const struct state *s)
{
    if (q->set_n * 2 >= q->set_cap)
        grow(q);
    struct visited *v = slot(q->set, q->set_cap, q->done, s);
    if (v->used)
        return false;
    memcpy(v->done, q->done, sizeof v->done);
    v->state = *s;
    v->used = true;
    q->set_n++;
    return true;
}

/* ---- the search ---- */

static void lift(struct entry *call)
{
    call->prev->next = call->next;
    call->next->prev = call->prev;
    struct entry *ret = call->match;
    ret->prev->next = ret->next;
    if (ret->next)
        ret->next->prev = ret->prev;
}

static void put_back(struct entry *call)
{
    struct entry *ret = call->match;
    ret->prev->next = ret;
    if (ret->next)
        ret->next->prev = ret;
    call->prev->next = call;
    call->next->prev = call;
}

/* Only returns of unknown operations are left: those need not have happened. */
static bool all_optional(const struct entry *e)
{
    for (; e; e = e->next) {
        if (!e->op->unknown)
            return false;
    }
    return true;
}

struct frame {
    struct entry *call;
    struct state before;
};

static enum lin_verdict search_object(struct search *q, struct frame *stack)
{
    struct state s = {{0, 0}};
    struct entry *e = q->head.next;
    size_t depth = 0;
    for (long steps = 0; !all_optional(q->head.next); steps++) {
        if (steps > STEPS_MAX)
            return LIN_UNDECIDED;
        struct state after;
        if (e && e->is_call) {
            bool legal = step(e->op, &s, &after);
            q->done[e->id / 64] |= (uint64_t)1 << (e->id % 64);
            if (legal && remember(q, &after)) {
                stack[depth++] = (struct frame){e, s};
                s = after;
                lift(e);
                e = q->head.next;
                continue;
            }
            q->done[e->id / 64] &= ~((uint64_t)1 << (e->id % 64));
            e = e->next;
            continue;
        }
        /* A return whose call could not be placed before it; or the end of the list. */
        if (depth == 0)
            return LIN_BAD;
        struct frame f = stack[--depth];
        s = f.before;
        q->done[f.call->id / 64] &= ~((uint64_t)1 << (f.call->id % 64));
        put_back(f.call);
        e = f.call->next;
    }
    return LIN_OK;
}

static int by_time(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)y->is_call -
           (int)x->is_call; /* at one moment: calls first, which only allows more */
}

static enum lin_verdict check_object(const struct lin_op *const *ops, size_t n)
{
    struct search q = {.n = n};
    struct entry *entries = calloc(n * 2 + 1, sizeof *entries),
                 **order = calloc(n * 2 + 1, sizeof *order);
    struct frame *stack = calloc(n + 1, sizeof *stack);
    if (!entries || !order || !stack)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct entry *call = &entries[i * 2], *ret = &entries[i * 2 + 1];
        *call = (struct entry){
            .op = ops[i], .id = (int)i, .is_call = true, .at = ops[i]->call, .match = ret};
        *ret = (struct entry){
            .op = ops[i], .id = (int)i, .at = ops[i]->unknown ? INT64_MAX : ops[i]->ret};
        order[i * 2] = call;
        order[i * 2 + 1] = ret;
    }
    qsort(order, n * 2, sizeof *order, by_time);
    struct entry *last = &q.head;
    for (size_t i = 0; i < n * 2; i++) {
        last->next = order[i];
        order[i]->prev = last;
        last = order[i];
    }
    enum lin_verdict verdict = search_object(&q, stack);
    free(q.set);
    free(entries);
    free(order);
    free(stack);
    return verdict;
}

/* ---- revisions ---- */

static int by_revision(const void *a, const void *b)
{
    const struct lin_op *x = *(const struct lin_op *const *)a,
                        *y = *(const struct lin_op *const *)b;
    return x->revision < y->revision ? -1 : x->revision > y->revision;
}

/* Writes in order of revision: none may have returned before one of lower revision was called. */
static enum lin_verdict check_revisions(const struct lin_op *ops, size_t n, char *why, size_t room)
{
    const struct lin_op **w = calloc(n + 1, sizeof *w);
    size_t m = 0;
    enum lin_verdict verdict = LIN_OK;
    if (!w)
        abort();
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind == LIN_WRITE && ops[i].done && !ops[i].unknown)
            w[m++] = &ops[i];
    }
    qsort(w, m, sizeof *w, by_revision);
    int64_t earliest_return = INT64_MAX;
    for (size_t i = m; i-- > 0 && verdict == LIN_OK;) {
        bool twice = i + 1 < m && w[i]->revision == w[i + 1]->revision;
        if (twice || w[i]->call > earliest_return) {
            snprintf(why, room, "revision %llu %s", (unsigned long long)w[i]->revision,
                     twice ? "was given to two writes"
                           : "was given after a higher one had been answered");
            verdict = LIN_BAD;
        }
        earliest_return = w[i]->ret < earliest_return ? w[i]->ret : earliest_return;
    }
    free(w);
    return verdict;
}

enum lin_verdict lin_check(const struct lin_op *ops, size_t n, char *why, size_t room)
{
    uint32_t objects = 0;
    enum lin_verdict verdict = check_revisions(ops, n, why, room);
    for (size_t i = 0; i < n; i++)
        objects = ops[i].object >= objects ? ops[i].object + 1 : objects;
    for (uint32_t object = 0; object < objects && verdict == LIN_OK; object++) {
        const struct lin_op *mine[LIN_OPS_MAX];
        size_t m = 0;
        for (size_t i = 0; i < n; i++) {
            if (ops[i].object != object)
                continue;
            if (m == LIN_OPS_MAX)
                return LIN_UNDECIDED;
            mine[m++] = &ops[i];
        }
        verdict = check_object(mine, m);
        if (verdict != LIN_OK)
            snprintf(why, room, "object %u: its %zu operations %s", object, m,
                     verdict == LIN_BAD ? "fit no order" : "are too many to decide");
    }
    return verdict;
}
