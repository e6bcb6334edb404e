/* Staging: a version's name taken by one attempt, with a directory of its own and a claim under a
 * lease.
 *
 * Invariants
 *  1. The version record is never bound to the lease; the claim is. A claim that is gone means that
 * nobody writes.
 *  2. No attempt ever writes another's directory: where a store can rename, it is
 * _staging/<random>; where not, it is <version>/ for attempt 1 and <version>~k/ for attempt k, and
 * attempt numbers of a version are never used twice.
 *  3. Every directory that may hold bytes has a record under attempt/ until it is a committed
 * version's, or gone.
 *  4. Who takes over first rewrites the version record, which fences the one before, and only then
 * touches its files.
 */
#include <string.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "catalog/direct.h"

#define STAGE_ALIASES_MAX                                                                          \
    16 /* aliases that one commit can set: each is several operations of its transaction */
#define SUFFIX_PAGE 1000 /* versions of one second that are looked at for a free "-n" */

struct staging {
    struct lode_direct *d;
    const struct lode_stage *stage;
    struct lode_attempt *a;
    struct lode_model_record model;
    struct lode_version_record old;    /* what stands under the name now */
    struct lode_attempt_record before; /* the attempt of `old` */
    char *version;                     /* the name tried, owned */
};

static void release_staging(struct staging *s)
{
    lode_model_record_release(&s->model);
    lode_version_record_release(&s->old);
    lode_attempt_record_release(&s->before);
    lode_free(s->version);
    s->version = NULL;
}

bool lode_direct_renames(const struct lode_direct *d)
{
    return lode_store_caps(d->store) & LODE_STORE_RENAME_DIR;
}

char *lode_direct_directory(const char *ns, const char *name, const char *version)
{
    if (strcmp(ns, LODE_DEFAULT_NS) == 0)
        return lode_asprintf("%s/%s", name, version);
    return lode_asprintf("%s/%s/%s", ns, name, version);
}

/* ---- the request ---- */

static int check_aliases(const struct lode_stage *st, struct lode_err *err)
{
    if (st->n_aliases > STAGE_ALIASES_MAX)
        return lode_err_set(err, LODE_LIMIT, "%zu aliases; one push sets at most %d", st->n_aliases,
                            STAGE_ALIASES_MAX);
    for (size_t i = 0; i < st->n_aliases; i++) {
        int r = lode_name_check(LODE_NAME_ALIAS, st->aliases[i], strlen(st->aliases[i]), err);
        if (r < 0)
            return r;
        if (st->version && strcmp(st->aliases[i], st->version) == 0)
            return lode_err_set(err, LODE_INVALID,
                                "'%s' cannot be both the version's name and its alias",
                                st->version);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(st->aliases[i], st->aliases[k]) == 0)
                return lode_err_set(err, LODE_INVALID, "the alias '%s' is given twice",
                                    st->aliases[i]);
        }
    }
    return 0;
}

static int check_request(const struct lode_stage *st, const struct lode_act *act,
                         struct lode_err *err)
{
    int r = lode_direct_check_act(act, err);
    r = r < 0 ? r : lode_direct_check_names(st->ns, st->name, st->version, err);
    return r < 0 ? r : check_aliases(st, err);
}

/* The parent must be committed; it is remembered by its version's name. */
static int set_parent(struct lode_attempt *a, const char *parent, struct lode_err *err)
{
    struct lode_ref ref;
    char text[LODE_REF_TEXT];
    _cleanup_version_ struct lode_version v = {0};
    int r = lode_ref_parse(parent, &ref, err);
    r = r < 0 ? r : lode_direct_resolve((struct lode_catalog *)a->d, &ref, false, &v, err);
    if (r < 0) {
        lode_err_prefix(err, "the parent %s", lode_q(parent));
        return r;
    }
    ref.kind = LODE_REV_NAME;
    memcpy(ref.rev, v.version, strlen(v.version) + 1);
    a->record.v.parent = lode_strdup(lode_ref_text(&ref, text));
    return a->record.v.parent ? 0 : lode_err_nomem(err, "an attempt");
}

static int copy_optional(char **into, const char *text, struct lode_err *err)
{
    lode_free(*into);
    *into = lode_strdup(text);
    return *into || !text ? 0 : lode_err_nomem(err, "an attempt");
}

