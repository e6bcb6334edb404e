/* The log: chatter for people on stderr, never results, never secrets. Levels by
 * LODE_LOG=error|warn|info|debug (default warn). Thread-safe; one line a call. */
#pragma once
#include "base/attr.h"

enum lode_log_level { LODE_LOG_ERROR, LODE_LOG_WARN, LODE_LOG_INFO, LODE_LOG_DEBUG };

void lode_log(enum lode_log_level level, const char *fmt, ...) lode_printf(2, 3);
void lode_log_set_level(enum lode_log_level level);
enum lode_log_level lode_log_get_level(void);

#define lode_log_warn(...) lode_log(LODE_LOG_WARN, __VA_ARGS__)
#define lode_log_info(...) lode_log(LODE_LOG_INFO, __VA_ARGS__)
#define lode_log_debug(...) lode_log(LODE_LOG_DEBUG, __VA_ARGS__)
