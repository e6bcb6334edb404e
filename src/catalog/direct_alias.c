/* Aliases move: one transaction that rewrites the model record and adds a journal entry. */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "catalog/direct.h"

struct move {
    struct lode_direct *d;
    const char *ns, *name, *alias;
    const char *version; /* NULL: remove */
    const char *expect_from;
    const struct lode_act *act;
    struct lode_model_record model;
};

/* The alias must point where the caller believes that it does. */
static int check_expected(const struct move *mv, const char *now, struct lode_err *err)
{
    if (!mv->expect_from || strcmp(mv->expect_from, now ? now : "") == 0)
        return 0;
    if (!now)
        return lode_err_set(err, LODE_CONFLICT, "the alias %s of %s does not exist", mv->alias,
                            lode_model_q(mv->ns, mv->name));
    return lode_err_set(err, LODE_CONFLICT, "the alias %s of %s points to %s, not to %s", mv->alias,
                        lode_model_q(mv->ns, mv->name), now,
                        mv->expect_from[0] ? mv->expect_from : "nothing");
}

/* Compares the target as committed, and that no version has the alias's name. */
static int expect_target(struct move *mv, struct lode_change_set *c, struct lode_err *err)
{
    _cleanup_version_record_ struct lode_version_record v = {0};
    int r = lode_direct_get_version(mv->d, mv->ns, mv->name, mv->version, &v, err);
    if (r < 0)
        return r;
    struct lode_ref ref = {.kind = LODE_REV_NAME};
    memcpy(ref.rev, mv->version, strlen(mv->version) + 1);
    if (v.modified == 0)
        return lode_direct_no_version(&mv->model, &ref, err);
    if (v.v.state != LODE_COMMITTED)
        return lode_direct_wrong_state(&v.v, err);
    if (lode_direct_has(mv->d, lode_key_version(mv->ns, mv->name, mv->alias), &r, err))
        return lode_err_set(err, LODE_EXISTS,
                            "'%s' is a version of %s; versions and aliases share their names",
                            mv->alias, lode_model_q(mv->ns, mv->name));
    lode_change_expect(c, lode_key_version(mv->ns, mv->name, mv->version), v.modified);
    lode_change_expect(c, lode_key_version(mv->ns, mv->name, mv->alias), 0);
    return r;
}

static int copy_entry(const struct lode_journal_entry *e, struct lode_journal_entry *out,
                      struct lode_err *err)
{
    _cleanup_json_ json_t *doc = lode_journal_entry_to_json(e);
    return doc ? lode_journal_entry_from_json(doc, out, err)
               : lode_err_nomem(err, "a journal entry");
}

/* Works the change into the model record and the change set. */
static int apply(struct move *mv, struct lode_change_set *c, struct lode_journal_entry *e,
                 struct lode_err *err)
{
    int r = mv->version ? expect_target(mv, c, err) : 0;
    r = r < 0 ? r : lode_change_journal(c, &mv->model, e, err);
    if (r < 0)
        return r;
    if (mv->version)
        r = lode_model_set_alias(&mv->model, mv->alias, mv->version, err);
    else
        lode_model_drop_alias(&mv->model, mv->alias);
    lode_change_model(c, &mv->model);
    return r;
}

static int move_once(struct move *mv, struct lode_journal_entry *out, struct lode_err *err)
{
    _cleanup_change_ struct lode_change_set c = {0};
    uint64_t revision;
    lode_model_record_release(&mv->model);
    int r = lode_direct_get_model(mv->d, mv->ns, mv->name, &mv->model, err);
    if (r < 0)
        return r;
    if (mv->model.modified == 0)
        return lode_direct_no_model(mv->d, mv->ns, mv->name, err);
    _cleanup_free_ char *from = lode_strdup(lode_model_alias(&mv->model, mv->alias));
    struct lode_journal_entry e = {.ns = mv->model.info.ns,
                                   .name = mv->model.info.name,
                                   .alias = (char *)(uintptr_t)mv->alias,
                                   .from = from,
                                   .to = (char *)(uintptr_t)mv->version,
                                   .who = (char *)(uintptr_t)lode_direct_who(mv->d, mv->act),
                                   .why = mv->act ? (char *)(uintptr_t)mv->act->why : NULL,
                                   .change = mv->version ? LODE_CHANGE_ALIAS_SET
                                                         : LODE_CHANGE_ALIAS_REMOVE};
    r = check_expected(mv, from, err);
    if (r < 0)
        return r;
    if (!mv->version && !from)
        return lode_err_set(err, LODE_NOT_FOUND, "%s has no alias %s",
                            lode_model_q(mv->ns, mv->name), lode_q(mv->alias));
    if (mv->version && from && strcmp(from, mv->version) == 0)
        return copy_entry(&e, out, err);
    lode_change_begin(&c, mv->d);
    r = apply(mv, &c, &e, err);
    r = r < 0 ? r : lode_change_run(&c, &revision, err);
    return r != 0 ? r : copy_entry(&e, out, err);
}

static int move_alias(struct move *mv, struct lode_journal_entry *out, struct lode_err *err)
{
    int r = lode_direct_check_act(mv->act, err);
    r = r < 0 ? r : lode_direct_check_names(mv->ns, mv->name, mv->version, err);
    r = r < 0 ? r : lode_name_check(LODE_NAME_ALIAS, mv->alias, strlen(mv->alias), err);
    if (r < 0)
        return r;
    r = LODE_AGAIN;
    for (unsigned i = 0; r == LODE_AGAIN && i < LODE_TRIES; i++) {
        if (i)
            lode_direct_backoff(i);
        r = move_once(mv, out, err);
    }
    lode_model_record_release(&mv->model);
    return r == LODE_AGAIN ? lode_direct_gave_up(lode_model_q(mv->ns, mv->name), err) : r;
}

int lode_direct_alias_set(struct lode_catalog *catalog, const char *ns, const char *name,
                          const char *alias, const char *version, const char *expect_from,
                          const struct lode_act *act, struct lode_journal_entry *entry,
                          struct lode_err *err)
{
    struct move mv = {.d = (struct lode_direct *)(void *)catalog,
                      .ns = ns,
                      .name = name,
                      .alias = alias,
                      .version = version,
                      .expect_from = expect_from,
                      .act = act};
    if (strcmp(alias, version) == 0)
        return lode_err_set(err, LODE_INVALID, "'%s' cannot be both a version and its alias",
                            alias);
    return move_alias(&mv, entry, err);
}

int lode_direct_alias_remove(struct lode_catalog *catalog, const char *ns, const char *name,
                             const char *alias, const struct lode_act *act,
                             struct lode_journal_entry *entry, struct lode_err *err)
{
    struct move mv = {.d = (struct lode_direct *)(void *)catalog,
                      .ns = ns,
                      .name = name,
                      .alias = alias,
                      .act = act};
    return move_alias(&mv, entry, err);
}
