/* Time: see base/clock.h. */
#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/name.h"
#include "base/sys.h"

static uint64_t read_ns(clockid_t clock)
{
    struct timespec ts = {0};
    lode_sys->clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t lode_now_ms(void)
{
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u);
}

int64_t lode_mono_ms(void)
{
    return (int64_t)(read_ns(CLOCK_MONOTONIC) / 1000000u);
}

uint64_t lode_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

int64_t lode_boot_ms(void)
{
    return (int64_t)(read_ns(CLOCK_BOOTTIME) / 1000000u);
}

void lode_sleep_ms(int64_t ms)
{
    if (ms <= 0)
        return;
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    lode_sys->nanosleep(&ts);
}

/* The calendar of a time; floors, so that times before 1970 come out right too. */
static struct tm calendar(int64_t ms, int *millis)
{
    int64_t s = ms / 1000, rest = ms % 1000;
    if (rest < 0) {
        rest += 1000;
        s--;
    }
    *millis = (int)rest;
    time_t t = (time_t)s;
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    return tm;
}

char *lode_time_rfc3339(int64_t ms, char out[LODE_TIME_TEXT])
{
    int millis;
    struct tm tm = calendar(ms, &millis);
    /* not strftime: its %Y writes the year 506 with three digits */
    snprintf(out, LODE_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, millis);
    return out;
}

char *lode_time_version(int64_t ms, char out[LODE_TIME_TEXT])
{
    int millis;
    struct tm tm = calendar(ms, &millis);
    snprintf(out, LODE_TIME_TEXT, "%04d%02d%02dT%02d%02d%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return out;
}

static bool take_digits(const char **s, int n, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = (*s)[i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    *s += n;
    *out = v;
    return true;
}

static bool take_char(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static bool take_date(const char **s, struct tm *tm)
{
    int y, m, d;
    if (!take_digits(s, 4, &y) || !take_char(s, '-') || !take_digits(s, 2, &m) ||
        !take_char(s, '-') || !take_digits(s, 2, &d))
        return false;
    *tm = (struct tm){.tm_year = y - 1900, .tm_mon = m - 1, .tm_mday = d};
    return m >= 1 && m <= 12 && d >= 1 && d <= 31;
}

/* "[:SS[.fff]]" after hours and minutes; digits below a millisecond are dropped. */
static bool take_seconds(const char **s, struct tm *tm, int *millis)
{
    *millis = 0;
    if (!take_char(s, ':'))
        return true;
    if (!take_digits(s, 2, &tm->tm_sec) || tm->tm_sec > 60)
        return false;
    if (!take_char(s, '.'))
        return true;
    int scale = 100, digits = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++, digits++, scale /= 10)
        *millis += (**s - '0') * scale;
    return digits > 0;
}

static bool take_zone(const char **s, int *minutes)
{
    *minutes = 0;
    if (take_char(s, 'Z') || take_char(s, 'z'))
        return true;
    int sign = **s == '-' ? -1 : 1, h, m;
    if (!take_char(s, '+') && !take_char(s, '-'))
        return false;
    if (!take_digits(s, 2, &h) || !take_char(s, ':') || !take_digits(s, 2, &m) || h > 23 || m > 59)
        return false;
    *minutes = sign * (h * 60 + m);
    return true;
}

/* What four digits of a year can say, in UTC: a zone may lead out of it. */
#define YEAR_0 (-62167219200000ll)  /* 0000-01-01T00:00:00.000Z */
#define YEAR_9999 253402300799999ll /* 9999-12-31T23:59:59.999Z */

static bool parse_time(const char *s, int64_t *ms)
{
    struct tm tm;
    int millis = 0, zone = 0;
    if (!take_date(&s, &tm))
        return false;
    int day = tm.tm_mday;
    if (*s) {
        if (*s != 'T' && *s != 't' && *s != ' ')
            return false;
        s++;
        if (!take_digits(&s, 2, &tm.tm_hour) || !take_char(&s, ':') ||
            !take_digits(&s, 2, &tm.tm_min) || tm.tm_hour > 23 || tm.tm_min > 59 ||
            !take_seconds(&s, &tm, &millis) || !take_zone(&s, &zone) || *s)
            return false;
    }
    struct tm asked = tm;
    time_t t = timegm(&tm);
    /* timegm turns 31 April into 1 May: only a day that stays is real. A leap second may roll over.
     */
    if (tm.tm_mday != day && asked.tm_sec != 60)
        return false;
    int64_t when = ((int64_t)t - zone * 60) * 1000 + millis;
    if (when < YEAR_0 || when > YEAR_9999)
        return false;
    *ms = when;
    return true;
}

int lode_time_parse(const char *s, int64_t *ms, struct lode_err *err)
{
    if (parse_time(s, ms))
        return 0;
    return lode_err_set(err, LODE_INVALID,
                        "%s is not a time: write it like 2026-03-03T12:00Z or 2026-03-03",
                        lode_q(s));
}

int lode_duration_parse(const char *s, int64_t *ms, struct lode_err *err)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                 {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    char *end = NULL;
    unsigned long long n = *s >= '0' && *s <= '9' ? strtoull(s, &end, 10) : 0;
    for (size_t i = 0; end && i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) != 0 || n > (unsigned long long)(INT64_MAX / units[i].ms))
            continue;
        *ms = (int64_t)n * units[i].ms;
        return 0;
    }
    return lode_err_set(err, LODE_INVALID,
                        "%s is not a duration: write it like 500ms, 15s, 2m, 24h, 7d", lode_q(s));
}
