/* What the back ends share: see coord/impl.h. */
#include "coord/impl.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/mem.h"
#include "base/name.h"

const char *lode_coord_option(const struct lode_coord_config *config, const char *name)
{
    for (const char *const *o = config->options; o && o[0] && o[1]; o += 2) {
        if (strcmp(o[0], name) == 0)
            return o[1];
    }
    return NULL;
}

int lode_coord_option_u64(const struct lode_coord_config *config, const char *name,
                          uint64_t fallback, uint64_t *out, struct lode_err *err)
{
    const char *text = lode_coord_option(config, name);
    char *end = NULL;
    unsigned long long n = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (text && (!end || *end || n == 0))
        return lode_err_set(err, LODE_INVALID,
                            "the coord option %s must be a positive number, not %s", name,
                            lode_q(text));
    *out = text ? n : fallback;
    return 0;
}

int lode_coord_kv_set(struct lode_coord_kv *kv, const char *key, size_t key_len, const void *value,
                      size_t len, struct lode_err *err)
{
    char *key_copy = lode_strndup(key, key_len);
    char *value_copy = value ? lode_strndup(value, len) : NULL;
    if (!key_copy || (value && !value_copy)) {
        lode_free(key_copy);
        lode_free(value_copy);
        return lode_err_nomem(err, "a key of the coord");
    }
    kv->key = key_copy;
    kv->value = value_copy;
    kv->len = value ? len : 0;
    return 0;
}

int lode_coord_kv_copy(struct lode_coord_kv *to, const struct lode_coord_kv *from,
                       struct lode_err *err)
{
    struct lode_coord_kv copy = *from;
    int r = lode_coord_kv_set(&copy, from->key, strlen(from->key), from->value, from->len, err);
    if (r == 0)
        *to = copy;
    return r;
}

struct lode_coord_event *lode_coord_event_add(struct lode_coord_event_list *list)
{
    if (lode_grow((void **)&list->items, &list->cap, list->n + 1, sizeof *list->items) < 0)
        return NULL;
    struct lode_coord_event *e = &list->items[list->n++];
    *e = (struct lode_coord_event){0};
    return e;
}

void lode_coord_event_list_release(struct lode_coord_event_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        lode_coord_kv_release(&list->items[i].kv);
    lode_free(list->items);
    *list = (struct lode_coord_event_list){0};
}

struct lode_coord_events lode_coord_event_list_take(struct lode_coord_event_list *list,
                                                    uint64_t revision)
{
    struct lode_coord_events out = {.items = list->items, .n = list->n, .revision = revision};
    *list = (struct lode_coord_event_list){0};
    return out;
}

int lode_coord_cond_init(pthread_cond_t *cond, struct lode_err *err)
{
    pthread_condattr_t attr;
    int r = pthread_condattr_init(&attr);
    if (r == 0) {
        r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (r == 0)
            r = pthread_cond_init(cond, &attr);
        pthread_condattr_destroy(&attr);
    }
    return r ? lode_err_num(err, r, "cannot make a condition variable") : 0;
}

/* The kernel's clock, not lode_sys: a test that moves Lode's clocks must not change how long a
 * thread sleeps. */
void lode_coord_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms)
{
    struct timespec ts;
    if (ms < 0) {
        pthread_cond_wait(cond, lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &ts); /* direct: the condition variable's clock */
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }
    pthread_cond_timedwait(cond, lock, &ts);
}
