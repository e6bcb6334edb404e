/* The fair queue of processes: one at a time, in order, through kills, until each one's own
 * deadline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "coord/turn.h"
#include "support/coord_kit.h"

#define CROWD 16

static char *dir;
static char path[64], like[64];

/* Seen by all processes of a test. */
static struct {
    volatile int inside;
    volatile int overlaps;
    volatile long turns[CROWD];
    volatile long worst_wait_ms[CROWD];
    volatile int order[CROWD];
    volatile int arrived;
    volatile int ready;
} * shared;

static int setup(void **state)
{
    dir = kit_temp_dir();
    snprintf(path, sizeof path, "%s/queue", dir);
    snprintf(like, sizeof like, "%s/db", dir);
    int fd = open(like, O_CREAT | O_RDWR, 0640);
    close(fd);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return fd < 0 || shared == MAP_FAILED;
}

static int teardown(void **state)
{
    munmap(shared, sizeof *shared);
    kit_remove_dir(dir);
    return 0;
}

static struct lode_turn *open_turn(void)
{
    struct lode_err err = {0};
    struct lode_turn *t = NULL;
    if (lode_turn_open(path, like, &t, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        _exit(98);
    }
    return t;
}

static void wait_for(const volatile int *what, int n)
{
    while (*what < n)
        usleep(500);
}

/* Tickets drawn so far: the first word of the file. */
static uint64_t tickets(void)
{
    uint64_t n = 0;
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && pread(fd, &n, sizeof n, 0) != sizeof n)
        n = 0;
    close(fd);
    return n;
}

static void wait_for_ticket(uint64_t n)
{
    while (tickets() < n)
        usleep(500);
}