static int copy_lists(struct lode_attempt *a, const struct lode_stage *st, struct lode_err *err)
{
    struct lode_version *v = &a->record.v;
    int r = 0;
    for (size_t i = 0; r == 0 && i < st->n_tags; i++)
        r = lode_tags_set(&v->tags, &v->n_tags, st->tags[i].key, st->tags[i].value, err);
    for (size_t i = 0; r == 0 && i < st->n_metrics; i++)
        r = lode_metrics_set(&v->metrics, &v->n_metrics, st->metrics[i].key, st->metrics[i].value,
                             err);
    if (r == 0 && st->n_aliases)
        a->aliases = lode_calloc(st->n_aliases, sizeof *a->aliases);
    if (r == 0 && st->n_aliases && !a->aliases)
        return lode_err_nomem(err, "an attempt");
    for (size_t i = 0; r == 0 && i < st->n_aliases; i++, a->n_aliases++)
        r = copy_optional(&a->aliases[i], st->aliases[i], err);
    return r;
}

/* All of the attempt that does not depend on its version's name. */
static int copy_request(struct lode_attempt *a, const struct lode_stage *st,
                        const struct lode_act *act, struct lode_err *err)
{
    struct lode_version *v = &a->record.v;
    int r = copy_optional(&a->who, lode_direct_who(a->d, act), err);
    r = r < 0 ? r : copy_optional(&a->why, act ? act->why : NULL, err);
    r = r < 0 ? r : copy_optional(&v->ns, st->ns, err);
    r = r < 0 ? r : copy_optional(&v->name, st->name, err);
    r = r < 0 ? r : copy_optional(&v->author, a->who, err);
    r = r < 0 ? r : copy_optional(&v->why, a->why, err);
    r = r < 0 ? r : copy_optional(&v->replication, st->replication, err);
    r = r < 0 ? r : copy_lists(a, st, err);
    if (r == 0 && st->parent)
        r = set_parent(a, st->parent, err);
    v->size = st->size;
    return r;
}

/* ---- the name ---- */

/* The highest n of the names "<stamp>" (1) and "<stamp>-n" that are there; 0 for none. */
static int highest_suffix(struct lode_direct *d, const char *prefix, unsigned long *out,
                          struct lode_err *err)
{
    _cleanup_free_ char *after = NULL;
    for (bool more = true; more;) {
        _cleanup_kvs_ struct lode_coord_kvs page = {0};
        int r = lode_coord_range(d->coord, prefix, after, SUFFIX_PAGE, &page, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < page.n; i++) {
            const char *rest = page.items[i].key + strlen(prefix);
            char *end = NULL;
            unsigned long n = *rest == 0 ? 1 : *rest == '-' ? strtoul(rest + 1, &end, 10) : 0;
            if (n < 1000000000 && (!end || *end == 0))
                *out = lode_max(*out, n);
        }
        more = page.more && page.n > 0;
        lode_free(after);
        after = more ? lode_strdup(page.items[page.n - 1].key) : NULL;
        if (more && !after)
            return lode_err_nomem(err, "a page");
    }
    return 0;
}

static int generate_name(struct staging *s, struct lode_err *err)
{
    char stamp[LODE_TIME_TEXT];
    unsigned long taken = 0;
    _cleanup_free_ char *prefix =
        lode_key_version(s->stage->ns, s->stage->name, lode_time_version(lode_now_ms(), stamp));
    if (!prefix)
        return lode_err_nomem(err, "a version's name");
    int r = highest_suffix(s->d, prefix, &taken, err);
    if (r < 0)
        return r;
    s->version = taken ? lode_asprintf("%s-%lu", stamp, taken + 1) : lode_strdup(stamp);
    return s->version ? 0 : lode_err_nomem(err, "a version's name");
}

static bool resumes(const struct staging *s)
{
    return s->stage->resume_version && s->old.v.state == LODE_STAGING &&
           s->old.v.attempt == s->stage->resume_attempt &&
           (s->before.state == LODE_ATTEMPT_LIVE || s->before.state == LODE_ATTEMPT_KEPT) &&
           s->before.directory;
}

/* Reads what stands under a name, and the attempt that made it. */
static int read_old(struct staging *s, const char *version, struct lode_err *err)
{
    const struct lode_stage *st = s->stage;
    lode_version_record_release(&s->old);
    lode_attempt_record_release(&s->before);
    int r = lode_direct_get_version(s->d, st->ns, st->name, version, &s->old, err);
    if (r < 0 || s->old.modified == 0)
        return r;
    return lode_direct_get_attempt(
        s->d, lode_key_attempt(st->ns, st->name, version, s->old.v.attempt), &s->before, err);
}

