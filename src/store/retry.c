/* The retry decorator: repeats what failed in a way worth repeating, where repeating is safe.
 *
 * stat, list and write_part are simply called again after a pause. A read goes in rounds: what a
 * round told as read is told on at once; what failed transiently is kept back, and the next
 * round, run by a thread of the batch's own, fetches the bytes still missing and nothing else.
 * The pauses grow exponentially with full jitter.
 *
 * Everything else is passed through: a complete or a rename whose reply was lost may have been
 * done.
 */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"
#include "store/util.h"
#include "store/wrap.h"

struct retry_store {
    struct lode_wrap wrap;
    struct lode_retry_policy policy;
};

struct retry_write {
    struct lode_wrap_write wrap;
    struct retry_store *store;
};

static const struct lode_store_ops retry_ops;

static struct retry_store *retry_of(struct lode_store *self)
{
    return (struct retry_store *)(void *)self;
}

/* ---- when to try again ---- */

struct tries {
    const struct lode_retry_policy *policy;
    unsigned made;
    int64_t deadline_ms; /* on lode_mono_ms(); INT64_MAX for none */
};

static struct tries tries_start(const struct retry_store *self)
{
    int64_t budget = self->policy.budget_ms;
    return (struct tries){&self->policy, 1, budget > 0 ? lode_mono_ms() + budget : INT64_MAX};
}

static int64_t pause_ms(const struct tries *tries)
{
    const struct lode_retry_policy *policy = tries->policy;
    unsigned doublings = lode_min(tries->made - 1, 30u);
    int64_t most = policy->base_ms > (policy->max_ms >> doublings) ? policy->max_ms
                                                                   : policy->base_ms << doublings;
    uint32_t random = 0;
    if (lode_sys->getrandom(&random, sizeof random) < 0)
        random = UINT32_MAX / 2; /* half of it is as good */
    return most <= 0 ? 0 : (int64_t)(random % (uint64_t)(most + 1));
}

/* True if a failure with `code` is to be tried again, *pause from now. */
static bool tries_again(struct tries *tries, int code, int64_t *pause)
{
    if (!lode_code_is_transient(code) || tries->made >= tries->policy->attempts)
        return false;
    *pause = pause_ms(tries);
    if (tries->deadline_ms != INT64_MAX && lode_mono_ms() + *pause >= tries->deadline_ms)
        return false;
    tries->made++;
    return true;
}

/* Around one call: `do r = call; while (again(...));` */
static bool again(struct tries *tries, int r, struct lode_err *err)
{
    int64_t pause;
    if (r == 0 && tries->made > 1)
        lode_err_clear(err);
    if (r == 0 || !tries_again(tries, r, &pause))
        return false;
    lode_log_debug("trying again in %lld ms: %s", (long long)pause,
                   err ? err->text : lode_code_name(r));
    lode_sleep_ms(pause);
    return true;
}

static int retry_stat(struct lode_store *self, const char *key, struct lode_store_stat *out,
                      struct lode_err *err)
{
    struct tries tries = tries_start(retry_of(self));
    int r;
    do
        r = lode_wrap_stat(self, key, out, err);
    while (again(&tries, r, err));
    return r;
}

static int retry_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                      struct lode_store_page *out, struct lode_err *err)
{
    struct tries tries = tries_start(retry_of(self));
    int r;
    do
        r = lode_wrap_list(self, dir, after, limit, out, err);
    while (again(&tries, r, err));
    return r;
}

/* ---- write ---- */

static int retry_write_begin(struct lode_store *self, const char *key,
                             const struct lode_store_write_opts *opts,
                             struct lode_store_write **out, struct lode_err *err)
{
    struct retry_write *write = lode_zalloc(sizeof *write);
    if (!write)
        return lode_err_nomem(err, "a write");
    write->wrap.ops = &retry_ops;
    write->store = retry_of(self);
    int r = lode_wrap_write_begin(self, key, opts, &write->wrap.inner, err);
    if (r < 0) {
        lode_free(write);
        return r;
    }
    *out = (struct lode_store_write *)(void *)write;
    return 0;
}

static int retry_write_part(struct lode_store_write *handle, uint32_t number, const void *data,
                            size_t len, struct lode_err *err)
{
    struct retry_write *write = (struct retry_write *)(void *)handle;
    struct tries tries = tries_start(write->store);
    int r;
    do
        r = lode_store_write_part(write->wrap.inner, number, data, len, err);
    while (again(&tries, r, err));
    return r;
}

static int retry_write_complete(struct lode_store_write *handle, uint64_t size, bool if_absent,
                                struct lode_err *err)
{
    struct retry_write *write = (struct retry_write *)(void *)handle;
    int r = lode_store_write_complete(write->wrap.inner, size, if_absent, err);
    lode_free(write);
    return r;
}

