/* Reading a manifest: see docs/formats/manifest.md.
 *
 * The head is read token by token: memory grows with what is kept, never with what is merely
 * claimed. Keys may come in any order, but the tensors only behind the files that they point into;
 * unknown keys are skipped. Everything that a manifest promises is checked before it is answered.
 */
#include <string.h>
#include "base/clock.h"
#include "base/jsontok.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"
#include "format/index_json.h"
#include "model/manifest_rules.h"

struct reader {
    struct lode_jsontok t;
    struct lode_manifest *m;
    size_t cap;    /* of m->files */
    uint64_t seen; /* bits of the keys read */
};

static uint64_t get_le(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

/* The next token, which must be there. */
static int next(struct reader *r, struct lode_json_tok *tok, struct lode_err *err)
{
    int got = lode_jsontok_next(&r->t, tok, err);
    if (got == LODE_JSONTOK_TOK)
        return 0;
    return got < 0 ? got : lode_err_set(err, LODE_INVALID, "the head ends early");
}

static int expect(struct reader *r, enum lode_json_type type, struct lode_json_tok *tok,
                  const char *what, struct lode_err *err)
{
    int got = next(r, tok, err);
    if (got < 0)
        return got;
    return tok->type == type
               ? 0
               : lode_jsontok_refuse(&r->t, tok, err, "%s is missing or of the wrong type", what);
}

static int read_u64(struct reader *r, const char *what, uint64_t *out, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_U64, &tok, what, err);
    if (got == 0)
        *out = tok.u64;
    return got;
}

static int read_text(struct reader *r, const char *what, char **out, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_STRING, &tok, what, err);
    if (got < 0)
        return got;
    if (memchr(tok.text, 0, tok.len))
        return lode_jsontok_refuse(&r->t, &tok, err, "%s holds NUL", what);
    *out = lode_strndup(tok.text, tok.len);
    return *out ? 0 : lode_err_nomem(err, "a manifest");
}

static int read_time(struct reader *r, int64_t *out, struct lode_err *err)
{
    _cleanup_free_ char *text = NULL;
    int got = read_text(r, "created", &text, err);
    return got < 0 ? got : lode_time_parse(text, out, err);
}

static int read_hex(struct reader *r, const char *what, void *out, size_t n, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_STRING, &tok, what, err);
    if (got < 0)
        return got;
    return lode_unhex(tok.text, tok.len, out, n)
               ? 0
               : lode_jsontok_refuse(&r->t, &tok, err, "%s is no digest", what);
}

static int read_crc(struct reader *r, uint32_t *out, struct lode_err *err)
{
    uint8_t b[4];
    int got = read_hex(r, "crc32c", b, sizeof b, err);
    if (got == 0)
        *out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return got;
}

static int read_mode(struct reader *r, uint32_t *out, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_STRING, &tok, "mode", err);
    if (got < 0)
        return got;
    if (tok.len != 4 || (memcmp(tok.text, "0644", 4) != 0 && memcmp(tok.text, "0755", 4) != 0))
        return lode_jsontok_refuse(&r->t, &tok, err, "mode must be \"0644\" or \"0755\"");
    *out = tok.text[1] == '6' ? 0644 : 0755;
    return 0;
}

/* Which of `keys` the token is, marked as seen in *seen; n for none of them. */
static int key_of(struct reader *r, const struct lode_json_tok *tok, const char *const *keys,
                  unsigned n, uint64_t *seen, unsigned *out, struct lode_err *err)
{
    unsigned k = 0;
    while (k < n && !(strlen(keys[k]) == tok->len && memcmp(keys[k], tok->text, tok->len) == 0))
        k++;
    if (k < n && *seen >> k & 1)
        return lode_jsontok_refuse(&r->t, tok, err, "'%s' comes twice", keys[k]);
    if (k < n)
        *seen |= 1ull << k;
    *out = k;
    return 0;
}

static int need_all(uint64_t seen, unsigned n, const char *const *keys, const char *what,
                    struct lode_err *err)
{
    for (unsigned k = 0; k < n; k++) {
        if (!(seen >> k & 1))
            return lode_err_set(err, LODE_INVALID, "%s has no '%s'", what, keys[k]);
    }
    return 0;
}

enum { PATH, SIZE, MODE, SHA256, CRC32C, FORMAT, FILE_KEYS };
static const char *const file_keys[] = {"path", "size", "mode", "sha256", "crc32c", "format"};

