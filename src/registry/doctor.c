/* doctor: is this root healthy, and what does it run on? See <lode/lode.h>. Each check is one line
 * of the report with a status: ok, warn (works, but look at it), fail. */
#include <curl/curl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>
#include "base/buf.h"
#include "base/cache_dir.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "io/engine.h"
#include "load/checks.h"
#include "registry/handle.h"

#define RACERS 8
#define LOW_SPACE 20 /* warn below a 20th of the store */

struct doctor {
    struct lode *lode;
    json_t *checks;
    bool ok;
    int failed; /* sticky: NO_MEMORY */
};

static void say(struct doctor *d, const char *status, const char *name, const char *fmt, ...)
    lode_printf(4, 5);
static void say(struct doctor *d, const char *status, const char *name, const char *fmt, ...)
{
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(2048);
    va_list args;
    va_start(args, fmt);
    lode_buf_addv(&text, fmt, args);
    va_end(args);
    json_t *line = json_pack("{s:s, s:s, s:s}", "name", name, "status", status, "message",
                             lode_buf_str(&text));
    if (!line || json_array_append_new(d->checks, line) < 0)
        d->failed = LODE_NO_MEMORY;
    if (strcmp(status, "fail") == 0)
        d->ok = false;
}

static void check_root(struct doctor *d)
{
    struct lode_root_info info = {0};
    struct lode_err err;
    uint64_t revision;
    if (lode_handle_ops(d->lode)->revision(d->lode->catalog, true, &revision, &err) < 0 ||
        lode_handle_ops(d->lode)->root(d->lode->catalog, &info, &err) < 0) {
        say(d, "fail", "root", "%s", err.text);
        return;
    }
    bool open = strcmp(info.state, "open") == 0;
    say(d, open ? "ok" : "warn", "root", "id %s, schema %u, epoch %llu, %s%s%s, revision %llu",
        info.id, info.schema, (unsigned long long)info.epoch, info.state,
        info.moved_to ? " to " : "", info.moved_to ? info.moved_to : "",
        (unsigned long long)revision);
    say(d, "ok", "coord", "%s", info.coord ? info.coord : lode_coord_url(d->lode->coord));
    lode_root_info_release(&info);
}

static const struct {
    uint32_t cap;
    const char *name;
} caps[] = {
    {LODE_STORE_IF_ABSENT, "if-absent"}, {LODE_STORE_RENAME_DIR, "rename-dir"},
    {LODE_STORE_PLACEMENT, "placement"}, {LODE_STORE_OPEN_LOCAL, "local-files"},
    {LODE_STORE_LIST, "list"},           {LODE_STORE_RESUME, "resume"},
    {LODE_STORE_READ_ONLY, "read-only"}, {LODE_STORE_SPACE, "space"},
};

static void check_store(struct doctor *d)
{
    _cleanup_buf_ struct lode_buf list = LODE_BUF_INIT(512);
    uint32_t has = lode_store_caps(d->lode->store);
    for (size_t i = 0; i < LODE_ARRAY_LEN(caps); i++) {
        if (has & caps[i].cap)
            lode_buf_addf(&list, " %s", caps[i].name);
    }
    say(d, has & LODE_STORE_READ_ONLY ? "warn" : "ok", "store", "%s:%s",
        lode_store_url(d->lode->store), lode_buf_str(&list));
}

static void check_space(struct doctor *d)
{
    struct lode_store_space space;
    struct lode_err err;
    char there[LODE_SIZE_TEXT], all[LODE_SIZE_TEXT];
    if (!(lode_store_caps(d->lode->store) & LODE_STORE_SPACE))
        return;
    if (lode_store_space(d->lode->store, &space, &err) < 0) {
        say(d, "fail", "space", "%s", err.text);
        return;
    }
    say(d, space.free < space.total / LOW_SPACE ? "warn" : "ok", "space", "%s free of %s",
        lode_size_text(space.free, there), lode_size_text(space.total, all));
}

struct race {
    struct lode_store *store;
    const char *key;
    _Atomic bool *go;
    int result;
};

static void *race(void *arg)
{
    struct race *r = arg;
    while (!atomic_load(r->go))
        sched_yield();
    r->result = lode_store_put(r->store, r->key, "x", 1, true, NULL);
    return NULL;
}

/* Several writers of one absent key at once: where a store says that it lets one win, one must.
 * Answers how many ran. */
