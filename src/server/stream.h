/* What a download reads from, and its checked stream: see stream.c. */
#pragma once
#include "model/manifest.h"
#include "server/rooms.h"

struct srv_source {
    struct lode_manifest *manifest;        /* owned */
    const struct lode_manifest_file *file; /* in it */
    struct lode_place place;               /* owned */
    char *key;                             /* in the store; owned */
    char *digest;                          /* of the manifest; owned */
    struct srv_identity id;                /* of the file now */
};
void srv_source_release(struct srv_source *source);

/* Makes the body of the reply bytes [offset, offset + length) of the file, length > 0. Takes what
 * `source` owns. */
int srv_stream_reply(struct srv_request *request, struct srv_source *source, uint64_t offset,
                     uint64_t length, struct lode_err *err) lode_must_use;
