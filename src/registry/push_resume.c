/* Going on with an interrupted push: see registry/push.h.
 *
 * $LODE_CACHE/push/<key>.json remembers which attempt a push of these paths to this model wrote to,
 * together with one digest over the identity (size, times, inode, device, mode) of every source.
 * Only if nothing of that changed may what lies in the staging directory be taken for these files'
 * bytes. The file is a hint: losing it costs time alone, and the catalog decides whether the
 * attempt still can be gone on with.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/cache_dir.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/sys.h"
#include "registry/dirs.h"
#include "registry/push.h"

#define STATE_MAX 4096 /* bytes of a resume file */

/* Names the file after root, model, version and source paths. */
static int find_path(struct push *self, struct lode_err *err)
{
    struct lode_root_info root = {0};
    _cleanup_free_ char *cache = lode_cache_dir("push", false);
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

/* The attempt of a resume file, if it is about the same unchanged sources. A file that makes no
 * sense is none. */
static bool read_state(const struct push *self, const char *text, size_t len, char **version,
                       uint64_t *attempt)
{
    _cleanup_json_ json_t *doc = NULL;
    const char *name, *print;
    struct lode_sha256 fingerprint;
    if (lode_json_parse(text, len, "a resume file", &doc, NULL) < 0 ||
        lode_json_str(doc, "version", &name, NULL) < 0 ||
        lode_json_str(doc, "fingerprint", &print, NULL) < 0 ||
        lode_json_u64(doc, "attempt", attempt, NULL) < 0)
        return false;
    if (!lode_sha256_parse(print, &fingerprint))
        return false;
    if (!LODE_PLANTED(resume_changed_source) &&
        memcmp(&fingerprint, &self->fingerprint, sizeof fingerprint) != 0)
        return false;
    *version = lode_strdup(name);
    return *version != NULL;
}

int push_resume_find(struct push *self, char **version, uint64_t *attempt, struct lode_err *err)
{
    size_t len;
    *version = NULL;
    *attempt = 0;
    if (self->options->no_resume)
        return 0;
    int r = lode_sources_fingerprint(&self->sources, &self->fingerprint, err);
    if (r == 0)
        r = find_path(self, err);
    if (r < 0 || !self->state_path)
        return r;
    _cleanup_free_ char *text = lode_read_file(AT_FDCWD, self->state_path, STATE_MAX, &len);
    if (text)
        read_state(self, text, len, version, attempt);
    return 0;
}

static int write_state(const char *path, const char *temp, const char *text)
{
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || lode_write_full(fd, text, strlen(text)) < 0 ||
        lode_sys->renameat2(AT_FDCWD, temp, AT_FDCWD, path, 0) < 0) {
        lode_sys->unlinkat(AT_FDCWD, temp, 0);
        return -1;
    }
    return 0;
}

void push_resume_save(struct push *self)
{
    const struct lode_attempt_info *info = lode_attempt_info(self->attempt);
    char hex[LODE_SHA256_HEX];
    if (!self->state_path || lode_dir_make_above(self->state_path, 0700, NULL) < 0)
        return;
    _cleanup_json_ json_t *doc =
        json_pack("{s:s, s:I, s:s}", "version", info->version, "attempt", (json_int_t)info->attempt,
                  "fingerprint", lode_sha256_text(&self->fingerprint, hex));
    _cleanup_free_ char *text = doc ? lode_json_text(doc, NULL) : NULL;
    _cleanup_free_ char *temp = lode_asprintf("%s.%ld", self->state_path, (long)getpid());
    if (text && temp)
        write_state(self->state_path, temp, text);
}

void push_resume_forget(struct push *self)
{
    if (self->state_path)
        lode_sys->unlinkat(AT_FDCWD, self->state_path, 0);
}
