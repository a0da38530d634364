/* The unit of sharing is a share of faces, which one thread computes: as many as go through the tail together while many
 * are left, fewer towards the end, so that all threads end at about the same time, though one was slower. */
#include "call.h"

/* Faces of the next share: `left` are not taken yet. */
static size_t share_of(const vt_call *call, size_t left)
{
    const size_t batch = call->outputs ? 1 : call->plan->batch, even = (left + 2 * call->threads - 1) / (2 * call->threads);

    return even < batch ? even : batch;
}

/* Returns how many faces were taken, 0 at the end. */
static size_t take(vt_call *call, size_t *first)
{
    *first = atomic_load(&call->taken);
    while (*first < call->n) {
        const size_t share = share_of(call, call->n - *first);

        if (atomic_compare_exchange_weak(&call->taken, first, *first + share))
            return share;
    }
    return 0;
}

static bool take_part(void *arg, unsigned seat)
{
    vt_call *call = arg;
    const vt_context *context = &call->contexts[seat];
    size_t first, count;

    while ((count = take(call, &first)) != 0) {
        if (call->outputs)
            vt_run_network(call->plan, context, call->zeros, call->faces, call->outputs, first);
        else
            vt_run(call->plan, context, call->zeros, call->faces, first, count);
        if (vt_pool_wanted(call->pool) && atomic_load(&call->taken) < call->n)
            return true;
    }
    return false;
}

void vt_call_run(vt_call *call)
{
    const size_t most = call->n < call->threads ? call->n : call->threads;

    vt_pool_run(call->pool, take_part, call, (unsigned)most);
}