static void expect_exits(const pid_t *children, int n)
{
    for (int i = 0; i < n; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

static void crowd_member(int id, int64_t until)
{
    struct lode_turn *t = open_turn();
    shared->ready++;
    while (lode_mono_ms() < until) {
        int64_t asked = lode_mono_ms();
        if (lode_turn_take(t, asked + 5000, NULL) < 0)
            _exit(1);
        long waited = (long)(lode_mono_ms() - asked);
        if (__atomic_add_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST) != 1)
            shared->overlaps++;
        if (waited > shared->worst_wait_ms[id])
            shared->worst_wait_ms[id] = waited;
        shared->turns[id]++;
        usleep(200);
        __atomic_sub_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
        lode_turn_give(t);
    }
    lode_turn_close(t);
    _exit(0);
}

/* Tight loops: an unfair lock gives one of them nearly everything. */
static void nobody_starves(void **state)
{
    pid_t children[CROWD];
    int64_t until = lode_mono_ms() + (getenv("LODE_TEST_LONG") ? 10000 : 1500);
    for (int i = 0; i < CROWD; i++) {
        children[i] = kit_fork();
        if (children[i] == 0)
            crowd_member(i, until);
    }
    expect_exits(children, CROWD);
    long least = shared->turns[0], most = 0, worst = 0;
    for (int i = 0; i < CROWD; i++) {
        least = shared->turns[i] < least ? shared->turns[i] : least;
        most = shared->turns[i] > most ? shared->turns[i] : most;
        worst = shared->worst_wait_ms[i] > worst ? shared->worst_wait_ms[i] : worst;
    }
    fprintf(stderr, "turns of a process: %ld to %ld, longest wait %ld ms\n", least, most, worst);
    assert_int_equal(shared->overlaps, 0);
    assert_true(least * 2 > most);
}

/* One after the other they come while somebody holds it: that is the order they go in. */
static void first_come_first_served(void **state)
{
    struct lode_turn *t = open_turn();
    pid_t children[CROWD];
    assert_int_equal(lode_turn_take(t, lode_mono_ms() + 1000, NULL), 0);
    for (int i = 0; i < CROWD; i++) {
        children[i] = kit_fork();
        if (children[i] == 0) {
            struct lode_turn *mine = open_turn();
            if (lode_turn_take(mine, lode_mono_ms() + 20000, NULL) < 0)
                _exit(1);
            shared->order[shared->arrived++] = i;
            lode_turn_give(mine);
            lode_turn_close(mine);
            _exit(0);
        }
        wait_for_ticket((uint64_t)i + 2);
    }
    assert_int_equal(shared->arrived, 0);
    lode_turn_give(t);
    expect_exits(children, CROWD);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(shared->order[i], i);
    lode_turn_close(t);
}

static void waits_until_its_own_deadline(void **state)
{
    struct lode_turn *a = open_turn(), *b = open_turn();
    struct lode_err err = {0};
    assert_int_equal(lode_turn_take(a, lode_mono_ms() + 1000, NULL), 0);
    int64_t before = lode_mono_ms();
    assert_int_equal(lode_turn_take(b, before + 120, &err), LODE_TIMEOUT);
    assert_true(lode_mono_ms() - before >= 120);
    assert_true(lode_mono_ms() - before < 2000);
    assert_true(*err.text);
    lode_turn_give(a);
    assert_int_equal(lode_turn_take(b, lode_mono_ms() + 1000, NULL), 0);
    lode_turn_give(b);
    lode_turn_close(a);
    lode_turn_close(b);
}

/* Dies while it holds, or while it waits. */
static pid_t victim(bool holds)
{
    uint64_t drawn = tickets();
    int was = shared->ready;
    pid_t child = kit_fork();
    if (child == 0) {
        struct lode_turn *t = open_turn();
        if (holds && lode_turn_take(t, lode_mono_ms() + 20000, NULL) < 0)
            _exit(1);
        shared->ready = was + 1;
        if (!holds && lode_turn_take(t, lode_mono_ms() + 20000, NULL) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    wait_for(&shared->ready, was + 1);
    wait_for_ticket(drawn + 1);
    return child;
}

static void end(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void survives_kills(void **state)
{
    pid_t holder = victim(true), waiter = victim(false), next = victim(false);
    struct lode_turn *t = open_turn();
    assert_int_equal(lode_turn_take(t, lode_mono_ms() + 50, NULL), LODE_TIMEOUT);
    end(waiter);
    assert_int_equal(lode_turn_take(t, lode_mono_ms() + 50, NULL), LODE_TIMEOUT);
    end(holder);
    assert_int_equal(lode_turn_take(t, lode_mono_ms() + 50, NULL),
                     LODE_TIMEOUT); /* `next` has it now */
    end(next);
    int64_t before = lode_mono_ms();
    assert_int_equal(lode_turn_take(t, before + 5000, NULL), 0);
    assert_true(lode_mono_ms() - before < 1000);
    lode_turn_give(t);
    lode_turn_close(t);
}

/* A crowd with random kills goes on; the survivors are let in within a nap or two. */
static void survives_many_kills(void **state)
{
    uint64_t seed = kit_seed();
    int64_t until = lode_mono_ms() + 1200;
    pid_t children[CROWD];
    for (int i = 0; i < CROWD; i++) {
        children[i] = kit_fork();
        if (children[i] == 0)
            crowd_member(i, until);
    }
    for (int i = 0; i < CROWD / 2; i++) {
        usleep((useconds_t)(kit_random(&seed) % 100000));
        end(children[i]);
    }
    expect_exits(children + CROWD / 2, CROWD / 2);
    struct lode_turn *t = open_turn();
    assert_int_equal(lode_turn_take(t, lode_mono_ms() + 1000, NULL), 0);
    lode_turn_give(t);
    lode_turn_close(t);
}

/* ---- news ---- */

static void *announce_later(void *t)
{
    usleep(50000);
    lode_turn_announce(t);
    return NULL;
}

static void news_wake_other_handles(void **state)
{
    struct lode_turn *a = open_turn(), *b = open_turn();
    pthread_t thread;
    uint32_t seen = lode_turn_news(a);
    assert_int_equal(pthread_create(&thread, NULL, announce_later, b), 0);
    int64_t before = lode_mono_ms();
    while (lode_turn_news(a) == seen && lode_mono_ms() - before < 5000)
        lode_turn_wait_news(a, seen, 5000);
    assert_int_not_equal(lode_turn_news(a), seen);
    assert_true(lode_mono_ms() - before < 2000);
    pthread_join(thread, NULL);
    before = lode_mono_ms();
    lode_turn_wait_news(a, seen, 5000); /* it has news already: no sleep */
    assert_true(lode_mono_ms() - before < 2000);
    lode_turn_close(a);
    lode_turn_close(b);
}

static void takes_the_mode_of_the_database(void **state)
{
    struct stat st;
    mode_t old = umask(077);
    lode_turn_close(open_turn());
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(st.st_size, 4096);
    lode_turn_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_starves, setup, teardown),
        cmocka_unit_test_setup_teardown(first_come_first_served, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_until_its_own_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_many_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(news_wake_other_handles, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_the_mode_of_the_database, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
