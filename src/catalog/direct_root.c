/* The root record: making a root, opening it, sealing it.
 *
 * A root is a coord with the record `root` and a store with the same id in `_lode/root`. The
 * coord's record is made first; an init that was cut off between the two is finished by the next
 * one, as long as nothing was written since.
 */
#include <string.h>
#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "catalog/direct.h"
#include "catalog/direct_config.h"

#define STORE_ROOT_KEY "_lode/root"
#define STORE_ROOT_MAX 4096 /* bytes of that object */

/* The id in the store; NOT_FOUND when there is none. Owned. */
static int read_store_id(struct lode_store *store, char **id, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(STORE_ROOT_MAX);
    _cleanup_json_ json_t *doc = NULL;
    const char *found;
    int r = lode_store_get(store, STORE_ROOT_KEY, &text, err);
    r = r < 0 ? r : lode_json_parse(lode_buf_str(&text), text.len, STORE_ROOT_KEY, &doc, err);
    r = r < 0 ? r : lode_json_str(doc, "id", &found, err);
    if (r < 0)
        return r;
    *id = lode_strdup(found);
    return *id ? 0 : lode_err_nomem(err, "a root's id");
}

static int write_store_id(struct lode_store *store, const char *id, struct lode_err *err)
{
    _cleanup_free_ char *text =
        lode_asprintf("{\"schema\":%d,\"id\":\"%s\"}\n", LODE_RECORD_SCHEMA, id);
    if (!text)
        return lode_err_nomem(err, "a root's id");
    return lode_store_put(store, STORE_ROOT_KEY, text, strlen(text), true, err);
}

static int get_root(struct lode_coord *coord, struct lode_root_record *out, struct lode_err *err)
{
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    int r = lode_coord_get(coord, LODE_KEY_ROOT, &kv, err);
    return r < 0 ? r : lode_root_record_read(&kv, out, err);
}

/* ---- init ---- */

static int make_id(char hex[33], struct lode_err *err)
{
    uint8_t bytes[16];
    if (lode_sys->getrandom(bytes, sizeof bytes) != sizeof bytes)
        return lode_err_sys(err, "cannot get random bytes for a root's id");
    lode_hex(bytes, sizeof bytes, hex);
    return 0;
}

/* The coord has a root record: finish an init that was cut off, or say what is there. */
static int finish_init(struct lode_coord *coord, struct lode_store *store, struct lode_err *err)
{
    _cleanup_root_record_ struct lode_root_record root = {0};
    _cleanup_kvs_ struct lode_coord_kvs used = {0};
    int r = get_root(coord, &root, err);
    r = r < 0 ? r : lode_coord_range(coord, "ns/", NULL, 1, &used, err);
    if (r == 0 && used.n == 0) {
        lode_coord_kvs_release(&used);
        r = lode_coord_range(coord, LODE_KEY_MODELS, NULL, 1, &used, err);
    }
    if (r < 0)
        return r;
    if (used.n == 0 && strcmp(root.store, lode_store_url(store)) == 0)
        return write_store_id(store, root.id, err);
    return lode_err_set(err, LODE_EXISTS, "%s already holds a root (id %s, store %s)",
                        lode_coord_url(coord), root.id, root.store);
}

static int check_store_is_free(struct lode_store *store, struct lode_coord *coord,
                               struct lode_err *err)
{
    _cleanup_free_ char *id = NULL;
    _cleanup_root_record_ struct lode_root_record root = {0};
    int r = read_store_id(store, &id, err);
    if (r == LODE_NOT_FOUND)
        return 0;
    if (r < 0)
        return r;
    bool same = get_root(coord, &root, NULL) == 0 && strcmp(root.id, id) == 0;
    return lode_err_set(err, LODE_EXISTS,
                        same ? "%s is a root already (id %s)"
                             : "%s belongs to another root (id %s)",
                        lode_store_url(store), id);
}

int lode_catalog_init(struct lode_coord *coord, struct lode_store *store, struct lode_err *err)
{
    char id[33];
    struct lode_coord_txn_result res = {0};
    int r = check_store_is_free(store, coord, err);
    r = r < 0 ? r : make_id(id, err);
    if (r < 0)
        return r;
    const struct lode_root_record root = {
        .id = id, .epoch = 1, .store = (char *)(uintptr_t)lode_store_url(store)};
    _cleanup_free_ char *text = lode_root_record_text(&root);
    if (!text)
        return lode_err_nomem(err, "a root");
    const struct lode_coord_compare absent = {LODE_KEY_ROOT, 0};
    const struct lode_coord_op put = {LODE_COORD_PUT, LODE_KEY_ROOT, text, strlen(text), 0};
    const struct lode_coord_txn txn = {&absent, 1, &put, 1, NULL, 0};
    r = lode_coord_txn(coord, &txn, &res, err);
    if (r < 0)
        return r;
    bool made = res.succeeded;
    lode_coord_txn_result_release(&res);
    return made ? write_store_id(store, id, err) : finish_init(coord, store, err);
}

