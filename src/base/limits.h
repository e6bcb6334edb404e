/* Every limit of Lode, in one place. Changing one changes no format. */
#pragma once

#define LODE_NAME_MAX 128       /* bytes of a namespace, model, version or alias name */
#define LODE_PATH_PARTS_MAX 32  /* parts of a file's path inside a version */
#define LODE_PATH_PART_MAX 255  /* bytes of one part */
#define LODE_PATH_MAX 4096      /* bytes of a whole path or key */
#define LODE_REF_MAX 512        /* bytes of a reference */
#define LODE_ALIASES_MAX 256    /* aliases of one model */
#define LODE_TAGS_MAX 64        /* tags of a version, and metrics of a version */
#define LODE_TAG_KEY_MAX 128    /* bytes of a tag's or metric's key */
#define LODE_TAG_VALUE_MAX 4096 /* bytes of a tag's value */
#define LODE_WHY_MAX 1024       /* bytes of a -m message */

#define LODE_COORD_KEY_MAX 512     /* bytes of a coord key */
#define LODE_COORD_VALUE_MAX 60000 /* bytes of a coord value */
#define LODE_COORD_OPS_MAX 64      /* operations (compares + puts + deletes) of a transaction */
#define LODE_COORD_TXN_MAX (512u << 10) /* bytes of keys and values of a transaction */
#define LODE_COORD_LOG_KEEP 10000       /* revisions that a watch can go back */
#define LODE_COORD_PAGE_MAX 1000        /* keys of one range() */
#define LODE_COORD_PAGE_BYTES                                                                      \
    (8u << 20) /* bytes of keys and values of one range() or watch_next(), about */

#define LODE_VERSION_FILES_MAX 100000     /* files of one version */
#define LODE_VERSION_TENSORS_MAX 4000000  /* tensors of one version */
#define LODE_MANIFEST_HEAD_MAX (1u << 30) /* bytes of a manifest's JSON head */
#define LODE_BLOCK_SIZE (1u << 20)        /* bytes of a block with its own XXH3-128 */
#define LODE_STORE_PARTS_MAX (1u << 20)   /* parts of one object that is being written */
#define LODE_HEADER_MAX 100000000u /* bytes of a safetensors header, as the format itself says */
#define LODE_NPY_HEADER_MAX (1u << 20)   /* bytes of an npy header */
#define LODE_TENSOR_RANK_MAX 64          /* dimensions of a tensor (NumPy's own limit) */
#define LODE_TENSOR_NAME_MAX 8192        /* bytes of a tensor's name */
#define LODE_TENSOR_NAMES_MAX (1u << 30) /* bytes of all tensor names of a version */
#define LODE_TENSOR_DIMS_MAX                                                                       \
    (1u << 27) /* dimensions of all tensors of a version, equal shapes shared */
#define LODE_TENSOR_EXTENTS_MAX                                                                    \
    8000000                 /* extents of a version's tensors that are not one raw extent */
#define LODE_FORMATS_MAX 32 /* formats, those of plug-ins included */
#define LODE_CODECS_MAX 32  /* codecs, those of plug-ins included */
#define LODE_ZIP_ENTRIES_MAX 1000000        /* members of an npz */
#define LODE_ZIP_DIRECTORY_MAX (128u << 20) /* bytes of an npz's central directory */
#define LODE_ZIP_BOMB_BYTES (1ull << 30)    /* an npz that unpacks to more than this ... */
#define LODE_ZIP_BOMB_RATIO 200 /* ... and to more than so many times its size is refused */
#define LODE_JSON_DEPTH_MAX 64  /* nesting of any JSON that is read */

#define LODE_FILTER_MAX 4096     /* bytes of a filter */
#define LODE_FILTER_TERMS_MAX 64 /* comparisons of a filter */
#define LODE_PAGE_MAX 1000       /* entries of a page */
#define LODE_PAGE_DEFAULT 100

#define LODE_HTTP_BODY_MAX (4u << 20)    /* bytes of a request body that is JSON */
#define LODE_HTTP_HEADER_MAX (32u << 10) /* bytes of a request's headers, and of a reply's */
#define LODE_HTTP_ERROR_MAX                                                                        \
    (64u << 10) /* bytes kept of the body of a reply that tells an error                           \
                 */

#define LODE_TRANSFER_MEMORY (64u << 20) /* bytes in flight of a push, pull or load, by default */
#define LODE_IO_DEPTH 64u                /* transfers in flight of the I/O engine */
#define LODE_IO_THREADS_MAX 16           /* threads of the engine where io_uring is not to be had */
#define LODE_LEASE_TTL_MS 15000          /* a claim's lease, by default */
#define LODE_GRACE_MS (24ll * 3600 * 1000) /* between rm and the bytes' end, by default */
#define LODE_LEASE_TTL_MAX_MS (30ll * 24 * 3600 * 1000) /* the longest lease */