/* Wants the attempt to be resumed, the user's name, or a fresh one; in that order. */
static int choose_name(struct staging *s, struct lode_err *err)
{
    const struct lode_stage *st = s->stage;
    lode_free(s->version);
    s->version = NULL;
    if (st->resume_version && (!st->version || strcmp(st->version, st->resume_version) == 0)) {
        int r = lode_direct_check_names(st->ns, st->name, st->resume_version, err);
        r = r < 0 ? r : read_old(s, st->resume_version, err);
        if (r < 0)
            return r;
        if (s->old.modified && resumes(s))
            return copy_optional(&s->version, st->resume_version, err);
    }
    if (!st->version)
        return generate_name(s, err);
    return copy_optional(&s->version, st->version, err);
}

static int refuse_taken(const struct lode_version *v, struct lode_err *err)
{
    const char *model = lode_model_q(v->ns, v->name);
    if (v->state == LODE_COMMITTED)
        return lode_err_set(err, LODE_EXISTS, "version %s of %s is already there", v->version,
                            model);
    if (v->state == LODE_DELETED)
        return lode_err_set(
            err, LODE_EXISTS,
            "version %s of %s was deleted; a deleted version's name is never given again",
            v->version, model);
    return lode_err_set(err, LODE_EXISTS, "version %s of %s is being pushed by %s", v->version,
                        model, v->author ? v->author : "somebody else");
}

/* May we have the name? EXISTS if not; LODE_AGAIN for another generated one. */
static int check_name(struct staging *s, struct lode_err *err)
{
    const struct lode_stage *st = s->stage;
    bool taken =
        s->old.modified && (s->old.v.state == LODE_COMMITTED || s->old.v.state == LODE_DELETED);
    int r = 0;
    if (LODE_PLANTED(catalog_name_reuse) && s->old.v.state == LODE_DELETED)
        taken = false;
    if (s->old.modified && !taken)
        taken = lode_direct_has(s->d, lode_key_claim(st->ns, st->name, s->version), &r, err);
    if (r < 0)
        return r;
    if (taken)
        return st->version ? refuse_taken(&s->old.v, err) : LODE_AGAIN;
    if (lode_model_alias(&s->model, s->version))
        return lode_err_set(err, LODE_EXISTS,
                            "'%s' is an alias of %s; versions and aliases share their names",
                            s->version, lode_model_q(st->ns, st->name));
    return 0;
}

/* ---- the transaction ---- */

static int choose_directory(struct staging *s, bool resume, struct lode_err *err)
{
    struct lode_attempt *a = s->a;
    uint8_t random[12];
    char id[2 * sizeof random + 1];
    lode_free(a->own.directory);
    a->own.directory = NULL;
    if (resume)
        a->own.directory = lode_strdup(s->before.directory);
    else if (!lode_direct_renames(s->d))
        a->own.directory =
            a->record.v.attempt == 1
                ? lode_strdup(a->final)
                : lode_asprintf("%s~%llu", a->final, (unsigned long long)a->record.v.attempt);
    else if (lode_sys->getrandom(random, sizeof random) != sizeof random)
        return lode_err_sys(err, "cannot get random bytes for a staging directory");
    else
        a->own.directory = lode_asprintf("_staging/%s", lode_hex(random, sizeof random, id));
    return a->own.directory ? 0 : lode_err_nomem(err, "an attempt");
}

/* The number of the next attempt: behind the version record's, and behind every one that is still
 * on record. */
static int next_attempt(struct staging *s, uint64_t *out, struct lode_err *err)
{
    _cleanup_free_ char *prefix = lode_key_attempts(s->stage->ns, s->stage->name, s->version);
    _cleanup_kvs_ struct lode_coord_kvs page = {0};
    int r = prefix ? lode_coord_range(s->d->coord, prefix, NULL, SUFFIX_PAGE, &page, err)
                   : lode_err_nomem(err, "a key");
    if (r < 0)
        return r;
    *out = s->old.v.attempt + 1;
    if (page.n)
        *out = lode_max(*out, strtoull(page.items[page.n - 1].key + strlen(prefix), NULL, 10) + 1);
    return 0;
}

