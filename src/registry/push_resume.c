/* Going on with an interrupted push: see registry/push.h.
 *
 * $LODE_CACHE/push/<key>.json remembers which attempt a push of these paths to this model wrote to,
 * together with one digest over the identity (size, times, inode, device, mode) of every source.
 * Only if nothing of that changed may what lies in the staging directory be taken for these files'
 * bytes. The file is a hint: losing it costs time alone, and the catalog decides whether the
 * attempt still can be gone on with.
 *
 * The file is locked as long as its push lives. Who gets the lock of a file that is there knows
 * that its push is dead, and need not wait until that push's claim ends by itself: on this same
 * boot of this machine it ends the claim. Were the other one alive after all, it would lose its
 * claim and commit nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "base/cache_dir.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "catalog/records.h"
#include "registry/dirs.h"
#include "registry/push.h"

#define STATE_MAX 4096 /* bytes of a resume file */
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct state {
    char *version; /* owned */
    uint64_t attempt;
    bool same_boot;
    bool unchanged; /* the sources are what they were */
};

/* Names the file after root, model, version and source paths. */
static int find_path(struct push *self, struct lode_err *err)
{
    struct lode_root_info root = {0};
    _cleanup_free_ char *cache = lode_cache_dir("push", true);
    struct lode_sha256_ctx *sha = NULL;
    struct lode_sha256 key;
    char hex[LODE_SHA256_HEX];
    int r = lode_handle_ops(self->lode)->root(self->lode->catalog, &root, err);
    if (r == 0)
        r = lode_sha256_new(&sha, err);
    const char *const parts[] = {root.id, self->model.ns, self->model.name, self->options->version};
    for (size_t i = 0; r == 0 && i < LODE_ARRAY_LEN(parts); i++)
        r = lode_sha256_update(sha, parts[i] ? parts[i] : "", parts[i] ? strlen(parts[i]) + 1 : 1,
                               err);
    for (size_t i = 0; r == 0 && i < self->sources.n; i++)
        r = lode_sha256_update(sha, self->sources.items[i].from,
                               strlen(self->sources.items[i].from) + 1, err);
    if (r == 0)
        r = lode_sha256_final(sha, &key, err);
    lode_sha256_free(sha);
    lode_root_info_release(&root);
    if (r < 0 || !cache) /* no cache, no resuming */
        return r;
    self->state_path = lode_asprintf("%s/%.32s.json", cache, lode_sha256_text(&key, hex));
    return self->state_path ? 0 : lode_err_nomem(err, "a path");
}

/* Locks the file; another push of the same files that lives keeps it, and this one does without. */
static void lock_state(struct push *self)
{
    struct stat st;
    self->state_fd =
        lode_sys->openat(AT_FDCWD, self->state_path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (self->state_fd < 0)
        return;
    if (lode_sys->flock(self->state_fd, LOCK_EX | LOCK_NB) < 0 ||
        lode_sys->fstat(self->state_fd, &st) < 0 || st.st_nlink == 0) {
        lode_sys->close(self->state_fd);
        self->state_fd = -1;
    }
}

static char *boot_id(void)
{
    size_t n;
    char *text = lode_read_file(AT_FDCWD, BOOT_ID, 64, &n);
    if (text)
        text[strcspn(text, "\n")] = 0;
    return text;
}

/* The attempt that the file tells of. A file that makes no sense is none. */
static bool read_state(const struct push *self, struct state *out)
{
    char text[STATE_MAX];
    struct stat st;
    _cleanup_json_ json_t *doc = NULL;
    _cleanup_free_ char *here = boot_id();
    const char *version, *print, *boot;
    struct lode_sha256 fingerprint;
    if (lode_sys->fstat(self->state_fd, &st) < 0 || st.st_size <= 0 || st.st_size > STATE_MAX ||
        lode_pread_full(self->state_fd, text, (size_t)st.st_size, 0) < 0)
        return false;
    if (lode_json_parse(text, (size_t)st.st_size, "a resume file", &doc, NULL) < 0 ||
        lode_json_str(doc, "version", &version, NULL) < 0 ||
        lode_json_str(doc, "fingerprint", &print, NULL) < 0 ||
        lode_json_str(doc, "boot", &boot, NULL) < 0 ||
        lode_json_u64(doc, "attempt", &out->attempt, NULL) < 0 ||
        !lode_sha256_parse(print, &fingerprint))
        return false;
    out->unchanged = memcmp(&fingerprint, &self->fingerprint, sizeof fingerprint) == 0 ||
                     LODE_PLANTED(resume_changed_source);
    out->same_boot = here && strcmp(here, boot) == 0;
    out->version = lode_strdup(version);
    return out->version != NULL;
}

/* Ends the claim of the dead push, so that its attempt is free now and not at its lease's end. */
static void end_claim(struct push *self, const struct state *state)
{
    struct lode_coord *coord = self->lode->coord;
    struct lode_coord_kv kv = {0};
    _cleanup_json_ json_t *doc = NULL;
    _cleanup_free_ char *key = lode_key_claim(self->model.ns, self->model.name, state->version);
    uint64_t attempt;
    if (!coord || !key || !state->same_boot || lode_coord_get(coord, key, &kv, NULL) < 0)
        return;
    if (kv.lease && lode_json_parse(kv.value, kv.len, "a claim", &doc, NULL) == 0 &&
        lode_json_u64(doc, "attempt", &attempt, NULL) == 0 && attempt == state->attempt &&
        lode_coord_lease_revoke(coord, kv.lease, NULL) < 0)
        lode_log_debug("cannot end the claim of an interrupted push");
    lode_coord_kv_release(&kv);
}

int push_resume_find(struct push *self, char **version, uint64_t *attempt, struct lode_err *err)
{
    struct state state = {0};
    *version = NULL;
    *attempt = 0;
    if (self->options->no_resume)
        return 0;
    int r = lode_sources_fingerprint(&self->sources, &self->fingerprint, err);
    if (r == 0)
        r = find_path(self, err);
    if (r < 0 || !self->state_path)
        return r;
    lock_state(self);
    if (self->state_fd < 0 || !read_state(self, &state))
        return 0;
    end_claim(self, &state);
    if (state.unchanged) {
        *version = lode_steal(state.version);
        *attempt = state.attempt;
    }
    lode_free(state.version);
    return 0;
}

void push_resume_save(struct push *self)
{
    const struct lode_attempt_info *info = lode_attempt_info(self->attempt);
    _cleanup_free_ char *boot = boot_id();
    char hex[LODE_SHA256_HEX];
    if (self->state_fd < 0 || !boot)
        return;
    _cleanup_json_ json_t *doc = json_pack("{s:s, s:I, s:s, s:s}", "version", info->version,
                                           "attempt", (json_int_t)info->attempt, "fingerprint",
                                           lode_sha256_text(&self->fingerprint, hex), "boot", boot);
    _cleanup_free_ char *text = doc ? lode_json_text(doc, NULL) : NULL;
    /* Half a text is no JSON: then there is nothing to go on with. */
    if (text && lode_sys->ftruncate(self->state_fd, 0) == 0 &&
        lode_pwrite_full(self->state_fd, text, strlen(text), 0) < 0)
        lode_log_debug("this push cannot be resumed: its state cannot be written down");
}

void push_resume_forget(struct push *self)
{
    if (self->state_fd >= 0)
        lode_sys->unlinkat(AT_FDCWD, self->state_path, 0);
}
