/* The unit of sharing is a share of faces, which one thread computes: as many as go through the tail together while many
 * are left, fewer towards the end, so that all threads end at about the same time, though one was slower. What is left
 * when every thread has had equally many is computed by all together, face by face: the one face of a call with one. */
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
    while (*first < call->whole) {
        const size_t share = share_of(call, call->whole - *first);

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
        if (vt_pool_wanted(call->pool) && atomic_load(&call->taken) < call->whole)
            return true;
    }
    return call->whole < call->n && vt_crew_work(&call->crew, context, seat);
}

/* Faces that are computed by all threads together: the uneven rest, unless almost every thread has one of it. */
static size_t together(const vt_call *call)
{
    const size_t rest = call->plan->crew ? call->n % call->threads : 0;

    return 3 * rest <= 2 * call->threads ? rest : 0;
}

void vt_call_run(vt_call *call)
{
    const size_t rest = together(call), most = rest || call->n > call->threads ? call->threads : call->n;

    call->whole = call->n - rest;
    call->crew = (vt_crew){.pool = call->pool, .plan = call->plan->crew, .zeros = call->zeros, .faces = call->faces,
                           .outputs = call->outputs, .first = call->whole, .count = (unsigned)rest};
    if (rest)
        vt_crew_begin(&call->crew);
    vt_pool_run(call->pool, take_part, call, (unsigned)most);
    if (rest)
        vt_crew_end(&call->crew);
}