/* The attempt's own facts under the name that was chosen. */
static int fill_attempt(struct staging *s, bool resume, struct lode_err *err)
{
    struct lode_attempt *a = s->a;
    struct lode_version *v = &a->record.v;
    int r = copy_optional(&v->version, s->version, err);
    v->attempt = s->old.v.attempt;
    if (r == 0 && !resume)
        r = next_attempt(s, &v->attempt, err);
    lode_free(a->final);
    a->final = lode_direct_directory(v->ns, v->name, s->version);
    if (r < 0 || !a->final)
        return lode_err_nomem(err, "an attempt");
    v->state = LODE_STAGING;
    v->created_ms = s->old.modified && s->old.v.created_ms ? s->old.v.created_ms : lode_now_ms();
    a->record.modified = s->old.modified;
    r = choose_directory(s, resume, err);
    r = r < 0 ? r
              : copy_optional(&v->directory,
                              lode_direct_renames(s->d) ? a->final : a->own.directory, err);
    a->own.state = LODE_ATTEMPT_LIVE;
    a->own.since_ms = lode_now_ms();
    a->own.size = s->stage->size;
    return r;
}

/* A first part of a path is a namespace or a model, never both. */
static void expect_first_part(struct lode_change_set *c, const char *ns, const char *name)
{
    if (strcmp(ns, LODE_DEFAULT_NS) == 0) {
        lode_change_expect(c, lode_key_namespace(name), 0);
        return;
    }
    lode_change_expect(c, lode_key_model(LODE_DEFAULT_NS, ns), 0);
}

static int add_model(struct staging *s, struct lode_change_set *c, struct lode_err *err)
{
    struct lode_model_record *m = &s->model;
    const struct lode_stage *st = s->stage;
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (m->modified) {
        /* A name of the user's must not become an alias meanwhile; nobody calls an alias by a date.
         */
        if (st->version)
            lode_change_expect(c, lode_key_model(st->ns, st->name), m->modified);
        return 0;
    }
    expect_first_part(c, st->ns, st->name);
    m->info.created_ms = m->info.updated_ms = lode_now_ms();
    lode_change_model(c, m);
    if (strcmp(st->ns, LODE_DEFAULT_NS) == 0)
        return 0;
    _cleanup_free_ char *key = lode_key_namespace(st->ns);
    if (!key)
        return lode_err_nomem(err, "a namespace");
    int r = lode_coord_get(s->d->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND) {
        lode_change_expect(c, lode_strdup(key), 0);
        lode_change_put(c, lode_steal(key), lode_strdup("{\"schema\":1}"), 0);
        return 0;
    }
    return r;
}

/* Says which of the two stands in the way, after the transaction did not happen. */
static int check_first_part(struct staging *s, struct lode_err *err)
{
    const struct lode_stage *st = s->stage;
    bool plain = strcmp(st->ns, LODE_DEFAULT_NS) == 0;
    int r;
    if (s->model.modified)
        return 0;
    char *key = plain ? lode_key_namespace(st->name) : lode_key_model(LODE_DEFAULT_NS, st->ns);
    if (!lode_direct_has(s->d, key, &r, err))
        return r;
    if (plain)
        return lode_err_set(err, LODE_EXISTS,
                            "'%s' is a namespace; a model of that name cannot be beside it",
                            st->name);
    return lode_err_set(err, LODE_EXISTS,
                        "'%s' is a model; a namespace of that name cannot be beside it", st->ns);
}

static char *claim_text(const struct lode_attempt *a)
{
    uint8_t random[8];
    char nonce[2 * sizeof random + 1];
    if (lode_sys->getrandom(random, sizeof random) != sizeof random)
        return NULL;
    _cleanup_json_ json_t *doc = json_pack("{s:i,s:I,s:s,s:s}", "schema", LODE_RECORD_SCHEMA,
                                           "attempt", (json_int_t)a->record.v.attempt, "who",
                                           a->who, "nonce", lode_hex(random, sizeof random, nonce));
    return doc ? lode_json_text(doc, NULL) : NULL;
}

/* The attempt before ours stays on record, so that gc finds its bytes. */
static void abandon_before(struct staging *s, struct lode_change_set *c)
{
    char *key = lode_key_attempt(s->stage->ns, s->stage->name, s->version, s->old.v.attempt);
    lode_change_expect(c, key ? lode_strdup(key) : NULL, s->before.modified);
    if (s->before.modified == 0 || s->before.state == LODE_ATTEMPT_TAKEN) {
        lode_free(key);
        return;
    }
    struct lode_attempt_record gone = s->before; /* borrows */
    gone.state = LODE_ATTEMPT_ABANDONED;
    gone.since_ms = lode_now_ms();
    lode_change_put(c, key, lode_attempt_record_text(&gone), 0);
}

