/* rollback: an alias goes back to where it pointed before its last move. The move is fenced by what
 * the alias points to now, so that a promote that comes in between is not undone unseen: it is
 * CONFLICT. */
#include "base/name.h"
#include "registry/handle.h"

/* The newest entry about the alias. */
static int last_move(struct lode *lode, const struct lode_ref *ref, const char *alias,
                     struct lode_journal *out, struct lode_err *err)
{
    struct lode_journal_query query = {
        .ns = ref->ns, .name = ref->name, .alias = alias, .limit = 1};
    int r = lode_handle_ops(lode)->journal(lode->catalog, &query, out, err);
    if (r == 0 && out->n == 0)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "%s has no alias %s and never had; lode alias ls %s lists them",
                            ref->name, lode_q(alias), ref->name);
    return r;
}

int lode_rollback(struct lode *lode, const char *model, const char *alias,
                  const struct lode_call *call, struct lode_journal_entry *out,
                  struct lode_err *err)
{
    struct lode_ref ref;
    struct lode_journal_entry entry = {0};
    struct lode_act act = lode_handle_act(call);
    _cleanup_journal_ struct lode_journal moves = {0};
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = lode_ref_parse_model(model, &ref, err);
    if (r == 0)
        r = lode_handle_fresh(lode, err);
    if (r == 0)
        r = last_move(lode, &ref, alias, &moves, err);
    if (r < 0)
        return r;
    const struct lode_journal_entry *last = &moves.items[0];
    if (!last->from)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "%s@%s pointed to nothing before %s; there is nothing to go back to",
                            ref.name, alias, last->to ? last->to : "that");
    r = lode_handle_ops(lode)->alias_set(lode->catalog, ref.ns, ref.name, alias, last->from,
                                         last->to ? last->to : "", &act, &entry, err);
    if (r < 0)
        return r;
    if (out)
        *out = entry;
    else
        lode_journal_entry_release(&entry);
    return 0;
}
