/* Errors: see base/err.h. */
#include "base/err.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    int code;
    int http;
    const char *name;
    const char *text;
};

static const struct code_row rows[] = {
#define ROW(name, number, http, text) {number, http, #name, text},
    LODE_ERRORS(ROW)
#undef ROW
};

/* Lower-case names, made once from the table's own spelling. */
static const char *const names[] = {
#define NAME(name, number, http, text) [-(number)] = #name,
    LODE_ERRORS(NAME)
#undef NAME
};

static char lower_names[LODE_ARRAY_LEN(names)][24];

__attribute__((constructor)) static void make_lower_names(void)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(names); i++) {
        for (size_t k = 0; names[i] && names[i][k] && k < sizeof(lower_names[i]) - 1; k++)
            lower_names[i][k] = names[i][k] == '_' ? '_' : (char)(names[i][k] | 0x20);
    }
}

static const struct code_row *row_of(int code)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return NULL;
}

const char *lode_code_name(int code)
{
    if (code == 0)
        return "ok";
    const struct code_row *row = row_of(code);
    return lower_names[row ? -row->code : -LODE_INTERNAL];
}

const char *lode_code_text(int code)
{
    if (code == 0)
        return "done";
    const struct code_row *row = row_of(code);
    return row ? row->text : row_of(LODE_INTERNAL)->text;
}

int lode_code_http(int code)
{
    if (code == 0)
        return 200;
    const struct code_row *row = row_of(code);
    return row ? row->http : 500;
}

int lode_code_of_name(const char *name)
{
    for (size_t i = 1; i < LODE_ARRAY_LEN(lower_names); i++) {
        if (strcmp(lower_names[i], name) == 0)
            return -(int)i;
    }
    return LODE_INTERNAL;
}

int lode_code_of_http(int status)
{
    switch (status) {
    case 400:
    case 405:
    case 422:
        return LODE_INVALID;
    case 401:
        return LODE_UNAUTHENTICATED;
    case 403:
        return LODE_DENIED;
    case 404:
        return LODE_NOT_FOUND;
    case 409:
        return LODE_CONFLICT;
    case 410:
        return LODE_COMPACTED;
    case 412:
        return LODE_PRECONDITION;
    case 413:
    case 431:
        return LODE_LIMIT;
    case 408:
    case 504:
        return LODE_TIMEOUT;
    case 429:
    case 502:
    case 503:
        return LODE_UNAVAILABLE;
    case 501:
        return LODE_UNSUPPORTED;
    case 507:
        return LODE_NO_SPACE;
    default:
        return status >= 200 && status < 300 ? 0 : LODE_IO;
    }
}

int lode_code_is_transient(int code)
{
    return code == LODE_UNAVAILABLE || code == LODE_TIMEOUT || code == LODE_BEHIND;
}

int lode_code_of_errno(int number)
{
    switch (number < 0 ? -number : number) {
    case 0:
        return LODE_OK;
    case ENOENT:
    case ENOTDIR:
        return LODE_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return LODE_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return LODE_NO_SPACE;
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV:
        return LODE_DENIED;
    case EROFS:
        return LODE_READ_ONLY;
    case ENOMEM:
        return LODE_NO_MEMORY;
    case EMFILE:
    case ENFILE:
    case EFBIG:
        return LODE_LIMIT;
    case ETIMEDOUT:
        return LODE_TIMEOUT;
    case ECANCELED:
        return LODE_CANCELLED;
    case ENAMETOOLONG:
    case EINVAL:
    case EISDIR:
        return LODE_INVALID;
    case EOPNOTSUPP:
    case ENOSYS:
        return LODE_UNSUPPORTED;
    case EAGAIN:
    case EBUSY:
    case ECONNREFUSED:
    case ECONNRESET:
        return LODE_UNAVAILABLE;
    default:
        return LODE_IO;
    }
}

int lode_err_setv(struct lode_err *err, int code, const char *fmt, va_list args)
{
    if (!err)
        return code;
    /* The arguments may be parts of err itself: format aside first. */
    char text[LODE_ERR_TEXT_MAX];
    vsnprintf(text, sizeof text, fmt, args);
    err->code = code;
    err->sys = 0;
    memcpy(err->text, text, sizeof text);
    return code;
}

int lode_err_set(struct lode_err *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    lode_err_setv(err, code, fmt, args);
    va_end(args);
    return code;
}

static int set_number(struct lode_err *err, int number, const char *fmt, va_list args)
{
    if (number < 0)
        number = -number;
    int code = number ? lode_code_of_errno(number) : LODE_IO;
    if (!err)
        return code;
    lode_err_setv(err, code, fmt, args);
    err->sys = number;
    char reason[128];
    const char *why =
        number == ENODATA ? "the file ends early" : strerror_r(number, reason, sizeof reason);
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", why);
    return code;
}

int lode_err_sys(struct lode_err *err, const char *fmt, ...)
{
    int number = errno;
    va_list args;
    va_start(args, fmt);
    int code = set_number(err, number, fmt, args);
    va_end(args);
    return code;
}

int lode_err_num(struct lode_err *err, int number, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int code = set_number(err, number, fmt, args);
    va_end(args);
    return code;
}

int lode_err_prefix(struct lode_err *err, const char *fmt, ...)
{
    if (!err)
        return LODE_INTERNAL; /* it told of a failure: never a success */
    char text[LODE_ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, ": %s", err->text);
    memcpy(err->text, text, sizeof text);
    return err->code;
}

int lode_err_nomem(struct lode_err *err, const char *what)
{
    return lode_err_set(err, LODE_NO_MEMORY, "out of memory for %s", what);
}

void lode_err_clear(struct lode_err *err)
{
    if (err)
        *err = (struct lode_err){0};
}
