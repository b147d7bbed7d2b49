/* distill.c -- one step that lands where several do. */
#include "diffusion/distill.h"

bool distill_cut(Leaps *leaps, const Sampler *teacher, Error *error) {
  if (!leaps_cut(leaps, teacher, error)) return false;
  for (int i = 0; i < leaps->count; i++) {
    Leap *leap = &leaps->leap[i];
    double ratio = leap->to.s / leap->from.s;
    leap->own[0] = 1 / (leap->to.a - ratio * leap->from.a);
    leap->own[1] = -ratio * leap->own[0];
  }
  return true;
}

LossInputs distill_pairs(Graph *g, const LeapDraw *draw, const Denoiser *teacher,
                         const Params *params, const char *noise, Tensor *x0, Tensor *cond) {
  const LeapEnd *from = &draw->from;
  Tensor *z = leap_noised(from, x0, t_normal(g, noise, 1, x0->n));
  Tensor *there = leap_run(g, draw, teacher, params, z, cond);
  Tensor *x = t_add(t_mul(there, draw->own[0]), t_mul(z, draw->own[1]));
  Tensor *eps = t_div(t_sub(z, t_mul(x, from->a)), from->s);
  return (LossInputs){ .x0 = t_detach(x), .eps = t_detach(eps), .time = from->t, .cond = cond };
}

bool distill_shorten(Arena *arena, const Sampler *teacher, int every, SamplerSpec *student,
                     Error *error) {
  CHECK(every >= 1, "distill_shorten: every %d", every);
  if (teacher->stages % every)
    return error_set(
        error, FAIL_USAGE,
        "a sampler of %d steps cannot be shortened by %d: choose steps that it divides",
        teacher->stages, every);
  int steps = teacher->stages / every;
  double *times = arena_array(arena, double, steps);
  for (int i = 0; i < steps; i++) times[i] = teacher->stage[i * every].at.time;
  const SamplerSpec *spec = &teacher->spec;
  *student = (SamplerSpec){ .method = "ddim", .steps = steps, .times = times };
  student->clip = spec->clip, student->low = spec->low, student->high = spec->high;
  student->end = teacher->end.s > 0 ? END_LAST : END_CLEAN;
  if (teacher->end.s > 0) student->final = teacher->end.time;
  return true;
}
