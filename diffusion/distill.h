/* distill.h -- progressive distillation (Salimans & Ho 2022, alg. 2).
 *
 * A student learns to do in one DDIM step what its teacher does in two.  From z = a x_0 + s eps two
 * teacher steps lead to z''; the one DDIM step that leads there too says
 *
 *   x~ = (z'' - (s''/s) z) / (a'' - (s''/s) a),   eps~ = (z - a x~) / s.
 *
 * So it is the denoising loss (loss.h) on the pair (x~, eps~) at a drawn time, with any weighting:
 * the paper's are "truncated-snr" and "snr+1".  Then the student teaches, with half the steps:
 *
 *   leaps = leaps_new(arena, student, chain->stages / 2, 2);
 *   distill_cut(leaps, chain)                       two teacher steps a leap
 *   draw = leaps_record(leaps, g, "leap"), loss_record(g, loss, params, "distill",
 *     &distill_pairs(g, &draw, teacher, teacher_params, "noise", x0, cond)), graph_seal(g)
 *   again: leaps_give(leaps), train, copy the student's Params to the teacher,
 *     distill_shorten(chain, 2) -> SamplerSpec -> sampler_new -> chain, distill_cut(leaps, chain)
 *
 * on one tape.  What is left is Params of the same network and the last SamplerSpec. */
#ifndef DIFFUSION_DISTILL_H
#define DIFFUSION_DISTILL_H
#include "diffusion/leap.h"
#include "diffusion/loss.h"

/* leaps_cut, and the two numbers of x~.  Any deterministic method may teach; the student is a DDIM
 * step.  More stages than two in a leap: that many steps at once. */
bool distill_cut(Leaps *leaps, const Sampler *teacher, Error *error);

/* The pair for loss_record, constant for gradients; its time is the schedule's.  x0 [1, 1, dim];
 * random stream `noise`. */
LossInputs distill_pairs(Graph *g, const LeapDraw *draw, const Denoiser *teacher,
                         const Params *params, const char *noise, Tensor *x0, Tensor *cond);

/* The student's sampler: ddim at every `every`-th time of the teacher's chain (one stage a step),
 * clipped as it is, with its end.  Times live in the arena.  false (FAIL_USAGE) if `every` does
 * not divide the steps. */
bool distill_shorten(Arena *arena, const Sampler *teacher, int every, SamplerSpec *student,
                     Error *error);

#endif
