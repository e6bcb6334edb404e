/* Versions that clients are uploading: the table of attempts (attempts.c), their files (upload.c),
 * and the requests about them (op_attempt.c). */
#pragma once
#include "base/digest.h"
#include "model/manifest.h"
#include "server/rooms.h"

#define SRV_UPLOAD_PART (4u << 20) /* bytes of a part that clients are told to send */
#define SRV_UPLOAD_ID 33

/* One file of an upload. Bytes are hashed in order while they pass; what comes out of order for too
 * long, or twice, is read again once the file is complete. All guarded by the upload's lock but
 * where said. */
struct srv_upload_file {
    struct srv_upload_file *next_file;
    char *path;
    struct lode_store_write *write; /* NULL: not begun, or complete */
    size_t part_size;
    int64_t started_ms;
    uint32_t mode;
    unsigned running;           /* parts being written now; they use `write` without the lock */
    bool completing;            /* being made an object, without the lock: takes no parts */
    struct lode_hasher *hasher; /* used by who has `hashing` */
    uint32_t next;              /* part to hash */
    bool hashing;
    bool rehash; /* the hasher has not seen the bytes as they lie there */
    bool complete;
    struct lode_file_digest digest; /* when complete */
};

enum srv_upload_state { SRV_UPLOAD_OPEN, SRV_UPLOAD_FINISHING, SRV_UPLOAD_DONE, SRV_UPLOAD_CLOSED };

struct srv_upload {
    struct srv_upload *next; /* guarded by the table's lock, as are refs and id */
    unsigned refs;
    char id[SRV_UPLOAD_ID];
    struct lode_server *server;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* a file's `running`, `next` or `hashing` changed */
    enum srv_upload_state state;
    struct lode_attempt *attempt; /* NULL once done or closed */
    struct srv_upload_file *files;
    size_t n_files;
    int64_t used_ms; /* lode_mono_ms() of the last request */
    char ns[LODE_NAME_MAX + 1], name[LODE_NAME_MAX + 1], version[LODE_NAME_MAX + 1];
    uint64_t number; /* of the attempt */
    bool resumed;
    char *answer; /* JSON of the version once done: a finish whose reply was lost may be repeated */
    uint64_t revision;
};

/* The upload that a request is about, with a reference; LOST_LEASE when it is closed or unknown. */
int srv_upload_find(struct srv_request *request, struct srv_upload **out,
                    struct lode_err *err) lode_must_use;
void srv_upload_unref(struct srv_upload *upload);
/* Takes the attempt; a fresh id. LIMIT when there are too many. */
int srv_upload_add(struct lode_server *server, struct lode_attempt *attempt,
                   struct srv_upload **out, struct lode_err *err) lode_must_use;
/* An open upload of this attempt, whose client came back: it gets a new id, so that the old client
 * is shut out. */
struct srv_upload *srv_upload_take_over(struct srv_request *request, const char *version,
                                        uint64_t number);
/* Gives the attempt up (keep: so that it can be gone on with) and closes the upload. */
int srv_upload_close(struct srv_upload *upload, bool keep, struct lode_err *err) lode_must_use;

/* upload.c: all lock the upload themselves */
int srv_upload_part(struct srv_upload *upload, const char *path, uint32_t number,
                    const struct lode_store_write_opts *opts, const void *data, size_t len,
                    struct lode_err *err) lode_must_use;
int srv_upload_complete(struct srv_upload *upload, const char *path, uint64_t size, uint32_t mode,
                        bool if_absent, struct lode_err *err) lode_must_use;
int srv_upload_parts(struct srv_upload *upload, const char *path, json_t **out,
                     struct lode_err *err) lode_must_use;
int srv_upload_drop(struct srv_upload *upload, const char *path,
                    struct lode_err *err) lode_must_use;
int srv_upload_unfinished(struct srv_upload *upload, json_t **out,
                          struct lode_err *err) lode_must_use;
/* Size of a complete file. NOT_FOUND. */
int srv_upload_stat(struct srv_upload *upload, const char *path, uint64_t *size,
                    struct lode_err *err) lode_must_use;
/* A file that lies there from an earlier life: read and hashed. The upload is being finished. */
int srv_upload_adopt(struct srv_upload *upload, const char *path, uint64_t size,
                     struct lode_err *err) lode_must_use;
void srv_upload_files_free(struct srv_upload *upload);

/* finish.c: the manifest of what was uploaded, and the commit */
int srv_upload_finish(struct srv_upload *upload, const char *content, struct lode_version *out,
                      struct lode_err *err) lode_must_use;
