/* The log: see base/log.h. */
#include "base/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static atomic_int current = -1;

static int level_from_env(void)
{
    const char *s = getenv("LODE_LOG");
    for (int i = 0; s && i < (int)LODE_ARRAY_LEN(level_names); i++) {
        if (strcmp(s, level_names[i]) == 0)
            return i;
    }
    return LODE_LOG_WARN;
}

enum lode_log_level lode_log_get_level(void)
{
    int level = atomic_load(&current);
    if (level < 0) {
        level = level_from_env();
        atomic_store(&current, level);
    }
    return (enum lode_log_level)level;
}

void lode_log_set_level(enum lode_log_level level)
{
    atomic_store(&current, (int)level);
}

void lode_log(enum lode_log_level level, const char *fmt, ...)
{
    if (level > lode_log_get_level())
        return;
    char line[2048];
    int used = snprintf(line, sizeof line, "lode: %s: ", level_names[level]);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + used, sizeof line - (size_t)used - 1, fmt, args);
    va_end(args);
    /* One write, so that lines of several threads and processes do not mix. */
    size_t end = strlen(line);
    line[end] = '\n';
    line[end + 1] = 0;
    fputs(line, stderr);
}
