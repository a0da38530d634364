/* A face is computed in steps: its input is filled, each group of layers computed, the answer stored. A step has pieces,
 * and a thread takes one that nobody has taken, preferably the one it always takes, whose rows are in its cache. Whoever
 * finishes the last piece of a step opens the next one. So nobody waits for a thread that has not come: one thread alone
 * takes all pieces, a second that comes later takes its part from there on. */
#include "crew.h"

#define STEP_SHIFT 32

static unsigned steps_of_face(const vt_crew *crew)
{
    return (unsigned)crew->plan->n_groups + 2;
}

void vt_crew_begin(vt_crew *crew)
{
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->moved, NULL);
    atomic_init(&crew->lender, NULL);
    atomic_init(&crew->state, 0);
    atomic_init(&crew->step, 0);
    atomic_init(&crew->finished, 0);
    atomic_init(&crew->asleep, 0);
}

void vt_crew_end(vt_crew *crew)
{
    pthread_cond_destroy(&crew->moved);
    pthread_mutex_destroy(&crew->lock);
}

/* Step 0 fills the input, the last one stores the answer, those between are the groups. */
static uint32_t pieces_of(const vt_crew *crew, unsigned step)
{
    const unsigned at = step % steps_of_face(crew);

    if (at == 0)
        return crew->plan->fill_pieces;
    return at <= (unsigned)crew->plan->n_groups ? crew->plan->groups[at - 1].pieces : 1;
}

/* The step after: groups of one piece are one step. */
static unsigned step_after(const vt_crew *crew, unsigned step)
{
    const unsigned at = step % steps_of_face(crew);

    return at == 0 || at > (unsigned)crew->plan->n_groups ? step + 1
                                                          : step - at + 1 + (unsigned)crew->plan->groups[at - 1].next;
}

static void compute(const vt_crew *crew, const vt_context *own, unsigned step, uint32_t piece)
{
    const unsigned at = step % steps_of_face(crew);
    const size_t face = crew->first + step / steps_of_face(crew);
    const vt_part part = {crew->plan, own, atomic_load(&crew->lender)->arena, crew->zeros};

    if (at == 0)
        vt_run_fill(&part, crew->faces, face, piece);
    else if (at > (unsigned)crew->plan->n_groups)
        vt_run_store(&part, crew->faces, crew->outputs, face);
    else
        for (int g = (int)at - 1; g < crew->plan->groups[at - 1].next; g++)
            vt_run_piece(&part, &crew->plan->groups[g], piece);
}

/* The last piece of the step is finished. */
static void advance(vt_crew *crew, unsigned step)
{
    const unsigned next = step_after(crew, step);

    atomic_store(&crew->finished, 0);
    atomic_store(&crew->state, (uint64_t)next << STEP_SHIFT);
    atomic_store(&crew->step, next);
    if (atomic_load(&crew->asleep)) {
        pthread_mutex_lock(&crew->lock);
        pthread_cond_broadcast(&crew->moved);
        pthread_mutex_unlock(&crew->lock);
    }
}

/* All pieces of the step are taken, and some are not finished. */
static void wait_for_others(vt_crew *crew, unsigned step)
{
    if (vt_pool_spin(crew->pool, &crew->step, step))
        return;
    pthread_mutex_lock(&crew->lock);
    atomic_fetch_add(&crew->asleep, 1);
    while (atomic_load(&crew->step) == step)
        pthread_cond_wait(&crew->moved, &crew->lock);
    atomic_fetch_sub(&crew->asleep, 1);
    pthread_mutex_unlock(&crew->lock);
}

/* A piece that is not taken, counted from `preferred` on; `pieces` if there is none. */
static uint32_t free_piece(uint32_t taken, uint32_t pieces, uint32_t preferred)
{
    for (uint32_t i = 0; i < pieces; i++) {
        const uint32_t piece = (preferred + i) % pieces;

        if (!(taken >> piece & 1))
            return piece;
    }
    return pieces;
}

bool vt_crew_work(vt_crew *crew, const vt_context *own, unsigned seat)
{
    const unsigned end = crew->count * steps_of_face(crew);
    const vt_context *lender = NULL;

    if (atomic_compare_exchange_strong(&crew->lender, &lender, own))
        lender = own;
    for (;;) {
        uint64_t state = atomic_load(&crew->state);
        const unsigned step = (unsigned)(state >> STEP_SHIFT);

        if (step == end)
            return false;
        if (lender != own && vt_pool_wanted(crew->pool))
            return true;
        const uint32_t pieces = pieces_of(crew, step), piece = free_piece((uint32_t)state, pieces, seat % pieces);

        if (piece == pieces) {
            wait_for_others(crew, step);
        } else if (atomic_compare_exchange_strong(&crew->state, &state, state | (uint64_t)1 << piece)) {
            compute(crew, own, step, piece);
            if (atomic_fetch_add(&crew->finished, 1) + 1 == pieces)
                advance(crew, step);
        }
    }
}
