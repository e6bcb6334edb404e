/* The fault walk: see fault_walk.h. */
#include "support/fault_walk.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How calls of a kind fail in life. */
static const int write_errors[] = {EIO, ENOSPC, EINTR, FAULT_SHORT, 0};
static const int read_errors[] = {EIO, EINTR, FAULT_SHORT, 0};
static const int open_errors[] = {EMFILE, ENOSPC, EACCES, 0};
static const int make_errors[] = {ENOSPC, EIO, 0};
static const int lock_errors[] = {EAGAIN, ENOLCK, EINTR, 0};
static const int memory_errors[] = {ENOMEM, 0};
static const int io_errors[] = {EIO, 0};
static const int sync_errors[] = {EIO, ENOSPC, 0};
static const int support_errors[] = {EOPNOTSUPP, ENOSPC, 0};

static const int *const errors_of[FAULT_KINDS] = {
    [FAULT_OPEN] = open_errors,     [FAULT_READ] = read_errors,
    [FAULT_WRITE] = write_errors,   [FAULT_SYNC] = sync_errors,
    [FAULT_TRUNCATE] = make_errors, [FAULT_FALLOCATE] = support_errors,
    [FAULT_STAT] = io_errors,       [FAULT_MKDIR] = make_errors,
    [FAULT_UNLINK] = io_errors,     [FAULT_LINK] = make_errors,
    [FAULT_RENAME] = make_errors,   [FAULT_READLINK] = io_errors,
    [FAULT_ATTR] = io_errors,       [FAULT_COPY] = support_errors,
    [FAULT_MMAP] = memory_errors,   [FAULT_LOCK] = lock_errors,
    [FAULT_READDIR] = io_errors,    [FAULT_RANDOM] = io_errors,
    [FAULT_MALLOC] = memory_errors, [FAULT_SQLITE_MALLOC] = memory_errors,
};

struct walk {
    const struct fault_scenario *s;
    uint64_t counts[FAULT_KINDS];
    uint64_t random;
    bool all;
    size_t shots, failed, hits;
};

/* What a child tells its parent. */
struct report {
    uint64_t counts[FAULT_KINDS];
    bool fired, whole;
};

static void print_shot(const struct walk *w, const struct fault_shot *shot, const char *why,
                       int detail)
{
    fprintf(stderr, "fault_walk: %s: LODE_FAULT_SHOT=%s:%llu:%d:%d: %s %d\n", w->s->name,
            fault_kind_name(shot->kind), (unsigned long long)shot->nth, shot->error, shot->flags,
            why, detail);
}

/* The driver's own oracle for a result. */
static bool told_well(int result, const struct lode_err *err)
{
    if (result == 0)
        return true;
    if (result < 0 && err->code == result && err->text[0])
        return true;
    fprintf(stderr, "fault_walk: answered %d with the message (%d) \"%s\"\n", result, err->code,
            err->text);
    return false;
}

static void list_fds(void)
{
    char cmd[64];
    snprintf(cmd, sizeof cmd, "ls -l /proc/%d/fd >&2", (int)getpid());
    if (system(cmd) != 0)
        perror("ls");
}

static bool no_leaks(int before)
{
    int now = fault_open_fds();
    if (now <= before)
        return true;
    fprintf(stderr, "fault_walk: %d descriptors were open before, %d are now\n", before, now);
    list_fds();
    return false;
}

/* One shot, in the child. */
static void shoot(const struct fault_scenario *s, struct fault_shot *shot, struct report *report)
{
    struct lode_err err = {0};
    s->prepare(s->arg);
    if (s->power_cut)
        fault_track(s->track);
    int before = fault_open_fds();
    fault_zero();
    if (shot->nth) {
        fault_fail(shot->kind, shot->nth, shot->error, shot->flags);
        fault_only_below(s->below);
    }
    int result = s->run(s->arg, &err);
    fault_disarm();
    shot->fired = shot->nth && fault_fired();
    report->fired = shot->fired;
    for (int k = 0; k < FAULT_KINDS; k++)
        report->counts[k] = fault_count((enum fault_kind)k);
    bool ok = no_leaks(before) && told_well(result, &err);
    if (!shot->nth && result < 0) {
        fprintf(stderr, "fault_walk: %s fails without a fault: %s\n", s->name, err.text);
        ok = false;
    }
    if (s->power_cut)
        fault_power_cut();
    s->check(s->arg, shot, result, &err);
    report->whole = ok;
    fault_uninstall();
}