static void retry_write_abort(struct lode_store_write *handle, bool keep)
{
    struct retry_write *write = (struct retry_write *)(void *)handle;
    lode_store_write_abort(write->wrap.inner, keep);
    lode_free(write);
}

/* ---- read ---- */

/* One piece of a range that a round fetches. */
struct piece {
    size_t i;    /* the caller's range */
    size_t base; /* of the piece in it */
    size_t got;  /* bytes that came */
    size_t told; /* of them, those that the caller has been told of */
    struct span {
        size_t from, len;
    } * spans; /* where, relative to the piece; owned */
    size_t n_spans, cap;
    bool spans_lost; /* out of memory: it cannot be known what to ask for again */
    bool failed, ended;
    struct lode_err *again; /* owned; the failure that is worth a retry */
};

struct round {
    struct lode_store_range *ranges; /* of the inner store, one a piece */
    struct piece *pieces;
    size_t n;
    size_t open; /* pieces that have not ended */
    size_t kept; /* pieces that are worth a retry */
    struct lode_store_read *inner;
    bool begun; /* `inner` is known */
};

struct retry_read {
    const struct lode_store_ops *ops;
    struct retry_store *store;
    struct lode_relay relay;
    struct tries tries;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct round round;
    bool cancelled;
    bool driven; /* somebody runs run_rounds() */
    bool has_thread;
    pthread_t thread;
};

static void round_release(struct round *round)
{
    for (size_t k = 0; k < round->n; k++) {
        lode_free(round->pieces[k].spans);
        lode_free(round->pieces[k].again);
    }
    lode_free(round->pieces);
    lode_free(round->ranges);
    *round = (struct round){0};
}

static int round_init(struct round *round, size_t n, struct lode_err *err)
{
    *round = (struct round){.open = n};
    round->ranges = lode_calloc(n, sizeof *round->ranges);
    round->pieces = lode_calloc(n, sizeof *round->pieces);
    if (round->ranges && round->pieces) {
        round->n = n;
        return 0;
    }
    round_release(round);
    return lode_err_nomem(err, "a read");
}

/* Remembers where bytes came; neighbours are joined. */
static void note_span(struct piece *piece, size_t from, size_t len)
{
    struct span *last = piece->n_spans ? &piece->spans[piece->n_spans - 1] : NULL;
    piece->got += len;
    if (last && last->from + last->len == from)
        last->len += len;
    else if (lode_grow((void **)&piece->spans, &piece->cap, piece->n_spans + 1,
                       sizeof *piece->spans) < 0)
        piece->spans_lost = true;
    else
        piece->spans[piece->n_spans++] = (struct span){from, len};
}

/* Keeps a failure back; false if it is final. Called with the lock held. */
static bool keep_back(struct retry_read *read, struct piece *piece, const struct lode_err *failure)
{
    if (!lode_code_is_transient(failure->code) || read->cancelled || piece->spans_lost)
        return false;
    piece->again = lode_memdup(failure, sizeof *failure);
    read->round.kept += piece->again != NULL;
    return piece->again;
}

static void *run_rounds(void *arg);

/* Ends a piece of which nothing is on its way; the last of a round with something to repeat
 * starts the thread. Called with the lock held. */
static void end_piece(struct retry_read *read, struct piece *piece, size_t len)
{
    if (piece->ended || (piece->failed ? piece->told != piece->got : piece->told != len))
        return;
    piece->ended = true;
    if (--read->round.open > 0)
        return;
    pthread_cond_broadcast(&read->changed);
    if (read->round.kept == 0 || read->driven || read->cancelled)
        return;
    read->has_thread = pthread_create(&read->thread, NULL, run_rounds, read) == 0;
    read->driven = read->has_thread; /* without a thread read_wait does it */
}

static void came(struct retry_read *read, struct piece *piece, size_t from, size_t len)
{
    pthread_mutex_lock(&read->lock);
    note_span(piece, from, len);
    pthread_mutex_unlock(&read->lock);
    lode_relay_ok(&read->relay, piece->i, piece->base + from, len);
    pthread_mutex_lock(&read->lock);
    piece->told += len;
}

static void failed(struct retry_read *read, struct piece *piece, size_t len,
                   const struct lode_err *failure)
{
    pthread_mutex_lock(&read->lock);
    size_t missing = len - piece->got;
    bool final = !keep_back(read, piece, failure);
    pthread_mutex_unlock(&read->lock);
    if (final)
        lode_relay_fail(&read->relay, piece->i, missing, failure);
    pthread_mutex_lock(&read->lock);
    piece->failed = true;
}

