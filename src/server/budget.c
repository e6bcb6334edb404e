/* Memory for upload parts: paid before a body is read, so that a thousand uploads cannot take a
 * thousand parts of memory.
 *
 * Who cannot pay waits with its connection suspended, which holds its client back by TCP. First
 * come, first served: a large part is not overtaken by small ones for ever. */
#include "server/srv.h"

bool srv_budget_take(struct srv_budget *self, struct srv_request *request, size_t bytes)
{
    pthread_mutex_lock(&self->lock);
    bool paid = self->closed || (!self->first && self->free >= bytes);
    if (paid) {
        self->free -= self->closed ? 0 : bytes;
        request->paid = self->closed ? 0 : bytes;
    } else {
        request->budget_next = NULL;
        if (self->first)
            self->last->budget_next = request;
        else
            self->first = request;
        self->last = request;
        MHD_suspend_connection(request->mhd);
    }
    pthread_mutex_unlock(&self->lock);
    return paid;
}

/* Takes out of the queue those who can be paid now, or all when the server stops. */
static void resume(struct srv_budget *self, bool all)
{
    struct srv_request *request;
    while ((request = self->first) && (all || self->free >= request->content_length)) {
        self->first = request->budget_next;
        if (!all) {
            self->free -= request->content_length;
            request->paid = request->content_length;
        }
        MHD_resume_connection(request->mhd);
    }
}

void srv_budget_give(struct srv_budget *self, size_t bytes)
{
    if (bytes == 0)
        return;
    pthread_mutex_lock(&self->lock);
    self->free += bytes;
    resume(self, false);
    pthread_mutex_unlock(&self->lock);
}

void srv_budget_flush(struct srv_budget *self)
{
    pthread_mutex_lock(&self->lock);
    self->closed = true;
    resume(self, true);
    pthread_mutex_unlock(&self->lock);
}
