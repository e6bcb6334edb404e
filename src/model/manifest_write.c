/* The bytes of a manifest: see docs/formats/manifest.md. Keys come in one fixed order, so that
 * equal contents make equal bytes and with them equal digests. */
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "format/index_json.h"
#include "model/manifest_rules.h"

static void add_le(struct lode_buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        lode_buf_addc(out, (char)(value >> (8 * i) & 0xff));
}

static void set_le64(char *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (char)(value >> (8 * i) & 0xff);
}

static void add_field(struct lode_buf *out, const char *key, const char *text)
{
    lode_buf_addf(out, ",\"%s\":", key);
    lode_json_quote(out, text, strlen(text));
}

static void add_file(struct lode_buf *out, const struct lode_manifest_file *f)
{
    char hex[LODE_SHA256_HEX];
    lode_buf_adds(out, "{\"path\":");
    lode_json_quote(out, f->path, strlen(f->path));
    lode_buf_addf(out, ",\"size\":%llu,\"mode\":\"%04o\",\"sha256\":\"%s\",\"crc32c\":\"%08x\"",
                  (unsigned long long)f->size, f->mode, lode_sha256_text(&f->sha256, hex),
                  f->crc32c);
    add_field(out, "format", f->format);
    lode_buf_addc(out, '}');
}

static void add_head(struct lode_buf *out, const struct lode_manifest *m)
{
    char created[LODE_TIME_TEXT];
    lode_buf_addf(out, "{\"schema\":%d", LODE_MANIFEST_SCHEMA);
    add_field(out, "ns", m->ns);
    add_field(out, "name", m->name);
    add_field(out, "version", m->version);
    add_field(out, "created", lode_time_rfc3339(m->created_ms, created));
    lode_buf_addf(out, ",\"block_size\":%u,\"files\":[", m->block_size);
    for (size_t i = 0; i < m->n_files; i++) {
        if (i)
            lode_buf_addc(out, ',');
        add_file(out, &m->files[i]);
    }
    lode_buf_addc(out, ']');
    if (m->tensors) {
        lode_buf_adds(out, ",\"tensors\":");
        lode_index_write_json(m->tensors, out);
    }
    lode_buf_addc(out, '}');
}

static void add_table(struct lode_buf *out, const struct lode_manifest *m)
{
    for (size_t i = 0; i < m->n_files; i++) {
        if (m->files[i].n_blocks)
            lode_buf_add(out, m->files[i].blocks, m->files[i].n_blocks * LODE_XXH128_LEN);
    }
}

int lode_manifest_write(const struct lode_manifest *m, struct lode_buf *out, struct lode_err *err)
{
    int r = lode_manifest_check(m, err);
    if (r < 0) {
        lode_err_prefix(err, "the manifest of %s/%s@%s", m->ns, m->name, m->version);
        return r;
    }
    size_t start = out->len;
    lode_buf_add(out, LODE_MANIFEST_MAGIC, 8);
    add_le(out, LODE_MANIFEST_SCHEMA, 4);
    add_le(out, 0, 4);
    add_le(out, 0, 8);
    add_le(out, 0, 8);
    size_t head = out->len;
    add_head(out, m);
    size_t table = out->len;
    add_table(out, m);
    r = lode_buf_check(out, "the manifest", err);
    if (r < 0)
        return r;
    if (table - head > LODE_MANIFEST_HEAD_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the manifest's head is %zu bytes long; at most %u are allowed",
                            table - head, LODE_MANIFEST_HEAD_MAX);
    set_le64(out->data + start + 16, table - head);
    set_le64(out->data + start + 24, out->len - table);
    return 0;
}