static void arrived(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                    const struct lode_err *failure)
{
    struct retry_read *read = arg;
    struct piece *piece = &read->round.pieces[range - read->round.ranges];
    if (failure)
        failed(read, piece, range->len, failure);
    else
        came(read, piece, from, len);
    end_piece(read, piece, range->len); /* both came back with the lock */
    pthread_mutex_unlock(&read->lock);
}

/* ---- the rounds after the first ---- */

static int by_place(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* The gaps of a kept-back piece: how many, and with `into` as pieces of the next round from `at`
 * on. */
static size_t gaps(struct piece *piece, const struct lode_store_range *range, struct round *into,
                   size_t at)
{
    if (piece->n_spans > 0)
        qsort(piece->spans, piece->n_spans, sizeof *piece->spans, by_place);
    size_t n = 0, from = 0;
    for (size_t k = 0; k <= piece->n_spans; k++) {
        size_t end = k < piece->n_spans ? piece->spans[k].from : range->len;
        if (LODE_PLANTED(store_retry_reads_all) && k < piece->n_spans)
            continue;
        if (end > from && into) {
            into->pieces[at + n] = (struct piece){.i = piece->i, .base = piece->base + from};
            into->ranges[at + n] = (struct lode_store_range){
                range->key, range->offset + from, end - from, (char *)range->into + from};
        }
        n += end > from;
        from = k < piece->n_spans ? end + piece->spans[k].len : from;
    }
    return n;
}

static int round_of_gaps(struct round *old, struct round *next, struct lode_err *err)
{
    size_t n = 0;
    for (size_t k = 0; k < old->n; k++)
        n += old->pieces[k].again ? gaps(&old->pieces[k], &old->ranges[k], NULL, 0) : 0;
    int r = round_init(next, n, err);
    for (size_t k = 0, at = 0; r == 0 && k < old->n; k++)
        at += old->pieces[k].again ? gaps(&old->pieces[k], &old->ranges[k], next, at) : 0;
    return r;
}

/* What was kept back is final after all. */
static void give_up(struct retry_read *read)
{
    for (size_t k = 0; k < read->round.n; k++) {
        struct piece *piece = &read->round.pieces[k];
        if (piece->again)
            lode_relay_fail(&read->relay, piece->i, read->round.ranges[k].len - piece->got,
                            piece->again);
    }
}

/* Waits until the round is over or the read is cancelled, and ends the inner read. True if it
 * was cancelled. */
static bool finish_round(struct retry_read *read)
{
    pthread_mutex_lock(&read->lock);
    while (!read->round.begun || (read->round.open > 0 && !read->cancelled))
        pthread_cond_wait(&read->changed, &read->lock);
    bool cancelled = read->cancelled;
    struct lode_store_read *inner = lode_steal(read->round.inner);
    pthread_mutex_unlock(&read->lock);
    if (inner && cancelled)
        lode_store_read_cancel(inner);
    else if (inner && lode_store_read_wait(inner, NULL) < 0)
        return cancelled; /* its failures came range by range */
    return cancelled;
}

/* True when the pause is over, false when the read was cancelled in it. */
static bool pause_before(struct retry_read *read, int64_t ms)
{
    uint64_t until = lode_mono_ns() + (uint64_t)ms * 1000000;
    pthread_mutex_lock(&read->lock);
    while (!read->cancelled && lode_mono_ns() < until)
        lode_cond_wait_until(&read->changed, &read->lock, until);
    bool cancelled = read->cancelled;
    pthread_mutex_unlock(&read->lock);
    return !cancelled;
}

static void begun(struct retry_read *read, struct lode_store_read *inner)
{
    pthread_mutex_lock(&read->lock);
    read->round.inner = inner;
    read->round.begun = true;
    pthread_cond_broadcast(&read->changed);
    pthread_mutex_unlock(&read->lock);
}

/* Nothing of the round was started: each piece failed with the same. */
static void fail_round(struct retry_read *read, const struct lode_err *failure)
{
    for (size_t k = 0; k < read->round.n; k++)
        arrived(read, &read->round.ranges[k], 0, read->round.ranges[k].len, failure);
    begun(read, NULL);
}

/* Starts the next round; false when there is none. */
static bool next_round(struct retry_read *read)
{
    struct round next;
    int64_t pause;
    int code = 0;
    for (size_t k = 0; code == 0 && k < read->round.n; k++)
        code = read->round.pieces[k].again ? read->round.pieces[k].again->code : 0;
    if (code == 0)
        return false;
    if (!tries_again(&read->tries, code, &pause) || round_of_gaps(&read->round, &next, NULL) < 0) {
        give_up(read);
        return false;
    }
    bool go_on = pause_before(read, pause);
    pthread_mutex_lock(&read->lock);
    round_release(&read->round);
    read->round = next;
    pthread_mutex_unlock(&read->lock);
    if (!go_on)
        return false;
    struct lode_err failure = {0};
    struct lode_store_read *inner = NULL;
    if (lode_wrap_read((struct lode_store *)(void *)read->store, read->round.ranges, read->round.n,
                       arrived, read, &inner, &failure) < 0)
        fail_round(read, &failure);
    else
        begun(read, inner);
    return true;
}

static void *run_rounds(void *arg)
{
    struct retry_read *read = arg;
    while (!finish_round(read) && next_round(read))
        continue;
    return NULL;
}

/* ---- operations of a read ---- */

static void read_free(struct retry_read *read)
{
    round_release(&read->round);
    lode_relay_release(&read->relay);
    pthread_mutex_destroy(&read->lock);
    pthread_cond_destroy(&read->changed);
    lode_free(read);
}

static int read_new(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                    lode_store_read_done *done, void *arg, struct retry_read **out,
                    struct lode_err *err)
{
    struct retry_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = &retry_ops;
    read->store = retry_of(store);
    read->tries = tries_start(read->store);
    int r = lode_relay_init(&read->relay, ranges, n, done, arg, err);
    if (r < 0) {
        lode_free(read);
        return r;
    }
    pthread_mutex_init(&read->lock, NULL);
    lode_cond_init(&read->changed);
    r = round_init(&read->round, n, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        read->round.ranges[i] = ranges[i];
        read->round.pieces[i] = (struct piece){.i = i};
    }
    if (r < 0)
        read_free(read);
    else
        *out = read;
    return r;
}

static int retry_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                      lode_store_read_done *done, void *arg, struct lode_store_read **out,
                      struct lode_err *err)
{
    struct retry_read *read = NULL;
    struct lode_store_read *inner = NULL;
    struct lode_err failure = {0};
    int r = read_new(store, ranges, n, done, arg, &read, err);
    if (r < 0)
        return r;
    r = lode_wrap_read(store, read->round.ranges, n, arrived, read, &inner, &failure);
    if (r < 0 && !lode_code_is_transient(r)) {
        read_free(read);
        if (err)
            *err = failure;
        return r;
    }
    if (r < 0)
        fail_round(read, &failure);
    else
        begun(read, inner);
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

/* Joins the thread that runs the rounds, or runs them here. */
static void drive(struct retry_read *read, bool cancel)
{
    pthread_mutex_lock(&read->lock);
    read->cancelled = cancel;
    read->driven = true;
    bool has_thread = read->has_thread;
    pthread_cond_broadcast(&read->changed);
    pthread_mutex_unlock(&read->lock);
    if (has_thread)
        pthread_join(read->thread, NULL);
    else
        run_rounds(read);
}

static int retry_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct retry_read *read = (struct retry_read *)(void *)handle;
    drive(read, false);
    int r = lode_relay_result(&read->relay, err);
    read_free(read);
    return r;
}

