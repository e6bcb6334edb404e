/* push: publish files as a new version: see <lode/lode.h>.
 *
 *     look at the sources -> read their headers -> enough room? -> stage -> stream and hash ->
 * finish
 *
 * Everything that can be wrong with the input is found before the first byte is written. What fails
 * later is given up: the attempt is recorded as abandoned and its bytes are freed at once, except
 * where the connection alone was lost: then, as after a kill, the same push goes on where it
 * stopped.
 */
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"
#include "base/sys.h"
#include "model/record.h"
#include "registry/push.h"

static void push_release(struct push *self)
{
    lode_attempt_closep(&self->attempt);
    lode_manifest_free(self->manifest);
    lode_sources_release(&self->sources);
    lode_free(self->parent);
    lode_closep(&self->state_fd);
    lode_free(self->state_path);
}
#define _cleanup_push_ __attribute__((cleanup(push_release)))

static int check_names(struct push *self, const char *model, struct lode_err *err)
{
    const struct lode_push_options *o = self->options;
    int r = lode_ref_parse_model(model, &self->model, err);
    if (r == 0 && o->version)
        r = lode_name_check(LODE_NAME_VERSION, o->version, strlen(o->version), err);
    for (size_t i = 0; r == 0 && i < o->n_aliases; i++)
        r = lode_name_check(LODE_NAME_ALIAS, o->aliases[i], strlen(o->aliases[i]), err);
    if (r == 0 && o->layout && strcmp(o->layout, "plain") != 0)
        r = lode_err_set(err, LODE_UNSUPPORTED, "layout %s is not known; this Lode writes plain",
                         lode_q(o->layout));
    if (r == 0 && o->call && o->call->why && strlen(o->call->why) > LODE_WHY_MAX)
        r = lode_err_set(err, LODE_LIMIT, "the message has more than %d bytes", LODE_WHY_MAX);
    return r;
}

/* Tags and metrics are checked by the functions that will store them, on a copy. */
static int check_facts(const struct lode_push_options *o, struct lode_err *err)
{
    struct lode_tag *tags = NULL;
    struct lode_metric *metrics = NULL;
    size_t n_tags = 0, n_metrics = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < o->n_tags; i++)
        r = lode_tags_set(&tags, &n_tags, o->tags[i].key, o->tags[i].value ? o->tags[i].value : "",
                          err);
    for (size_t i = 0; r == 0 && i < o->n_metrics; i++)
        r = lode_metrics_set(&metrics, &n_metrics, o->metrics[i].key, o->metrics[i].value, err);
    lode_tags_free(tags, n_tags);
    lode_metrics_free(metrics, n_metrics);
    return r;
}

static int find_parent(struct push *self, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    if (!self->options->parent)
        return 0;
    int r = lode_handle_resolve(self->lode, self->options->parent, &v, err);
    if (r < 0)
        return lode_err_prefix(err, "the parent");
    bool plain = strcmp(v.ns, LODE_DEFAULT_NS) == 0;
    self->parent =
        lode_asprintf("%s%s%s@%s", plain ? "" : v.ns, plain ? "" : "/", v.name, v.version);
    return self->parent ? 0 : lode_err_nomem(err, "a reference");
}

/* A name that is taken is told before gigabytes travel; the transaction that stages tells it for
 * certain. */
static int check_taken(struct push *self, struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_ref ref = self->model;
    if (!self->options->version)
        return 0;
    ref.kind = LODE_REV_NAME;
    memcpy(ref.rev, self->options->version, strlen(self->options->version) + 1);
    int r = lode_handle_ops(self->lode)->resolve(self->lode->catalog, &ref, true, &v, NULL);
    if (r == 0 && strcmp(v.version, self->options->version) == 0 && v.state == LODE_COMMITTED)
        return lode_err_set(err, LODE_EXISTS, "%s already has a version %s", v.name, v.version);
    return 0; /* also when it could not be told now */
}

/* Room for the files and the manifest, told with both numbers before anything is written. */
static int check_room(struct push *self, struct lode_err *err)
{
    struct lode_store *store = self->lode->store;
    struct lode_store_space space;
    char need[LODE_SIZE_TEXT], there[LODE_SIZE_TEXT];
    uint64_t wanted;
    if (!store || !(lode_store_caps(store) & LODE_STORE_SPACE) ||
        lode_store_space(store, &space, NULL) < 0)
        return 0;
    if (!lode_add_u64(self->sources.bytes, 4096 * (uint64_t)self->sources.n, &wanted))
        wanted = UINT64_MAX;
    if (wanted <= space.free)
        return 0;
    return lode_err_set(err, LODE_NO_SPACE, "the push needs %s, %s has %s free",
                        lode_size_text(wanted, need), lode_store_url(store),
                        lode_size_text(space.free, there));
}

