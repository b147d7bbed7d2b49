/* reflow.c -- pairs of noise and sample, and how bent the way between them is. */
#include "diffusion/reflow.h"
#include <math.h>
#include <string.h>

/* Steps from x_i to x_i+1 in h_i: int |dx/dt - mean|^2 = sum |dx_i|^2 / h_i - |sum dx_i|^2 / T. */
static void watch(void *user, int stage, const real *x) {
  Reflow *r = user;
  const Sampler *s = r->sampler;
  int ld = row_stride(r->dim);
  size_t size = (size_t)r->rows * (size_t)ld;
  if (stage < 0) r->from = s->stage[0].at.time, r->bent = 0;
  if (stage >= 0) {
    double now = stage + 1 < s->stages ? s->stage[stage + 1].at.time : s->end.time;
    double whole = s->stage[0].at.time - s->end.time;
    bool ends = stage == s->stages - 1;
    for (size_t i = 0; i < size; i++) {
      double step = (double)x[i] - (double)r->last[i], way = (double)x[i] - (double)r->start[i];
      r->bent += step * step / (r->from - now) - (ends ? way * way / whole : 0);
    }
    r->from = now;
  }
  memcpy(r->last, x, size * sizeof *x);
}

Reflow *reflow_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                   const Params *params, const SamplerLoopSpec *spec, Error *error) {
  CHECK(spec->k == 1, "reflow: one sample a row, not %d", spec->k);
  bool noisy = sampler->spec.from > 0 || sampler->spec.inverse;
  for (int i = 0; i < sampler->stages; i++)
    noisy = noisy || sampler->stage[i].noise > 0 || !sampler->stage[i].evaluates;
  if (noisy)
    return error_set(error, FAIL_USAGE,
                     "reflow pairs a noise with the sample an ODE makes of it; sampler %s does not "
                     "run one from the last time: take euler, heun or rk4",
                     sampler->spec.method),
           NULL;
  Reflow *r = arena_alloc(arena, sizeof *r);
  *r = (Reflow){ .sampler = sampler, .dim = denoiser->dim };
  r->loop = sampler_loop_new(arena, sampler, denoiser, params, spec);
  r->noise = rng_stream(spec->graph.seed, arena_text(arena, "%s pairs", spec->stream));
  int size = spec->graph.max_rows * row_stride(r->dim);
  r->start = arena_array(arena, real, size), r->last = arena_array(arena, real, size);
  if (sampler->end.s > 0) sampler_loop_watch(r->loop, watch, r);
  return r;
}

void reflow_pairs(Reflow *r, int rows, uint64_t step, const real *cond, real *eps, real *x0) {
  int ld = row_stride(r->dim);
  memset(eps, 0, (size_t)rows * (size_t)ld * sizeof *eps);
  memset(x0, 0, (size_t)rows * (size_t)ld * sizeof *x0);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < r->dim; j++) {
      double z = rng_normal(r->noise, step, (uint32_t)i, (uint32_t)j);
      eps[i * ld + j] = (real)z,
                   x0[i * ld + j] = r->start[i * ld + j] = (real)(r->sampler->start * z);
    }
  r->rows = rows;
  sampler_loop_run(r->loop, rows, step, NULL, cond, x0, true);
}

double reflow_straightness(const Reflow *r) {
  CHECK(r->rows > 0 && r->sampler->end.s > 0, "reflow_straightness: pairs down to a time first");
  double whole = r->sampler->stage[0].at.time - r->sampler->end.time;
  return r->bent / (whole * r->rows * r->dim);
}

LossInputs reflow_one_step(const Schedule *schedule, Tensor *eps, Tensor *x0, Tensor *cond) {
  Tensor *time = t_spread(t_number(x0->g, schedule->t_max), t_col(x0, 0), 1);
  return (LossInputs){ .x0 = x0, .eps = eps, .time = time, .cond = cond };
}