static void child(const struct fault_scenario *s, struct fault_shot shot, int to_parent)
{
    struct report report = {0};
    setenv("CMOCKA_TEST_ABORT", "1",
           1); /* an assertion ends the child instead of jumping into its runner */
    alarm(FAULT_WALK_SECONDS);
    fault_install();
    fault_pretend_syncs(true);
    shoot(s, &shot, &report);
    if (write(to_parent, &report, sizeof report) != sizeof report)
        _exit(3);
    exit(report.whole ? 0 : 1); /* not _exit: the leak checker speaks at exit */
}

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static bool fire(struct walk *w, const struct fault_shot *shot, struct report *report)
{
    int pipe_fds[2], status = 0;
    int64_t begin = now_us();
    *report = (struct report){0};
    fflush(NULL);
    if (pipe(pipe_fds) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(pipe_fds[0]);
        child(w->s, *shot, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    ssize_t got = read(pipe_fds[0], report, sizeof *report);
    close(pipe_fds[0]);
    waitpid(pid, &status, 0);
    int64_t ms = (now_us() - begin) / 1000;
    if (getenv("LODE_FAULT_SLOW") && ms > 500)
        print_shot(w, shot, "took ms", (int)ms);
    w->shots++;
    w->hits += report->fired;
    if (pid > 0 && status == 0 && got == sizeof *report)
        return true;
    if (WIFSIGNALED(status))
        print_shot(w, shot, "killed by signal", WTERMSIG(status));
    else
        print_shot(w, shot, "failed, exit", WEXITSTATUS(status));
    w->failed++;
    return false;
}

/* xorshift64*: the same tenth for the same seed. */
static uint64_t next_random(struct walk *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 2685821657736338717ull;
}

static bool chosen(struct walk *w, uint64_t nth)
{
    return w->all || nth == 1 || next_random(w) % 10 == 0;
}

static void walk_call(struct walk *w, enum fault_kind kind, uint64_t nth)
{
    const int *errors = errors_of[kind];
    struct report report;
    int n = 0;
    while (errors[n])
        n++;
    int pick = (int)(next_random(w) % (uint64_t)n), sticky = (int)(next_random(w) % 2);
    for (int i = 0; i < n; i++) {
        for (int flags = FAULT_ONCE; flags <= FAULT_STICKY; flags++) {
            /* A call that is interrupted for ever is no call: only once. */
            bool forever = flags == FAULT_STICKY && (errors[i] == EINTR || errors[i] == EAGAIN);
            bool picked =
                i == pick && (flags == sticky || errors[i] == EINTR || errors[i] == EAGAIN);
            struct fault_shot shot = {.kind = kind, .nth = nth, .error = errors[i], .flags = flags};
            if (!forever && (w->all || picked))
                fire(w, &shot, &report);
        }
    }
}

static bool one_shot(struct fault_shot *shot)
{
    const char *text = getenv("LODE_FAULT_SHOT");
    char kind[32];
    unsigned long long nth;
    if (!text || sscanf(text, "%31[^:]:%llu:%d:%d", kind, &nth, &shot->error, &shot->flags) != 4)
        return false;
    shot->nth = nth;
    for (int k = 0; k < FAULT_KINDS; k++) {
        shot->kind = (enum fault_kind)k;
        if (strcmp(kind, fault_kind_name(shot->kind)) == 0)
            return true;
    }
    return false;
}

/* LODE_FAULT_KINDS=sync,rename narrows a walk. */
static bool is_wanted(enum fault_kind kind)
{
    const char *wanted = getenv("LODE_FAULT_KINDS"), *name = fault_kind_name(kind);
    size_t n = strlen(name);
    for (const char *at = wanted; at && (at = strstr(at, name)); at += n) {
        if ((at == wanted || at[-1] == ',') && (at[n] == ',' || at[n] == 0))
            return true;
    }
    return !wanted;
}

static void walk_all(struct walk *w)
{
    uint32_t kinds = w->s->kinds ? w->s->kinds : ~(1u << FAULT_SQLITE_MALLOC);
    for (int k = 0; k < FAULT_KINDS; k++) {
        if (!is_wanted((enum fault_kind)k))
            continue;
        for (uint64_t nth = 1; kinds >> k & 1 && nth <= w->counts[k]; nth++) {
            if (chosen(w, nth))
                walk_call(w, (enum fault_kind)k, nth);
        }
    }
}

void fault_walk(const struct fault_scenario *s)
{
    const char *mode = getenv("LODE_TEST_LONG"), *seed = getenv("LODE_TEST_SEED");
    struct walk w = {.s = s, .all = mode && *mode == '1'};
    struct fault_shot shot = {0};
    struct report report;
    w.random = (seed ? strtoull(seed, NULL, 10) : 1) * 0x9e3779b97f4a7c15ull | 1;
    if (one_shot(&shot)) {
        assert_true(fire(&w, &shot, &report));
        return;
    }
    assert_true(fire(&w, &shot, &report)); /* nth 0: no fault */
    memcpy(w.counts, report.counts, sizeof w.counts);
    walk_all(&w);
    fprintf(stderr, "fault_walk: %s: %zu shots, %zu hit, %zu failed\n", s->name, w.shots, w.hits,
            w.failed);
    assert_int_equal(w.failed, 0);
    assert_true(w.hits > 0 || getenv("LODE_FAULT_KINDS"));
}

/* ---- kills ---- */

/* Prepares, says so, runs, says how it ended. */
static void victim(const struct fault_scenario *s, int to_parent)
{
    struct lode_err err = {0};
    int ready = 0;
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    alarm(FAULT_WALK_SECONDS);
    fault_install();
    fault_pretend_syncs(true);
    s->prepare(s->arg);
    if (write(to_parent, &ready, sizeof ready) != sizeof ready)
        _exit(3);
    int result = s->run(s->arg, &err);
    if (write(to_parent, &result, sizeof result) != sizeof result)
        _exit(3);
    if (result < 0)
        fprintf(stderr, "fault_kill_walk: %s fails by itself: %s\n", s->name, err.text);
    _exit(result < 0);
}

/* Runs the victim and kills it `after_us` into its run (< 0: lets it live). Answers the time that
 * it took, or -1 when it did not even get ready; *result: 0 where it had succeeded. */
static int64_t kill_once(const struct fault_scenario *s, int64_t after_us, int *result)
{
    int fds[2], word = -1;
    *result = LODE_INTERNAL;
    fflush(NULL);
    if (pipe(fds) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        victim(s, fds[1]);
    }
    close(fds[1]);
    bool ready = read(fds[0], &word, sizeof word) == sizeof word;
    int64_t begin = now_us();
    if (ready && after_us >= 0) {
        usleep((useconds_t)after_us);
        kill(pid, SIGKILL);
    }
    if (read(fds[0], &word, sizeof word) == sizeof word)
        *result = word;
    int64_t took = now_us() - begin;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    return ready ? took : -1;
}

static bool check_after(const struct fault_scenario *s, int result)
{
    static const struct fault_shot none;
    static const struct lode_err err;
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        alarm(FAULT_WALK_SECONDS);
        fault_install();
        fault_pretend_syncs(true);
        s->check(s->arg, &none, result, &err);
        fault_uninstall();
        exit(0);
    }
    waitpid(pid, &status, 0);
    return pid > 0 && status == 0;
}

void fault_kill_walk(const struct fault_scenario *s, unsigned short_kills, unsigned long_kills)
{
    const char *mode = getenv("LODE_TEST_LONG"), *seed = getenv("LODE_TEST_SEED");
    struct walk w = {.s = s, .all = mode && *mode == '1'};
    unsigned survived = 0, failed = 0, kills = w.all ? long_kills : short_kills;
    int result;
    if (getenv("LODE_FAULT_SHOT") || getenv("LODE_FAULT_KINDS"))
        return;
    w.random = (seed ? strtoull(seed, NULL, 10) : 1) * 0x9e3779b97f4a7c15ull | 1;
    int64_t whole = kill_once(s, -1, &result);
    assert_true(whole >= 0);
    assert_int_equal(result, 0);
    for (unsigned i = 0; i < kills; i++) {
        /* Up to a little beyond the end; the run's length changes with what else the machine does.
         */
        int64_t after = (int64_t)(next_random(&w) % (uint64_t)(whole + whole / 10 + 1));
        int64_t took = kill_once(s, after, &result);
        survived += result == 0;
        if (result == 0)
            whole = whole < took ? whole : took; /* the machine is quicker now: aim shorter */
        if (took >= 0 && check_after(s, result))
            continue;
        fprintf(stderr, "fault_kill_walk: %s: killed after %lld of %lld us: failed\n", s->name,
                (long long)after, (long long)whole);
        failed++;
    }
    fprintf(stderr, "fault_kill_walk: %s: %u kills, %u too late, %u failed\n", s->name, kills,
            survived, failed);
    assert_int_equal(failed, 0);
    if (w.all)
        assert_true(survived < kills);
}
