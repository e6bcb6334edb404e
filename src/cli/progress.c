/* Progress and interruption. On a terminal one line that is drawn anew ten times a second: stage,
 * bytes, rate, time left. Elsewhere one plain line a stage. Real bytes only. Ctrl-C asks the verb
 * to stop and clean up; a second one ends the process at once.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/cli.h"

static struct {
    pthread_mutex_t lock; /* guards all below */
    char stage[32];
    int64_t started_ms, drawn_ms;
    uint64_t started_bytes;
    bool line_open;
    bool quiet, terminal;
} bar = {.lock = PTHREAD_MUTEX_INITIALIZER};

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
    if (signals_seen++ > 0)
        _exit(128 + number);
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return signals_seen > 0;
}

static int cancelled(void *arg)
{
    return cli_interrupted();
}

static void close_line(void)
{
    if (bar.line_open)
        fputc('\n', stderr);
    bar.line_open = false;
}

static void new_stage(const struct lode_progress *p, int64_t now)
{
    char total[CLI_TEXT];
    close_line();
    snprintf(bar.stage, sizeof bar.stage, "%s", p->stage);
    bar.started_ms = now;
    bar.started_bytes = p->done;
    bar.drawn_ms = 0;
    if (!bar.terminal)
        fprintf(stderr, p->total ? "%s: %s\n" : "%s%.0s\n", p->stage, cli_bytes(p->total, total));
}

static void draw_speed(const struct lode_progress *p, int64_t ms)
{
    char rate[CLI_TEXT];
    bool ended = p->done >= p->total;
    double speed = (double)(p->done - bar.started_bytes) * 1000 / (double)ms;
    if (speed < 1 || (ms < 200 && !ended))
        return; /* too early to tell */
    fprintf(stderr, "  %s/s", cli_bytes((uint64_t)speed, rate));
    int left = ended ? 0 : (int)((double)(p->total - p->done) / speed);
    if (!ended)
        fprintf(stderr, "  %d:%02d left", left / 60, left % 60);
}

static void draw(const struct lode_progress *p, int64_t now)
{
    char done[CLI_TEXT], total[CLI_TEXT];
    int percent = p->total ? (int)(100.0 * (double)p->done / (double)p->total) : 0;
    fprintf(stderr, "\r%-9s %3d%%  %s of %s", bar.stage, percent, cli_bytes(p->done, done),
            cli_bytes(p->total, total));
    draw_speed(p, lode_max(now - bar.started_ms, 1));
    if (p->files_total > 1)
        fprintf(stderr, "  %llu/%llu files", (unsigned long long)p->files_done,
                (unsigned long long)p->files_total);
    fputs("\x1b[K", stderr);
    bar.line_open = true;
    bar.drawn_ms = now;
}

static void progress(void *arg, const struct lode_progress *p)
{
    pthread_mutex_lock(&bar.lock);
    int64_t now = lode_mono_ms();
    if (strcmp(bar.stage, p->stage) != 0)
        new_stage(p, now);
    if (bar.terminal && (now - bar.drawn_ms >= 100 || p->done == p->total))
        draw(p, now);
    pthread_mutex_unlock(&bar.lock);
}

const struct lode_call *cli_call(const struct cli_args *args)
{
    static struct lode_call call;
    bar.terminal = isatty(STDERR_FILENO);
    bar.quiet = cli_quiet(args) || cli_json(args);
    call = (struct lode_call){.progress = bar.quiet ? NULL : progress,
                              .cancelled = cancelled,
                              .why = cli_value(args, "message")};
    return &call;
}

void cli_call_done(void)
{
    pthread_mutex_lock(&bar.lock);
    close_line();
    bar.stage[0] = 0;
    pthread_mutex_unlock(&bar.lock);
}
