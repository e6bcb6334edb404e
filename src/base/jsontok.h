/* A streaming JSON tokenizer for documents of any size (tensor headers, manifests).
 *
 * Pull: feed bytes in chunks of any size, ask for tokens until it answers MORE. Strict RFC 8259:
 * valid UTF-8, no control characters, escapes decoded (surrogate pairs required), one value and
 * nothing but white space behind it. No recursion, no tree: memory is this structure plus one
 * string of at most `text_max` bytes. Duplicate keys are the caller's matter. Not thread-safe.
 *
 *     struct lode_jsontok t;
 *     lode_jsontok_init(&t, "the header of x", 4096);
 *     lode_jsontok_feed(&t, bytes, len);
 *     lode_jsontok_end(&t);                              // no more will be fed
 *     while ((r = lode_jsontok_next(&t, &tok, err)) > 0) // LODE_JSONTOK_MORE never comes after end
 *         use(&tok);
 *     lode_jsontok_release(&t);
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

enum lode_json_type {
    LODE_JSON_OBJECT = 1, /* { */
    LODE_JSON_OBJECT_END,
    LODE_JSON_ARRAY, /* [ */
    LODE_JSON_ARRAY_END,
    LODE_JSON_KEY,    /* text: a member's name */
    LODE_JSON_STRING, /* text */
    LODE_JSON_U64,    /* an integer of at least 0 that fits: u64 */
    LODE_JSON_I64,    /* a negative integer that fits ("-0" too): i64 */
    LODE_JSON_DOUBLE, /* any other number: number */
    LODE_JSON_TRUE,
    LODE_JSON_FALSE,
    LODE_JSON_NULL,
};

struct lode_json_tok {
    enum lode_json_type type;
    unsigned depth; /* containers around the token; a container's own marks: those around the
                       container */
    uint64_t at;    /* byte of the document where the token begins */
    const char
        *text; /* KEY, STRING: not NUL-terminated, valid until the next call; NULL when discarded */
    size_t len; /* bytes of text */
    uint64_t u64;
    int64_t i64;
    double number; /* every number, as a double */
};

#define LODE_JSONTOK_NUMBER_MAX 512 /* bytes of a number */

/* lode_jsontok_next(): besides negative codes */
#define LODE_JSONTOK_DONE 0 /* the document is complete and ended */
#define LODE_JSONTOK_TOK 1  /* a token */
#define LODE_JSONTOK_MORE 2 /* feed more, or say end */

struct lode_jsontok {
    bool discard; /* the caller's: strings and keys are checked, but not kept (text NULL, len 0), of
                     any length */

    /* private */
    const char *what;
    const uint8_t *in; /* the chunk fed, borrowed */
    size_t len, pos;   /* of the chunk */
    uint64_t base;     /* bytes of the document before the chunk */
    bool ended;
    uint8_t state;    /* what may come next between tokens */
    uint8_t lex;      /* inside which token we are */
    bool is_key;      /* the string being read is a key */
    bool kept;        /* a part of the string is in `text` already */
    unsigned depth;   /* containers open */
    uint64_t objects; /* bit d-1: the container at depth d is an object */
    uint64_t start;   /* where the token began */
    size_t word;      /* literals: bytes matched */
    const char *literal;
    uint32_t code, high; /* \u: value so far, pending high surrogate */
    uint8_t hex;         /* hex digits read */
    uint8_t utf_need, utf_lo, utf_hi;
    int failed; /* sticky */
    struct lode_buf text;
    struct lode_buf number;
};

/* `what` names the document in messages (borrowed until release). text_max: bytes of a key or
 * string. */
void lode_jsontok_init(struct lode_jsontok *t, const char *what, size_t text_max);
void lode_jsontok_release(struct lode_jsontok *t);

/* Gives the next chunk; borrowed until next() answers MORE. Only when the last chunk is used up
 * (MORE), or first. */
void lode_jsontok_feed(struct lode_jsontok *t, const void *bytes, size_t len);

/* No more chunks will come. */
void lode_jsontok_end(struct lode_jsontok *t);

/* LODE_JSONTOK_TOK with the token, MORE, DONE, or INVALID (malformed, says where), LIMIT (too deep,
 * a string or number too long), NO_MEMORY; errors are sticky. */
int lode_jsontok_next(struct lode_jsontok *t, struct lode_json_tok *tok,
                      struct lode_err *err) lode_must_use;

/* Bytes of the document used so far. */
uint64_t lode_jsontok_offset(const struct lode_jsontok *t);

/* Swallows the rest of the value that `tok` began (nothing to do for a scalar); for a KEY the whole
 * value behind it. Only with the whole document fed and ended. */
int lode_jsontok_skip(struct lode_jsontok *t, const struct lode_json_tok *tok,
                      struct lode_err *err) lode_must_use;

/* INVALID that tells `t`'s document, the byte of `tok`, and the text. */
int lode_jsontok_refuse(const struct lode_jsontok *t, const struct lode_json_tok *tok,
                        struct lode_err *err, const char *fmt, ...) lode_printf(4, 5);