static int read_file_key(struct reader *r, unsigned key, const struct lode_json_tok *tok,
                         struct lode_manifest_file *f, struct lode_err *err)
{
    switch (key) {
    case PATH:
        return read_text(r, "path", &f->path, err);
    case SIZE:
        return read_u64(r, "size", &f->size, err);
    case MODE:
        return read_mode(r, &f->mode, err);
    case SHA256:
        return read_hex(r, "sha256", f->sha256.b, sizeof f->sha256.b, err);
    case CRC32C:
        return read_crc(r, &f->crc32c, err);
    case FORMAT:
        return read_text(r, "format", &f->format, err);
    default:
        return lode_jsontok_skip(&r->t, tok, err);
    }
}

/* An object whose opening mark was read, into the next element of m->files. */
static int read_file(struct reader *r, struct lode_err *err)
{
    struct lode_manifest *m = r->m;
    uint64_t seen = 0;
    if (m->n_files >= LODE_VERSION_FILES_MAX)
        return lode_err_set(err, LODE_INVALID, "more than %d files", LODE_VERSION_FILES_MAX);
    if (lode_grow((void **)&m->files, &r->cap, m->n_files + 1, sizeof *m->files) < 0)
        return lode_err_nomem(err, "a manifest");
    struct lode_manifest_file *f = &m->files[m->n_files++];
    memset(f, 0, sizeof *f);
    for (;;) {
        struct lode_json_tok tok;
        unsigned key;
        int got = next(r, &tok, err);
        if (got == 0 && tok.type == LODE_JSON_OBJECT_END)
            return need_all(seen, FILE_KEYS, file_keys, "a file", err);
        got = got < 0 ? got : key_of(r, &tok, file_keys, FILE_KEYS, &seen, &key, err);
        got = got < 0 ? got : read_file_key(r, key, &tok, f, err);
        if (got < 0)
            return got;
    }
}

static int read_files(struct reader *r, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_ARRAY, &tok, "files", err);
    while (got == 0) {
        got = next(r, &tok, err);
        if (got == 0 && tok.type == LODE_JSON_ARRAY_END)
            return 0;
        if (got == 0 && tok.type != LODE_JSON_OBJECT)
            got = lode_jsontok_refuse(&r->t, &tok, err, "a file must be an object");
        got = got < 0 ? got : read_file(r, err);
    }
    return got;
}

static int read_tensors(struct reader *r, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_ARRAY, &tok, "tensors", err);
    if (got < 0)
        return got;
    if (r->m->n_files == 0)
        return lode_jsontok_refuse(&r->t, &tok, err,
                                   "tensors come before the files that hold them");
    _cleanup_free_ uint64_t *sizes = lode_calloc(r->m->n_files, sizeof *sizes);
    if (!sizes)
        return lode_err_nomem(err, "a manifest");
    for (size_t i = 0; i < r->m->n_files; i++)
        sizes[i] = r->m->files[i].size;
    return lode_index_read_json(&r->t, &tok, sizes, r->m->n_files, &r->m->tensors, err);
}

enum { SCHEMA, NS, NAME, VERSION, CREATED, BLOCK_SIZE, FILES, TENSORS, HEAD_KEYS };
static const char *const head_keys[] = {"schema",  "ns",         "name",  "version",
                                        "created", "block_size", "files", "tensors"};

static int read_block_size(struct reader *r, struct lode_err *err)
{
    uint64_t size = 0;
    int got = read_u64(r, "block_size", &size, err);
    if (got == 0 && size != LODE_BLOCK_SIZE)
        got = lode_err_set(err, LODE_INVALID, "blocks of %llu bytes; this Lode knows %u",
                           (unsigned long long)size, LODE_BLOCK_SIZE);
    r->m->block_size = (uint32_t)size;
    return got;
}

static int read_head_key(struct reader *r, unsigned key, const struct lode_json_tok *tok,
                         struct lode_err *err)
{
    uint64_t schema;
    switch (key) {
    case SCHEMA:
        return read_u64(r, "schema", &schema, err);
    case NS:
        return read_text(r, "ns", &r->m->ns, err);
    case NAME:
        return read_text(r, "name", &r->m->name, err);
    case VERSION:
        return read_text(r, "version", &r->m->version, err);
    case CREATED:
        return read_time(r, &r->m->created_ms, err);
    case BLOCK_SIZE:
        return read_block_size(r, err);
    case FILES:
        return read_files(r, err);
    case TENSORS:
        return read_tensors(r, err);
    default:
        return lode_jsontok_skip(&r->t, tok, err);
    }
}