static void retry_read_cancel(struct lode_store_read *handle)
{
    struct retry_read *read = (struct retry_read *)(void *)handle;
    drive(read, true);
    read_free(read);
}

static void retry_close(struct lode_store *self)
{
    lode_wrap_release(&retry_of(self)->wrap);
    lode_free(self);
}

int lode_store_retry(struct lode_store *inner, const struct lode_retry_policy *policy,
                     struct lode_store **out, struct lode_err *err)
{
    if (policy->attempts == 0 || policy->base_ms < 0 || policy->max_ms < policy->base_ms ||
        policy->budget_ms < 0)
        return lode_err_set(
            err, LODE_INVALID, "a retry policy of %u attempts, pauses of %lld to %lld ms",
            policy->attempts, (long long)policy->base_ms, (long long)policy->max_ms);
    struct retry_store *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a store");
    self->policy = *policy;
    int r = lode_wrap_init(&self->wrap, &retry_ops, inner, err);
    if (r < 0) {
        lode_free(self);
        return r;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

static const struct lode_store_ops retry_ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "retry",
    .close = retry_close,
    .stat = retry_stat,
    .read = retry_read,
    .read_wait = retry_read_wait,
    .read_cancel = retry_read_cancel,
    .write_begin = retry_write_begin,
    .write_parts = lode_wrap_write_parts,
    .write_part = retry_write_part,
    .write_complete = retry_write_complete,
    .write_abort = retry_write_abort,
    .unfinished = lode_wrap_unfinished,
    .discard = lode_wrap_discard,
    .open_local = lode_wrap_open_local,
    .list = retry_list,
    .remove = lode_wrap_remove,
    .rename_dir = lode_wrap_rename_dir,
    .copy = lode_wrap_copy,
    .placement = lode_wrap_placement,
    .space = lode_wrap_space,
};
