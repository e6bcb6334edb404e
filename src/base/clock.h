/* Time: wall clock in milliseconds since 1970 UTC for records, monotonic and boot time for
 * durations. All read through lode_sys, so that tests can move them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

int64_t lode_now_ms(void);  /* CLOCK_REALTIME */
int64_t lode_mono_ms(void); /* CLOCK_MONOTONIC */
uint64_t lode_mono_ns(void);
int64_t lode_boot_ms(void); /* CLOCK_BOOTTIME: goes on in suspend; leases run on it */
void lode_sleep_ms(int64_t ms);

#define LODE_TIME_TEXT 32 /* room for any of the texts below */

/* "2026-11-21T09:30:00.123Z". Returns out. */
char *lode_time_rfc3339(int64_t ms, char out[LODE_TIME_TEXT]);

/* "20261121T093000Z": a version's default name. Returns out. */
char *lode_time_version(int64_t ms, char out[LODE_TIME_TEXT]);

/* Reads RFC 3339 ("2026-03-03T12:00Z", with or without seconds, fraction, offset; a bare date is
 * its midnight UTC). INVALID says what is wrong. */
int lode_time_parse(const char *s, int64_t *ms, struct lode_err *err) lode_must_use;

/* Reads "15s", "24h", "7d", "500ms", "2m". INVALID otherwise. */
int lode_duration_parse(const char *s, int64_t *ms, struct lode_err *err) lode_must_use;