static int read_head(struct reader *r, struct lode_err *err)
{
    struct lode_json_tok tok;
    int got = expect(r, LODE_JSON_OBJECT, &tok, "the head", err);
    while (got == 0) {
        unsigned key = HEAD_KEYS;
        got = next(r, &tok, err);
        if (got == 0 && tok.type == LODE_JSON_OBJECT_END)
            break;
        got = got < 0 ? got : key_of(r, &tok, head_keys, HEAD_KEYS, &r->seen, &key, err);
        got = got < 0 ? got : read_head_key(r, key, &tok, err);
    }
    got = got < 0 ? got : lode_jsontok_next(&r->t, &tok, err);
    if (got > 0)
        got = lode_err_set(err, LODE_INVALID, "the head goes on behind its end");
    return got < 0 ? got : need_all(r->seen, TENSORS, head_keys, "the head", err);
}

/* Cuts the table into the files' block sums. */
static int read_table(struct lode_manifest *m, const uint8_t *table, uint64_t len,
                      struct lode_err *err)
{
    uint64_t used = 0;
    for (size_t i = 0; i < m->n_files; i++) {
        struct lode_manifest_file *f = &m->files[i];
        uint64_t n = lode_div_up(f->size, m->block_size);
        if (n > (len - used) / LODE_XXH128_LEN)
            return lode_err_set(err, LODE_INVALID, "the table of block sums ends early, in file %s",
                                lode_q(f->path));
        f->n_blocks = (size_t)n;
        f->blocks = n ? lode_memdup(table + used, f->n_blocks * LODE_XXH128_LEN) : NULL;
        if (n && !f->blocks)
            return lode_err_nomem(err, "a manifest");
        used += n * LODE_XXH128_LEN;
    }
    return used == len ? 0
                       : lode_err_set(err, LODE_INVALID,
                                      "the table of block sums is longer than the files");
}

static int parse(const uint8_t *b, size_t len, struct reader *r, struct lode_err *err)
{
    if (len < LODE_MANIFEST_PREAMBLE || memcmp(b, LODE_MANIFEST_MAGIC, 8) != 0)
        return lode_err_set(err, LODE_INVALID, "these bytes are no manifest");
    uint64_t schema = get_le(b + 8, 4), head = get_le(b + 16, 8), table = get_le(b + 24, 8);
    if (schema != LODE_MANIFEST_SCHEMA)
        return lode_err_set(err, LODE_SCHEMA,
                            "it has schema %llu, this Lode reads %d; use a newer Lode",
                            (unsigned long long)schema, LODE_MANIFEST_SCHEMA);
    uint64_t rest = len - LODE_MANIFEST_PREAMBLE;
    if (get_le(b + 12, 4) != 0 || head > LODE_MANIFEST_HEAD_MAX || head > rest ||
        table != rest - head)
        return lode_err_set(err, LODE_INVALID, "its lengths do not fit its %zu bytes", len);
    lode_jsontok_feed(&r->t, b + LODE_MANIFEST_PREAMBLE, (size_t)head);
    lode_jsontok_end(&r->t);
    int got = read_head(r, err);
    got = got < 0 ? got : read_table(r->m, b + LODE_MANIFEST_PREAMBLE + head, table, err);
    return got < 0 ? got : lode_manifest_check(r->m, err);
}

int lode_manifest_parse(const void *bytes, size_t len, const char *what, struct lode_manifest **out,
                        struct lode_err *err)
{
    _cleanup_manifest_ struct lode_manifest *m = lode_zalloc(sizeof *m);
    struct lode_err why = {0};
    if (!m)
        return lode_err_nomem(err, "a manifest");
    struct reader r = {.m = m};
    lode_jsontok_init(&r.t, "its head", LODE_MANIFEST_TEXT_MAX);
    int got = parse(bytes, len, &r, &why);
    lode_jsontok_release(&r.t);
    if (got < 0) {
        int code = got == LODE_NO_MEMORY || got == LODE_SCHEMA ? got : LODE_CORRUPT;
        return lode_err_set(err, code, "cannot read the manifest of %s: %s", what, why.text);
    }
    *out = lode_steal(m);
    return 0;
}