static unsigned run_race(struct lode_store *store, const char *key, unsigned *won,
                         unsigned *refused)
{
    pthread_t threads[RACERS];
    struct race racers[RACERS];
    _Atomic bool go = false;
    unsigned n = 0;
    *won = *refused = 0;
    for (; n < RACERS; n++) {
        racers[n] = (struct race){store, key, &go, 0};
        if (pthread_create(&threads[n], NULL, race, &racers[n]) != 0)
            break;
    }
    atomic_store(&go, true);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        *won += racers[i].result == 0;
        *refused += racers[i].result == LODE_EXISTS;
    }
    return n;
}

static void check_race(struct doctor *d, const char *key)
{
    struct lode_err err;
    unsigned won, refused, n = run_race(d->lode->store, key, &won, &refused);
    say(d, won == 1 && refused == n - 1 ? "ok" : "fail", "race",
        "of %u writers of one name %u won, %u were refused", n, won, refused);
    if (lode_store_remove(d->lode->store, key, &err) < 0)
        say(d, "warn", "race", "%s", err.text);
}

static void check_writing(struct doctor *d)
{
    struct lode_store *store = d->lode->store;
    uint8_t random[8];
    char hex[17], key[64];
    if ((lode_store_caps(store) & LODE_STORE_READ_ONLY) || d->lode->read_only)
        return;
    if (lode_sys->getrandom(random, sizeof random) != sizeof random)
        return;
    snprintf(key, sizeof key, "_staging/doctor-%s", lode_hex(random, sizeof random, hex));
    struct lode_err err;
    int r = lode_store_put(store, key, "x", 1, false, &err);
    if (r < 0) {
        say(d, "fail", "writing", "%s", err.text);
        return;
    }
    r = lode_store_remove(store, key, &err);
    if (r < 0)
        say(d, "fail", "writing", "%s", err.text);
    else
        say(d, "ok", "writing", "an object was written and removed");
    if (r == 0 && (lode_store_caps(store) & LODE_STORE_IF_ABSENT))
        check_race(d, key);
}

static void check_io(struct doctor *d)
{
    struct lode_io_about about;
    struct lode_err err;
    _cleanup_io_ struct lode_io *io = NULL;
    if (lode_io_get(&io, &err) < 0) {
        say(d, "fail", "io", "%s", err.text);
        return;
    }
    lode_io_describe(io, &about);
    say(d, about.registers || strcmp(about.name, "uring") != 0 ? "ok" : "warn", "io",
        "%s (%s), depth %u, registered buffers: %s", about.name, about.why, about.depth,
        about.registers ? "yes" : about.registers_why);
}

static void check_cache(struct doctor *d)
{
    _cleanup_free_ char *cache = lode_cache_dir("load", true);
    if (!cache) {
        say(d, "warn", "cache",
            "there is none (LODE_CACHE): pushes cannot be resumed and checks are not remembered");
        return;
    }
    struct lode_checks *checks = lode_checks_open(cache);
    say(d, "ok", "cache", "%s, %zu remembered checks", cache, lode_checks_count(checks));
    lode_checks_close(checks);
}

static void tell_versions(struct doctor *d)
{
    say(d, "ok", "lode", "%s", lode_version_string());
    say(d, "ok", "libraries", "sqlite %s, %s, %s, zlib %s, xxhash %u, jansson %s",
        sqlite3_libversion(), OpenSSL_version(OPENSSL_VERSION), curl_version(), zlibVersion(),
        XXH_versionNumber(), JANSSON_VERSION);
}

int lode_doctor(struct lode *lode, char **json, struct lode_err *err)
{
    _cleanup_json_ json_t *checks = json_array(), *params = NULL;
    struct doctor d = {.lode = lode, .checks = checks, .ok = true};
    if (!lode->store) {
        params = json_object();
        return lode_handle_job(lode, "doctor", params, json, err);
    }
    if (!checks)
        return lode_err_nomem(err, "a report");
    tell_versions(&d);
    check_root(&d);
    check_store(&d);
    check_space(&d);
    check_writing(&d);
    check_io(&d);
    check_cache(&d);
    if (d.failed)
        return lode_err_nomem(err, "a report");
    return lode_json_hand_out(json_pack("{s:b, s:O}", "ok", d.ok, "checks", checks), json, err);
}
