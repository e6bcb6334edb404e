/* Records as they stand in the coord, which other programs can write too: what is accepted is
 * written and read again to the same structure; keys split into their parts. The first byte chooses
 * the record. */
#include <string.h>
#include "base/mem.h"
#include "catalog/records.h"
#include "fuzz/fuzz.h"

static struct lode_coord_kv kv_of(const char *key, char *text)
{
    return (struct lode_coord_kv){
        .key = (char *)(uintptr_t)key, .value = text, .len = strlen(text), .modified = 7};
}

static void root(char *text)
{
    struct lode_coord_kv kv = kv_of("root", text);
    struct lode_root_record a = {0}, b = {0};
    if (lode_root_record_read(&kv, &a, NULL) < 0)
        return;
    char *again = lode_root_record_text(&a);
    must(again != NULL);
    kv = kv_of("root", again);
    must(lode_root_record_read(&kv, &b, NULL) == 0);
    must(strcmp(a.id, b.id) == 0 && a.epoch == b.epoch && a.state == b.state);
    lode_free(again);
    lode_root_record_release(&a);
    lode_root_record_release(&b);
}

static void model(char *text)
{
    struct lode_coord_kv kv = kv_of("model/_/rank", text);
    struct lode_model_record a = {0}, b = {0};
    if (lode_model_record_read(&kv, &a, NULL) < 0)
        return;
    char *again = lode_model_record_text(&a);
    must(again != NULL);
    kv = kv_of("model/_/rank", again);
    must(lode_model_record_read(&kv, &b, NULL) == 0);
    must(a.next_entry == b.next_entry && a.info.next_seq == b.info.next_seq &&
         a.info.n_aliases == b.info.n_aliases);
    lode_free(again);
    lode_model_record_release(&a);
    lode_model_record_release(&b);
}

static void version(char *text)
{
    struct lode_coord_kv kv = kv_of("version/_/rank/v1", text);
    struct lode_version_record a = {0}, b = {0};
    if (lode_version_record_read(&kv, &a, NULL) < 0)
        return;
    char *again = lode_version_record_text(&a);
    must(again != NULL);
    kv = kv_of("version/_/rank/v1", again);
    must(lode_version_record_read(&kv, &b, NULL) == 0);
    must(a.v.seq == b.v.seq && a.v.state == b.v.state && a.v.n_tags == b.v.n_tags &&
         a.freed == b.freed);
    lode_free(again);
    lode_version_record_release(&a);
    lode_version_record_release(&b);
}

static void entry(char *text)
{
    struct lode_coord_kv kv = kv_of("journal/_/rank/0000000000000001", text);
    struct lode_journal_entry a = {0}, b = {0};
    if (lode_journal_record_read(&kv, &a, NULL) < 0)
        return;
    char *again = lode_journal_record_text(&a);
    must(again != NULL);
    kv = kv_of("journal/_/rank/0000000000000001", again);
    must(lode_journal_record_read(&kv, &b, NULL) == 0);
    must(a.number == b.number && a.when_ms == b.when_ms && a.change == b.change);
    lode_free(again);
    lode_journal_entry_release(&a);
    lode_journal_entry_release(&b);
}

static void attempt(char *text)
{
    struct lode_coord_kv kv = kv_of("attempt/_/rank/v1/1", text);
    struct lode_attempt_record a = {0}, b = {0};
    if (lode_attempt_record_read(&kv, &a, NULL) < 0)
        return;
    char *again = lode_attempt_record_text(&a);
    must(again != NULL);
    kv = kv_of("attempt/_/rank/v1/1", again);
    must(lode_attempt_record_read(&kv, &b, NULL) == 0);
    must(a.state == b.state && a.since_ms == b.since_ms && a.size == b.size);
    lode_free(again);
    lode_attempt_record_release(&a);
    lode_attempt_record_release(&b);
}

static void key(char *text)
{
    struct lode_key_parts parts;
    if (strlen(text) <= LODE_COORD_KEY_MAX && lode_key_split(text, &parts))
        must(parts.n <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(char *) = {root, model, version, entry, attempt, key};
    if (size < 1 || size > LODE_COORD_VALUE_MAX)
        return 0;
    char *text = malloc(size);
    must(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = 0;
    kinds[data[0] % (sizeof kinds / sizeof *kinds)](text);
    free(text);
    return 0;
}