/* ---- opening ---- */

static int check_store_id(struct lode_direct *self, struct lode_err *err)
{
    _cleanup_free_ char *id = NULL;
    int r = read_store_id(self->store, &id, err);
    if (r == LODE_NOT_FOUND)
        return lode_err_set(err, LODE_NOT_FOUND,
                            "%s is the store of no root; if `lode init` was cut off, run it again",
                            lode_store_url(self->store));
    if (r < 0)
        return r;
    if (strcmp(id, self->root.id) != 0)
        return lode_err_set(err, LODE_CONFLICT,
                            "%s belongs to the root %s, but %s to %s; check --store and --coord",
                            lode_store_url(self->store), id, lode_coord_url(self->coord),
                            self->root.id);
    return 0;
}

static int check_open(const struct lode_root_record *root, struct lode_err *err)
{
    if (root->state == LODE_ROOT_SEALED)
        return lode_err_set(err, LODE_READ_ONLY,
                            "the root is sealed: it is being moved; try again later");
    if (root->state == LODE_ROOT_MOVED)
        return lode_err_set(err, LODE_MOVED, "the root lives at %s now",
                            root->moved_to ? root->moved_to : "another place");
    return 0;
}

int lode_direct_open_root(struct lode_direct *self, struct lode_err *err)
{
    int r = get_root(self->coord, &self->root, err);
    if (r == LODE_NOT_FOUND)
        return lode_err_set(err, LODE_NOT_FOUND, "%s holds no root; make one with `lode init`",
                            lode_coord_url(self->coord));
    return r < 0 ? r : check_store_id(self, err);
}

int lode_direct_refresh_root(struct lode_direct *self, struct lode_err *err)
{
    struct lode_root_record root = {0};
    int r = get_root(self->coord, &root, err);
    if (r < 0)
        return r;
    r = check_open(&root, err);
    pthread_mutex_lock(&self->lock);
    struct lode_root_record old = self->root;
    self->root = root;
    pthread_mutex_unlock(&self->lock);
    lode_root_record_release(&old);
    return r;
}

static int describe(const struct lode_root_record *root, struct lode_root_info *out,
                    struct lode_err *err)
{
    out->id = lode_strdup(root->id);
    out->epoch = root->epoch;
    out->schema = LODE_RECORD_SCHEMA;
    out->state = lode_strdup(lode_root_state_name(root->state));
    out->moved_to = lode_strdup(root->moved_to);
    return out->id && out->state && (out->moved_to || !root->moved_to)
               ? 0
               : lode_err_nomem(err, "a root");
}

int lode_direct_root(struct lode_catalog *catalog, struct lode_root_info *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_root_record_ struct lode_root_record root = {0};
    struct lode_root_info info = {0};
    int r = get_root(self->coord, &root, err);
    r = r < 0 ? r : lode_coord_revision(self->coord, &info.revision, err);
    r = r < 0 ? r : describe(&root, &info, err);
    if (r == 0) {
        info.store = lode_strdup(lode_store_url(self->store));
        info.coord = lode_strdup(lode_coord_url(self->coord));
        r = info.store && info.coord ? 0 : lode_err_nomem(err, "a root");
    }
    if (r < 0) {
        lode_root_info_release(&info);
        return r;
    }
    *out = info;
    return 0;
}

/* ---- sealing ---- */

int lode_catalog_direct_set_root(struct lode_catalog *catalog, enum lode_root_change change,
                                 const char *moved_to, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_root_record_ struct lode_root_record root = {0};
    struct lode_coord_txn_result res = {0};
    int r = get_root(self->coord, &root, err);
    if (r < 0)
        return r;
    root.state = change == LODE_ROOT_SEAL ? LODE_ROOT_SEALED : LODE_ROOT_OPEN;
    if (change == LODE_ROOT_MOVE) {
        root.state = LODE_ROOT_MOVED;
        lode_free(root.moved_to);
        root.moved_to = lode_strdup(moved_to);
    }
    _cleanup_free_ char *text = lode_root_record_text(&root);
    if (!text || (moved_to && !root.moved_to))
        return lode_err_nomem(err, "a root");
    const struct lode_coord_compare same = {LODE_KEY_ROOT, root.modified};
    const struct lode_coord_op put = {LODE_COORD_PUT, LODE_KEY_ROOT, text, strlen(text), 0};
    const struct lode_coord_txn txn = {&same, 1, &put, 1, NULL, 0};
    r = lode_coord_txn(self->coord, &txn, &res, err);
    if (r < 0)
        return r;
    r = res.succeeded
            ? 0
            : lode_err_set(err, LODE_CONFLICT, "the root was changed meanwhile; look again");
    lode_coord_txn_result_release(&res);
    return r;
}
