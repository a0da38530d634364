/* A face: its groups of layers one after the other, or a thread's pieces of them. */
#include <stdlib.h>
#include <string.h>

#include "step.h"

int vt_context_init(vt_context *context, const vt_plan *plan, vultus_error *error)
{
    const size_t layers = (size_t)plan->n_layers;

    context->arena = vt_aligned(plan->arena_floats, sizeof(float));
    context->done = calloc(layers, sizeof *context->done);
    context->upto = calloc(layers, sizeof *context->upto);
    if (context->arena && context->done && context->upto)
        return VULTUS_OK;
    vt_context_free(context);
    return vt_fail_memory(error, plan->arena_floats * sizeof(float));
}

void vt_context_free(vt_context *context)
{
    free(context->arena);
    free(context->done);
    free(context->upto);
    memset(context, 0, sizeof *context);
}

static void lap(const step *s, int layer)
{
    if (s->clock)
        vt_clock_lap(s->clock, (size_t)(1 + layer));
}

/* All columns, no layer yet. */
static step step_of(const vt_plan *plan, const vt_context *context, float *arena, const float *zeros)
{
    return (step){.plan = plan, .arena = arena, .own = context->arena, .zeros = zeros, .columns = SIZE_MAX,
                  .clock = context->clock};
}

/* Rows from .. to of the group's last layer. */
static void run_bands(step *s, const vt_context *context, const vt_group *group, uint32_t from, uint32_t to)
{
    const vt_plan *plan = s->plan;

    vt_group_begin(plan, group, from, context->done);
    while (context->done[group->last] < to) {
        const uint32_t left = to - context->done[group->last];

        vt_group_advance(plan, group, to - left + (left < group->band ? left : group->band), context->done,
                         context->upto);
        for (int i = group->first; i <= group->last; i++) {
            s->layer = &plan->layers[i];
            vt_run_rows(s, context->done[i], context->upto[i]);
            context->done[i] = context->upto[i];
            lap(s, i);
        }
    }
}

static void run_group(step *s, const vt_context *context, const vt_group *group)
{
    run_bands(s, context, group, 0, s->plan->maps[s->plan->layers[group->last].out].h);
}

/* The deep layers, each for all faces before the next. */
static void run_deep(step *s, const vt_context *context, size_t faces)
{
    for (int i = s->plan->deep; i < s->plan->n_groups; i++) {
        const vt_group *group = &s->plan->groups[i];

        s->layer = &s->plan->layers[group->first];
        if (s->layer->kind == VT_KIND_WINOGRAD) {
            vt_run_winograd(s, 0, s->plan->maps[s->layer->out].h, faces);
            lap(s, group->first);
            continue;
        }
        for (; s->slot < faces; s->slot++)
            run_group(s, context, group);
        s->slot = 0;
    }
}

void vt_run(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces, size_t first,
            size_t count)
{
    step s = step_of(plan, context, context->arena, zeros);

    for (; s.slot < count; s.slot++) {
        vt_fill_input(plan, row_of(&s, 0, 0), faces, first + s.slot, 0, plan->maps[0].h);
        lap(&s, -1);
        for (int i = 0; i < plan->deep; i++)
            run_group(&s, context, &plan->groups[i]);
    }
    s.slot = 0;
    run_deep(&s, context, count);
    for (int i = plan->tail; i < plan->n_layers; i++) {
        s.layer = &plan->layers[i];
        vt_run_faces(&s, count);
        lap(&s, i);
    }
    for (; s.slot < count; s.slot++)
        vt_store_vector(plan, row_of(&s, plan->output, 0), faces, first + s.slot);
    lap(&s, plan->n_layers);
}

static void store_outputs(const step *s, float *const *outputs, size_t index)
{
    for (int i = 0; i < s->plan->n_outputs; i++) {
        const vt_map *m = &s->plan->maps[s->plan->outputs[i]];

        if (outputs[i])
            vt_store_map(m, row_of(s, s->plan->outputs[i], 0), outputs[i] + index * m->c * m->h * m->w);
    }
}

void vt_run_network(const vt_plan *plan, const vt_context *context, const float *zeros, const vt_faces *faces,
                    float *const *outputs, size_t index)
{
    step s = step_of(plan, context, context->arena, zeros);

    vt_fill_input(plan, row_of(&s, 0, 0), faces, index, 0, plan->maps[0].h);
    lap(&s, -1);
    for (int i = 0; i < plan->n_groups; i++)
        run_group(&s, context, &plan->groups[i]);
    store_outputs(&s, outputs, index);
    lap(&s, plan->n_layers);
}

void vt_run_fill(const vt_part *part, const vt_faces *faces, size_t face, uint32_t piece)
{
    const step s = step_of(part->plan, part->own, part->arena, part->zeros);
    const size_t h = part->plan->maps[0].h, pieces = part->plan->fill_pieces;

    vt_fill_input(part->plan, row_of(&s, 0, 0), faces, face, h * piece / pieces, h * (piece + 1) / pieces);
}

void vt_run_piece(const vt_part *part, const vt_group *group, uint32_t piece)
{
    step s = step_of(part->plan, part->own, part->arena, part->zeros);
    uint32_t from, to;

    s.layer = &part->plan->layers[group->last];
    vt_group_piece(part->plan, group, piece, &from, &to);
    switch (group->split) {
    case VT_SPLIT_PIXELS:
        vt_run_pixels(&s, from, to);
        break;
    case VT_SPLIT_COLUMNS:
        s.column = from;
        s.columns = to;
        vt_run_rows(&s, 0, part->plan->maps[s.layer->out].h);
        break;
    default:
        run_bands(&s, part->own, group, from, to);
    }
}

void vt_run_store(const vt_part *part, const vt_faces *faces, float *const *outputs, size_t face)
{
    const step s = step_of(part->plan, part->own, part->arena, part->zeros);

    if (outputs)
        store_outputs(&s, outputs, face);
    else
        vt_store_vector(part->plan, row_of(&s, part->plan->output, 0), faces, face);
}
