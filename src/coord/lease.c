/* A lease that keeps itself: see coord/coord.h.
 *
 * The end of the lease is reckoned from before each grant or keep was sent, on this process's
 * CLOCK_BOOTTIME, less a tenth for clocks that differ: so the lease is never longer here than at
 * the coord. Once it was found over it stays over, whatever a late answer says.
 */
#include <pthread.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/plant.h"
#include "coord/coord.h"
#include "coord/impl.h"

struct lode_lease {
    struct lode_coord *coord; /* borrowed; outlives the lease */
    uint64_t id;
    int64_t ttl_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* the rest; never held across a call of the coord */
    pthread_cond_t stopped;
    int64_t end_ms; /* CLOCK_BOOTTIME: certainly alive before this */
    bool stop;
    bool lost; /* sticky */
};

static int64_t end_after(int64_t asked_ms, int64_t ttl_ms)
{
    return asked_ms + ttl_ms - ttl_ms / 10;
}

/* `lock` is held. */
static bool is_over(struct lode_lease *self)
{
    if (lode_boot_ms() >= self->end_ms && !LODE_PLANTED(coord_lease_own_clock_ignored))
        self->lost = true;
    return self->lost;
}

/* One keep, without the lock. Failures that may pass are left to the next round; the clock judges.
 */
static void keep_once(struct lode_lease *self)
{
    int64_t asked = lode_boot_ms();
    int r = lode_coord_lease_keep(self->coord, self->id, NULL);
    pthread_mutex_lock(&self->lock);
    if (r == LODE_LOST_LEASE)
        self->lost = true;
    else if (r == 0 && !is_over(self))
        self->end_ms = end_after(asked, self->ttl_ms);
    pthread_mutex_unlock(&self->lock);
}

static void *keeper(void *arg)
{
    struct lode_lease *self = arg;
    bool failing = false;
    pthread_mutex_lock(&self->lock);
    while (!self->stop && !self->lost) {
        lode_coord_cond_wait(&self->stopped, &self->lock,
                             lode_max(self->ttl_ms / (failing ? 20 : 4), (int64_t)1));
        if (self->stop || is_over(self))
            break;
        int64_t before = self->end_ms;
        pthread_mutex_unlock(&self->lock);
        keep_once(self);
        pthread_mutex_lock(&self->lock);
        failing = self->end_ms == before;
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Only a courtesy: without it the lease ends by itself. */
static void revoke(struct lode_lease *self)
{
    int r lode_unused = lode_coord_lease_revoke(self->coord, self->id, NULL);
}

static void lease_free(struct lode_lease *self)
{
    pthread_cond_destroy(&self->stopped);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

int lode_lease_start(struct lode_coord *coord, int64_t ttl_ms, struct lode_lease **out,
                     struct lode_err *err)
{
    struct lode_lease *self = lode_zalloc(sizeof *self);
    int r = self ? lode_coord_cond_init(&self->stopped, err) : lode_err_nomem(err, "a lease");
    if (r < 0) {
        lode_free(self);
        return r;
    }
    pthread_mutex_init(&self->lock, NULL);
    self->coord = coord;
    self->ttl_ms = ttl_ms;
    int64_t asked = lode_boot_ms();
    r = lode_coord_lease_grant(coord, ttl_ms, &self->id, err);
    if (r < 0) {
        lease_free(self);
        return r;
    }
    self->end_ms = end_after(asked, ttl_ms);
    int made = pthread_create(&self->thread, NULL, keeper, self);
    if (made) {
        revoke(self);
        lease_free(self);
        return lode_err_num(err, made, "cannot start the thread that keeps a lease");
    }
    *out = self;
    return 0;
}

uint64_t lode_lease_id(const struct lode_lease *lease)
{
    return lease->id;
}

int lode_lease_check(struct lode_lease *lease, struct lode_err *err)
{
    pthread_mutex_lock(&lease->lock);
    bool over = is_over(lease);
    pthread_mutex_unlock(&lease->lock);
    if (over)
        return lode_err_set(err, LODE_LOST_LEASE,
                            "lease %llu could not be kept for %lld ms: this process was stopped or "
                            "cut off too long; start again",
                            (unsigned long long)lease->id, (long long)lease->ttl_ms);
    return 0;
}

void lode_lease_stop(struct lode_lease *lease)
{
    if (!lease)
        return;
    pthread_mutex_lock(&lease->lock);
    lease->stop = true;
    pthread_cond_signal(&lease->stopped);
    pthread_mutex_unlock(&lease->lock);
    pthread_join(lease->thread, NULL);
    revoke(lease);
    lease_free(lease);
}