static int dry_version(struct push *self, struct lode_version *out, struct lode_err *err)
{
    struct lode_version v = {
        .ns = lode_strdup(self->model.ns),
        .name = lode_strdup(self->model.name),
        .state = LODE_STAGING,
        .created_ms = lode_now_ms(),
        .author = lode_strdup(""),
        .size = self->sources.bytes,
        .files = self->sources.n,
        .format = lode_manifest_formats(self->manifest),
        .tensors = self->manifest->tensors ? lode_index_count(self->manifest->tensors) : 0,
        .parameters = self->manifest->tensors ? lode_index_parameters(self->manifest->tensors) : 0,
    };
    char text[LODE_TIME_TEXT];
    v.version = lode_strdup(self->options->version ? self->options->version
                                                   : lode_time_version(v.created_ms, text));
    v.directory = lode_strdup("");
    if (!v.ns || !v.name || !v.author || !v.format || !v.version || !v.directory) {
        lode_version_release(&v);
        return lode_err_nomem(err, "a version");
    }
    *out = v;
    return 0;
}

static int stage(struct push *self, struct lode_err *err)
{
    const struct lode_push_options *o = self->options;
    _cleanup_free_ char *resume_version = NULL;
    struct lode_act act = lode_handle_act(o->call);
    struct lode_stage stage = {
        .ns = self->model.ns,
        .name = self->model.name,
        .version = o->version,
        .parent = self->parent,
        .replication = o->replication,
        .tags = o->tags,
        .n_tags = o->n_tags,
        .metrics = o->metrics,
        .n_metrics = o->n_metrics,
        .aliases = o->aliases,
        .n_aliases = o->n_aliases,
        .size = self->sources.bytes,
    };
    int r = push_resume_find(self, &resume_version, &stage.resume_attempt, err);
    stage.resume_version = resume_version;
    if (r == 0)
        r = lode_handle_ops(self->lode)
                ->stage(self->lode->catalog, &stage, &act, &self->attempt, err);
    if (r < 0)
        return r;
    push_resume_save(self);
    const char *version = lode_attempt_info(self->attempt)->version;
    self->manifest->version = lode_strdup(version);
    return self->manifest->version ? 0 : lode_err_nomem(err, "a manifest");
}

/* The connection failed, not the push: what was written stays for the next try. */
static bool worth_keeping(int code)
{
    return lode_code_is_transient(code) || code == LODE_MOVED;
}

static void give_up(struct push *self, int code)
{
    const struct lode_attempt_info *info = lode_attempt_info(self->attempt);
    bool keep = worth_keeping(code);
    _cleanup_free_ char *version = lode_strdup(info->version);
    uint64_t attempt = info->attempt;
    int r = lode_handle_ops(self->lode)->abandon(self->attempt, keep, NULL);
    lode_attempt_closep(&self->attempt);
    self->attempt = NULL;
    if (keep)
        return;
    push_resume_forget(self);
    if (r == 0 && version)
        lode_gc_attempt(self->lode, self->model.ns, self->model.name, version, attempt);
}

static int run(struct push *self, const char *model, struct lode_version *out, struct lode_err *err)
{
    const struct lode_push_options *o = self->options;
    int r = check_names(self, model, err);
    if (r == 0)
        r = check_facts(o, err);
    if (r == 0)
        r = lode_sources_find(o->paths, o->n_paths, o->follow_links, &self->sources, err);
    if (r == 0)
        r = push_index(self, err);
    if (r == 0)
        r = find_parent(self, err);
    if (r == 0)
        r = check_taken(self, err);
    if (r == 0)
        r = check_room(self, err);
    if (r < 0 || o->dry_run)
        return r < 0 ? r : dry_version(self, out, err);
    r = stage(self, err);
    if (r == 0)
        r = push_upload(self, err);
    if (r == 0)
        r = lode_handle_ops(self->lode)->finish(self->attempt, self->manifest, out, err);
    if (r == 0)
        push_resume_forget(self);
    else if (self->attempt)
        give_up(self, r);
    return r;
}

/* A disk that filled up on the way is told like one that was full before: with both numbers. */
static int explain(struct push *self, int r, struct lode_err *err)
{
    struct lode_store *store = self->lode->store;
    struct lode_store_space space;
    char need[LODE_SIZE_TEXT], there[LODE_SIZE_TEXT];
    if (r != LODE_NO_SPACE || !err || !store || !self->manifest ||
        lode_store_space(store, &space, NULL) < 0)
        return r;
    return lode_err_prefix(err, "the push needs %s and the room ran out (%s free now)",
                           lode_size_text(self->sources.bytes, need),
                           lode_size_text(space.free, there));
}

int lode_push(struct lode *lode, const char *model, const struct lode_push_options *options,
              struct lode_version *out, struct lode_err *err)
{
    _cleanup_push_ struct push self = {.lode = lode, .options = options, .state_fd = -1};
    _cleanup_version_ struct lode_version v = {0};
    int r = lode_handle_writes(lode, err);
    if (r == 0)
        r = run(&self, model, &v, err);
    if (r < 0)
        return explain(&self, r, err);
    if (out) {
        *out = v;
        v = (struct lode_version){0};
    }
    return 0;
}
