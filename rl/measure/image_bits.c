/* image_bits.c -- test pictures, coded by a model of pictures. */
#include "rl/measure/image_bits.h"
#include "core/rng.h"
#include "diffusion/bound.h"
#include "rl/measure/image_quality.h"
#include "rl/stop.h"
#include <math.h>

enum { PART = 32, GROUP = 8, LANE = 8, TIMES_EVEN = 128 };
static const double LAMBDA_END = 6.65; /* half of the 13.3 of Kingma et al. 2021 */

/* a chain of a continuous schedule; of a discrete one all its times */
static Bound *chain(Arena *arena, const PicturesModel *m, Error *error) {
  BoundSpec spec = { .bins = 256, .clip = true };
  const Schedule *s = m->base.schedule;
  if (!s->def->discrete) {
    double *times = arena_array(arena, double, TIMES_EVEN);
    double clear = fmin(schedule_lambda(s, s->t_min), LAMBDA_END);
    double noisy = fmax(schedule_lambda(s, s->t_max), -LAMBDA_END);
    for (int k = 0; k < TIMES_EVEN; k++)
      times[k] = schedule_time(s, clear + (noisy - clear) * k / (TIMES_EVEN - 1));
    spec.times = times, spec.steps = TIMES_EVEN;
  }
  return bound_new(arena, &spec, m->base.denoiser, error);
}

/* mean and standard error */
static void sum_up(const double *each, int count, ImageBits *bits) {
  double sum = 0, squares = 0;
  for (int i = 0; i < count; i++) sum += each[i];
  bits->pictures = count, bits->bits = sum / count;
  for (int i = 0; i < count; i++) squares += pow(each[i] - bits->bits, 2);
  bits->error = count > 1 ? sqrt(squares / (count - 1) / count) : NAN;
}

/* nats of each picture; false if a signal came */
static bool measure(Arena *arena, const PicturesModel *m, const Bound *bound, const Images *test,
                    int from, int count, const ModelSampling *how, double *each) {
  const Model *model = &m->base;
  GraphSpec spec = { .seed = how->seed,
                     .pool = how->pool,
                     .kernels = how->kernels,
                     .conv = how->conv,
                     .max_rows = PART,
                     .group = GROUP,
                     .lane = LANE };
  BoundRun *run = bound_run_new(arena, bound, model_weights(model), &spec, "bits", model->cond);
  int ld = row_stride(model->denoiser->dim), wide = row_stride(model->cond ? model->cond : 1);
  real *x = arena_array(arena, real, PART * ld), *cond = arena_array(arena, real, PART * wide);
  double *nats = arena_array(arena, double, bound->steps + 1);
  uint32_t id[PART];
  Rng rng = rng_stream(0, "dealt pictures");
  Progress progress;
  progress_begin(&progress, "pictures", "bits of test pictures");
  for (int done = 0; done < count && !stop_asked(); done += PART) {
    int rows = count - done < PART ? count - done : PART;
    progress_at(&progress, done, count);
    for (int r = 0; r < rows; r++) {
      id[r] = (uint32_t)(from + done + r);
      int k = (int)rng_permute(rng, 0, id[r], (uint64_t)test->count);
      images_decode(test, k, (int)m->size, x + r * ld);
      if (model->cond) pictures_label(model, test->label[k], cond + r * wide);
    }
    bound_run(run, rows, 0, id, x, model->cond ? cond : NULL, nats, NULL, each + done);
  }
  progress_end(&progress);
  return !stop_asked();
}

bool image_bits(const PicturesModel *m, const ImageSet *set, int from, int count,
                const ModelSampling *how, double *each, ImageBits *bits, Error *error) {
  const Images *test = &set->test;
  if (!image_quality_pictures(m, set, 2, error)) return false;
  if (count < 1 || from < 0 || count > test->count - from)
    return error_set(error, FAIL_INPUT, "%s has %d test pictures; bits of %d were asked for",
                     set->name, test->count, from + count);
  Arena *arena = arena_new();
  const Bound *bound = chain(arena, m, error);
  if (!bound) return arena_free(arena), false;
  if (!each) each = arena_array(arena, double, count);
  bool done = measure(arena, m, bound, test, from, count, how, each);
  /* what is around the picture is the same in all and says nothing */
  int dim = test->height * test->width * test->channels;
  for (int i = 0; i < count; i++) each[i] = bits_per_dim(each[i], dim, 1);
  bits->steps = bound->steps;
  sum_up(each, count, bits);
  arena_free(arena);
  if (!done) return error_set(error, FAIL_RUNNING, "stopped before all bits were measured");
  return isfinite(bits->bits) || error_set(error, FAIL_DIVERGED, "the bound is not finite");
}
