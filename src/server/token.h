/* Tokens as the coord keeps them: see token.c for the record, server.h for what users see. */
#pragma once
#include "base/digest.h"
#include "coord/coord.h"
#include "server/server.h"

#define SRV_TOKEN_PREFIX "lode_"
#define SRV_TOKEN_PATTERNS_MAX 64

struct srv_token_record {
    struct lode_token_info info;
    struct lode_sha256 hash; /* of the secret text */
    uint64_t modified;       /* revision of the record */
};
struct srv_token_records {
    struct srv_token_record *items; /* sorted by id */
    size_t n;
};
int srv_token_records(struct lode_coord *coord, struct srv_token_records *out,
                      struct lode_err *err) lode_must_use;
void srv_token_records_release(struct srv_token_records *records);

int srv_token_coord_add(struct lode_coord *coord, const char *name, enum lode_scope scope,
                        const char *const *patterns, size_t n_patterns, char **secret,
                        struct lode_token_info *out, struct lode_err *err) lode_must_use;
int srv_token_coord_ls(struct lode_coord *coord, struct lode_tokens *out,
                       struct lode_err *err) lode_must_use;
int srv_token_coord_rm(struct lode_coord *coord, const char *name_or_id,
                       struct lode_err *err) lode_must_use;
