/* The memory that stores hand out, and the error setter, for back ends inside and outside the
 * tree: see <lode/store_ops.h>. */
#include <lode/store_ops.h>
#include <stdarg.h>
#include "base/err.h"
#include "base/mem.h"

void *lode_store_alloc(size_t n)
{
    return lode_alloc(n);
}

void lode_store_free(void *p)
{
    lode_free(p);
}

void lode_store_page_release(struct lode_store_page *page)
{
    for (size_t i = 0; i < page->n; i++)
        lode_free(page->entries[i].name);
    lode_free(page->entries);
    lode_free(page->next);
    *page = (struct lode_store_page){0};
}

void lode_store_unfinished_release(struct lode_store_unfinished_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        lode_free(list->items[i].key);
        lode_free(list->items[i].id);
    }
    lode_free(list->items);
    *list = (struct lode_store_unfinished_list){0};
}

void lode_store_placement_release(struct lode_store_placement *placement)
{
    for (size_t i = 0; i < placement->n_hosts; i++)
        lode_free(placement->hosts[i]);
    lode_free(placement->hosts);
    *placement = (struct lode_store_placement){0};
}

int lode_plugin_err(struct lode_err *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    lode_err_setv(err, code, fmt, args);
    va_end(args);
    return code;
}
