/* The table of codecs: see codec/codec.h. */
#include "codec/codec.h"
#include <string.h>
#include "base/limits.h"
#include "codec/codecs.h"

static const struct lode_codec_ops *table[LODE_CODECS_MAX + 1] = {
    &lode_codec_raw,
    &lode_codec_deflate,
    NULL,
};

const struct lode_codec_ops *const *lode_codecs(void)
{
    return table;
}

const struct lode_codec_ops *lode_codec_find(const char *name)
{
    for (size_t i = 0; table[i]; i++) {
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    }
    return NULL;
}

int lode_codec_register(const struct lode_codec_ops *ops, struct lode_err *err)
{
    size_t n = 0;
    if (ops->abi != LODE_CODEC_ABI)
        return lode_err_set(err, LODE_INVALID, "a plug-in's codec is made for ABI %u, this is %d",
                            ops->abi, LODE_CODEC_ABI);
    if (!ops->name || strlen(ops->name) > 31 || !ops->estimate || !ops->bound || !ops->encode ||
        !ops->decode)
        return lode_err_set(err, LODE_INVALID,
                            "a plug-in's codec lacks a name of at most 31 bytes or a function");
    if (lode_codec_find(ops->name))
        return lode_err_set(err, LODE_EXISTS, "there is a codec %s already", ops->name);
    while (table[n])
        n++;
    if (n == LODE_CODECS_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d codecs", LODE_CODECS_MAX);
    table[n] = ops;
    return 0;
}
