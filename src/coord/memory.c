/* The memory that a coord hands out: see <lode/coord_ops.h>. Every release leaves an empty value
 * behind, so that a second one is harmless. */
#include <string.h>
#include "base/mem.h"
#include "coord/coord.h"

void *lode_coord_alloc(size_t n)
{
    return lode_alloc(n);
}

void lode_coord_free(void *p)
{
    lode_free(p);
}

void lode_coord_kv_release(struct lode_coord_kv *kv)
{
    lode_free(kv->key);
    lode_free(kv->value);
    *kv = (struct lode_coord_kv){0};
}

void lode_coord_kvs_release(struct lode_coord_kvs *kvs)
{
    for (size_t i = 0; i < kvs->n; i++)
        lode_coord_kv_release(&kvs->items[i]);
    lode_free(kvs->items);
    *kvs = (struct lode_coord_kvs){0};
}

void lode_coord_txn_result_release(struct lode_coord_txn_result *result)
{
    for (size_t i = 0; i < result->n_gets; i++)
        lode_coord_kv_release(&result->gets[i]);
    lode_free(result->gets);
    *result = (struct lode_coord_txn_result){0};
}

void lode_coord_events_release(struct lode_coord_events *events)
{
    for (size_t i = 0; i < events->n; i++)
        lode_coord_kv_release(&events->items[i].kv);
    lode_free(events->items);
    *events = (struct lode_coord_events){0};
}
