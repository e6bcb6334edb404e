/* The table of codecs: see codec/codec.h. */
#include "codec/codec.h"
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include "base/limits.h"
#include "base/log.h"
#include "base/plugin.h"
#include "codec/codecs.h"

static const struct lode_codec_ops *table[LODE_CODECS_MAX + 1] = {
    &lode_codec_raw,
    &lode_codec_deflate,
    NULL,
};

/* Entries are only ever added, each at once, under the lock; readers need none. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool plugins_loaded;

const struct lode_codec_ops *const *lode_codecs(void)
{
    return table;
}

static const struct lode_codec_ops *find(const char *name)
{
    const struct lode_codec_ops *ops;
    for (size_t i = 0; (ops = __atomic_load_n(&table[i], __ATOMIC_ACQUIRE)); i++) {
        if (strcmp(ops->name, name) == 0)
            return ops;
    }
    return NULL;
}

/* With the lock held. */
static int add(const struct lode_codec_ops *ops, struct lode_err *err)
{
    size_t n = 0;
    if (ops->abi != LODE_CODEC_ABI)
        return lode_err_set(err, LODE_INVALID, "a plug-in's codec is made for ABI %u, this is %d",
                            ops->abi, LODE_CODEC_ABI);
    if (!ops->name || strlen(ops->name) > 31 || !ops->estimate || !ops->bound || !ops->encode ||
        !ops->decode)
        return lode_err_set(err, LODE_INVALID,
                            "a plug-in's codec lacks a name of at most 31 bytes or a function");
    if (find(ops->name))
        return lode_err_set(err, LODE_EXISTS, "there is a codec %s already", ops->name);
    while (table[n])
        n++;
    if (n == LODE_CODECS_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d codecs", LODE_CODECS_MAX);
    __atomic_store_n(&table[n], ops, __ATOMIC_RELEASE);
    return 0;
}

int lode_codec_register(const struct lode_codec_ops *ops, struct lode_err *err)
{
    pthread_mutex_lock(&lock);
    int r = add(ops, err);
    pthread_mutex_unlock(&lock);
    return r;
}

/* All codecs of one plug-in; goes on to the next. */
static bool add_of_plugin(void *arg, void *symbol, const char *path)
{
    const struct lode_codec_ops *const *ops = ((lode_plugin_codec_fn *)symbol)(LODE_CODEC_ABI);
    struct lode_err err = {0};
    for (; ops && *ops; ops++) {
        if (add(*ops, &err) < 0)
            lode_log_warn("%s: %s", path, err.text);
    }
    return false;
}

static void load_plugins(void)
{
    struct lode_err err = {0};
    pthread_mutex_lock(&lock);
    if (!plugins_loaded && lode_plugin_each("lode_plugin_codec", add_of_plugin, NULL, &err) < 0)
        lode_log_warn("%s", err.text);
    plugins_loaded = true;
    pthread_mutex_unlock(&lock);
}

const struct lode_codec_ops *lode_codec_find(const char *name)
{
    const struct lode_codec_ops *ops = find(name);
    if (ops)
        return ops;
    load_plugins();
    return find(name);
}
