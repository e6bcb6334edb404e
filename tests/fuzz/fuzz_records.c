/* Records and pages as a client reads them from a server: what is accepted is written and read
 * again to the same text. */
#include <string.h>
#include "base/mem.h"
#include "fuzz/fuzz.h"
#include "model/record.h"

/* Reads, writes, reads and writes again: the two texts must be one. */
#define ROUND_TRIP(type, from_json, to_json, release)                                              \
    static void type(const json_t *doc)                                                            \
    {                                                                                              \
        struct lode_##type a = {0}, b = {0};                                                       \
        if (from_json(doc, &a, NULL) == 0) {                                                       \
            json_t *one = to_json(&a);                                                             \
            must(one &&from_json(one, &b, NULL) == 0);                                             \
            json_t *two = to_json(&b);                                                             \
            must(two &&json_equal(one, two));                                                      \
            json_decref(one);                                                                      \
            json_decref(two);                                                                      \
            release(&b);                                                                           \
            release(&a);                                                                           \
        }                                                                                          \
    }

ROUND_TRIP(version, lode_version_from_json, lode_version_to_json, lode_version_release)
ROUND_TRIP(model_info, lode_model_info_from_json, lode_model_info_to_json, lode_model_info_release)
ROUND_TRIP(journal_entry, lode_journal_entry_from_json, lode_journal_entry_to_json,
           lode_journal_entry_release)
ROUND_TRIP(versions, lode_versions_from_json, lode_versions_to_json, lode_versions_release)
ROUND_TRIP(models, lode_models_from_json, lode_models_to_json, lode_models_release)
ROUND_TRIP(journal, lode_journal_from_json, lode_journal_to_json, lode_journal_release)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *doc = NULL;
    if (size == 0 || lode_json_parse((const char *)data, size, "the reply", &doc, NULL) < 0)
        return 0;
    version(doc);
    model_info(doc);
    journal_entry(doc);
    versions(doc);
    models(doc);
    journal(doc);
    json_decref(doc);
    return 0;
}
