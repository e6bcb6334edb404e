/* The facts of a root as JSON: see <lode/lode.h>. */
#include "registry/handle.h"

static json_t *text_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

int lode_root_json(struct lode *lode, char **json, struct lode_err *err)
{
    struct lode_root_info info = {0};
    int r = lode_handle_fresh(lode, err);
    if (r == 0)
        r = lode_handle_ops(lode)->root(lode->catalog, &info, err);
    if (r < 0)
        return r;
    json_t *doc = json_pack("{s:s, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:I}", "url", lode->url, "id",
                            text_or_null(info.id), "epoch", (json_int_t)info.epoch, "schema",
                            (int)info.schema, "state", text_or_null(info.state), "moved_to",
                            text_or_null(info.moved_to), "store", text_or_null(info.store), "coord",
                            text_or_null(info.coord), "revision", (json_int_t)info.revision);
    lode_root_info_release(&info);
    return lode_json_hand_out(doc, json, err);
}
