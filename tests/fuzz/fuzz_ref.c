/* References: what parses holds only checked names, and its text parses to the same. */
#include <string.h>
#include "base/name.h"
#include "fuzz/fuzz.h"
#include "model/ref.h"

static void promises(const struct lode_ref *r)
{
    char text[LODE_REF_TEXT];
    struct lode_ref again;
    must(strcmp(r->ns, LODE_DEFAULT_NS) == 0 || lode_name_ok(r->ns, strlen(r->ns)));
    must(lode_name_ok(r->name, strlen(r->name)));
    must(r->kind != LODE_REV_NAME || lode_name_ok(r->rev, strlen(r->rev)));
    lode_ref_text(r, text);
    must(lode_ref_parse(text, &again, NULL) == 0);
    must(strcmp(r->ns, again.ns) == 0 && strcmp(r->name, again.name) == 0 && r->kind == again.kind);
    must(r->kind != LODE_REV_SEQ || r->seq == again.seq);
    must(r->kind != LODE_REV_NAME || strcmp(r->rev, again.rev) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char s[2048];
    struct lode_ref ref;
    struct lode_file_ref files[2];
    unsigned n = 0;
    if (size >= sizeof s)
        return 0;
    if (size)
        memcpy(s, data, size);
    s[size] = 0;
    if (lode_ref_parse(s, &ref, NULL) == 0)
        promises(&ref);
    if (lode_ref_parse_model(s, &ref, NULL) == 0)
        must(lode_name_ok(ref.name, strlen(ref.name)));
    if (lode_ref_parse_file(s, files, &n, NULL) == 0)
        must(n == 1 || n == 2);
    for (unsigned i = 0; i < n; i++) {
        promises(&files[i].ref);
        must(files[i].path >= s && files[i].path <= s + size);
    }
    return 0;
}
