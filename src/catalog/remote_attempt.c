/* Writing a version through a server: it stages, hashes what arrives, writes the manifest and
 * commits. See catalog/remote.h, docs/formats/http-store.md. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "catalog/content.h"
#include "catalog/remote.h"
#include "model/record.h"

#define FINISH_TRIES 6
#define FINISH_PAUSE_MS 200

struct remote_attempt {
    struct lode_attempt_base base;
    struct lode_remote *remote;
    struct lode_place place;
    char *id, *ns, *name, *version;
    bool ended; /* finished or abandoned */
};

static struct remote_attempt *attempt_of(struct lode_attempt *attempt)
{
    return (struct remote_attempt *)(void *)attempt;
}

static void attempt_free(struct remote_attempt *a)
{
    if (a->place.store)
        lode_place_release(&a->place);
    lode_free(a->id);
    lode_free(a->ns);
    lode_free(a->name);
    lode_free(a->version);
    lode_free(a);
}

static json_t *alias_list(const struct lode_stage *stage)
{
    json_t *list = json_array();
    for (size_t i = 0; i < stage->n_aliases; i++)
        json_array_append_new(list, json_string(stage->aliases[i]));
    return list;
}

static void fill_stage(struct lode_remote_ask *ask, const struct lode_stage *stage,
                       const struct lode_act *act)
{
    lode_remote_model_path(ask, stage->ns, stage->name, "attempts", NULL);
    lode_remote_text(ask, "version", stage->version);
    lode_remote_text(ask, "parent", stage->parent);
    lode_remote_text(ask, "replication", stage->replication);
    lode_remote_text(ask, "why", act ? act->why : NULL);
    lode_remote_notes(ask, stage->tags, stage->n_tags, stage->metrics, stage->n_metrics);
    lode_remote_field(ask, "aliases", alias_list(stage));
    lode_remote_field(ask, "size", json_integer((json_int_t)stage->size));
    if (stage->resume_version)
        lode_remote_field(ask, "resume",
                          json_pack("{s:s, s:I}", "version", stage->resume_version, "attempt",
                                    (json_int_t)stage->resume_attempt));
}

static int read_attempt(struct lode_remote *self, const json_t *doc, struct remote_attempt *a,
                        struct lode_err *err)
{
    const char *id, *ns, *name, *version, *files;
    uint64_t number;
    bool resumed = false;
    int r = lode_json_str(doc, "id", &id, err);
    r = r < 0 ? r : lode_json_str(doc, "ns", &ns, err);
    r = r < 0 ? r : lode_json_str(doc, "name", &name, err);
    r = r < 0 ? r : lode_json_str(doc, "version", &version, err);
    r = r < 0 ? r : lode_json_str(doc, "files_url", &files, err);
    r = r < 0 ? r : lode_json_u64(doc, "attempt", &number, err);
    r = r < 0 ? r : lode_json_opt_bool(doc, "resumed", &resumed, err);
    if (r == 0 && files[0] != '/')
        r = lode_err_set(err, LODE_IO,
                         "the server named a place for the files that is not its own");
    if (r < 0)
        return r;
    a->remote = self;
    a->id = lode_strdup(id);
    a->ns = lode_strdup(ns);
    a->name = lode_strdup(name);
    a->version = lode_strdup(version);
    if (!a->id || !a->ns || !a->name || !a->version)
        return lode_err_nomem(err, "an attempt");
    a->base.info = (struct lode_attempt_info){.ns = a->ns,
                                              .name = a->name,
                                              .version = a->version,
                                              .attempt = number,
                                              .place = &a->place,
                                              .resumed = resumed,
                                              .hashes = true};
    return lode_remote_place(self, files, &a->place, err);
}

int lode_remote_stage(struct lode_catalog *catalog, const struct lode_stage *stage,
                      const struct lode_act *act, struct lode_attempt **out, struct lode_err *err)
{
    struct lode_remote *self = lode_remote_of(catalog);
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("POST");
    _cleanup_json_ json_t *doc = NULL;
    fill_stage(&ask, stage, act);
    struct remote_attempt *a = lode_zalloc(sizeof(*a));
    if (!a)
        return lode_err_nomem(err, "an attempt");
    a->base.ops = self->ops;
    int r = lode_remote_ask(self, &ask, &doc, err);
    r = r < 0 ? r : read_attempt(self, doc, a, err);
    if (r < 0) {
        attempt_free(a);
        return r;
    }
    *out = (struct lode_attempt *)(void *)a;
    return 0;
}

/* ---- the end ---- */

static int finish_once(struct remote_attempt *a, const char *content, struct lode_version *out,
                       struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("POST");
    _cleanup_json_ json_t *doc = NULL;
    lode_buf_addf(&ask.path, "/v1/attempts/%s/finish", a->id);
    lode_remote_text(&ask, "content", content);
    int r = lode_remote_ask(a->remote, &ask, &doc, err);
    return r < 0 ? r : lode_version_from_json(doc, out, err);
}

/* The server answers a repeated finish as it did the first: so a lost reply is asked for again.
 * While it is still busy with the first it says conflict. */
int lode_remote_finish(struct lode_attempt *attempt, struct lode_manifest *manifest,
                       struct lode_version *out, struct lode_err *err)
{
    struct remote_attempt *a = attempt_of(attempt);
    char content[LODE_SHA256_HEX];
    bool asked_before = false;
    int r = lode_manifest_sort(manifest, err);
    r = r < 0 ? r : lode_manifest_content(manifest, content, err);
    if (r < 0)
        return r;
    for (unsigned try = 0; try < FINISH_TRIES; try++) {
        r = finish_once(a, content, out, err);
        if (r == 0 || (!lode_code_is_transient(r) && !(asked_before && r == LODE_CONFLICT)))
            break;
        asked_before = true;
        lode_sleep_ms(FINISH_PAUSE_MS << try);
    }
    a->ended |= r == 0;
    return r;
}

int lode_remote_abandon(struct lode_attempt *attempt, bool keep, struct lode_err *err)
{
    struct remote_attempt *a = attempt_of(attempt);
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("DELETE");
    lode_buf_addf(&ask.path, "/v1/attempts/%s", a->id);
    lode_remote_query(&ask, "keep", keep ? "true" : NULL);
    a->ended = true;
    int r = lode_remote_ask(a->remote, &ask, NULL, err);
    return r == LODE_LOST_LEASE ? 0 : r; /* gone already */
}

/* One that is neither finished nor abandoned stays open at the server until nobody spoke of it for
 * long: the next push of the same files takes it over. */
void lode_remote_attempt_close(struct lode_attempt *attempt)
{
    attempt_free(attempt_of(attempt));
}