static int run_stage(struct staging *s, bool resume, struct lode_err *err)
{
    struct lode_attempt *a = s->a;
    const struct lode_version *v = &a->record.v;
    _cleanup_change_ struct lode_change_set c = {0};
    uint64_t revision;
    lode_change_begin(&c, s->d);
    int r = add_model(s, &c, err);
    if (r < 0)
        return r;
    lode_change_version(&c, &a->record);
    char *attempt = lode_key_attempt(v->ns, v->name, v->version, v->attempt);
    lode_change_expect(&c, attempt ? lode_strdup(attempt) : NULL, resume ? s->before.modified : 0);
    lode_change_put(&c, attempt, lode_attempt_record_text(&a->own), 0);
    if (s->old.modified && !resume)
        abandon_before(s, &c);
    char *claim = lode_key_claim(v->ns, v->name, v->version);
    lode_change_expect(&c, claim ? lode_strdup(claim) : NULL, 0);
    lode_change_put(&c, claim, claim_text(a), lode_lease_id(a->lease));
    lode_change_witness(&c);
    r = lode_change_run(&c, &revision, err);
    if (r == 0)
        a->record.modified = a->claim_modified = a->own.modified = revision;
    return r;
}

/* One try; LODE_AGAIN when others moved. */
static int stage_once(struct staging *s, struct lode_err *err)
{
    const struct lode_stage *st = s->stage;
    lode_model_record_release(&s->model);
    int r = lode_direct_get_model(s->d, st->ns, st->name, &s->model, err);
    r = r < 0 ? r : check_first_part(s, err);
    r = r < 0 ? r : choose_name(s, err);
    r = r < 0 ? r : read_old(s, s->version, err);
    r = r ? r : check_name(s, err);
    if (r != 0)
        return r;
    bool resume = s->old.modified && resumes(s);
    r = fill_attempt(s, resume, err);
    r = r < 0 ? r : lode_lease_check(s->a->lease, err);
    r = r < 0 ? r : run_stage(s, resume, err);
    if (r == 0)
        s->a->base.info.resumed = resume;
    return r;
}

/* What was `publishing` when its writer vanished may lie in the version's place already. */
static int roll_back_before(struct staging *s, struct lode_err *err)
{
    if (s->old.modified == 0 || s->old.v.state != LODE_PUBLISHING || !s->old.v.digest ||
        !s->before.directory || !lode_direct_renames(s->d))
        return 0;
    return lode_direct_roll_back(s->d, s->a->final, s->before.directory, s->old.v.digest, err);
}

static int finish_info(struct lode_attempt *a, struct lode_err *err)
{
    const struct lode_version *v = &a->record.v;
    a->place = (struct lode_place){a->d->store, false, lode_strdup(a->own.directory)};
    if (!a->place.prefix)
        return lode_err_nomem(err, "an attempt");
    a->base.info.ns = v->ns;
    a->base.info.name = v->name;
    a->base.info.version = v->version;
    a->base.info.attempt = v->attempt;
    a->base.info.place = &a->place;
    return 0;
}

static int stage_all(struct staging *s, struct lode_err *err)
{
    int r = lode_lease_start(s->d->coord, s->d->ttl_ms, &s->a->lease, err);
    for (unsigned i = 0; r == 0 && i < LODE_TRIES; i++) {
        r = stage_once(s, err);
        if (r == 0) {
            r = roll_back_before(s, err);
            return r < 0 ? r : finish_info(s->a, err);
        }
        if (r != LODE_AGAIN)
            return r;
        lode_direct_backoff(i);
        r = 0;
    }
    return r < 0 ? r : lode_direct_gave_up(lode_model_q(s->stage->ns, s->stage->name), err);
}

int lode_direct_stage(struct lode_catalog *catalog, const struct lode_stage *stage,
                      const struct lode_act *act, struct lode_attempt **out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    int r = check_request(stage, act, err);
    if (r < 0)
        return r;
    struct lode_attempt *a = lode_zalloc(sizeof *a);
    if (!a)
        return lode_err_nomem(err, "an attempt");
    a->base.ops = self->ops;
    a->d = self;
    struct staging s = {.d = self, .stage = stage, .a = a};
    r = copy_request(a, stage, act, err);
    r = r < 0 ? r : stage_all(&s, err);
    release_staging(&s);
    if (r < 0) {
        lode_direct_attempt_close(a);
        return r;
    }
    *out = a;
    return 0;
}
