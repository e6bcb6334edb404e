/* Keys and options: see store/util.h. */
#include "store/util.h"
#include <string.h>
#include "base/mem.h"
#include "base/name.h"

const char *lode_store_option(const struct lode_store_config *config, const char *name)
{
    for (const char *const *at = config->options; at && at[0] && at[1]; at += 2) {
        if (strcmp(at[0], name) == 0)
            return at[1];
    }
    return NULL;
}

int lode_store_unsupported(const struct lode_store *self, const char *what, struct lode_err *err)
{
    const struct lode_store_base *base = (const struct lode_store_base *)(const void *)self;
    return lode_err_set(err, LODE_UNSUPPORTED, "the store %s cannot %s", base->url, what);
}

int lode_store_may_write(const struct lode_store *self, const char *key, struct lode_err *err)
{
    const struct lode_store_base *base = (const struct lode_store_base *)(const void *)self;
    if (!(base->caps & LODE_STORE_READ_ONLY))
        return 0;
    return lode_err_set(err, LODE_READ_ONLY, "cannot change %s: the store %s is opened read-only",
                        lode_q(key), base->url);
}

size_t lode_key_parent(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? (size_t)(slash - key) : 0;
}

const char *lode_key_leaf(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? slash + 1 : key;
}

char *lode_key_join(const char *dir, const char *name)
{
    return *dir ? lode_asprintf("%s/%s", dir, name) : lode_strdup(name);
}

bool lode_key_beneath(const char *key, const char *dir)
{
    size_t n = strlen(dir);
    return n == 0 || (strncmp(key, dir, n) == 0 && (key[n] == 0 || key[n] == '/'));
}

void lode_err_keep_first(struct lode_err *first, const struct lode_err *next)
{
    if (first->code == 0)
        *first = *next;
}

void lode_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void lode_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
    struct timespec at = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    pthread_cond_timedwait(cond, lock, &at);
}
