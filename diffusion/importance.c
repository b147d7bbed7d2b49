/* importance.c -- the last losses of each step, and the probabilities that follow. */
#include "diffusion/importance.h"
#include "core/check.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HISTORY = IMPORTANCE_HISTORY };
static const double UNIFORM_PART = 0.001;

Importance *importance_new(Arena *arena, int steps) {
  CHECK(steps > 0, "importance of %d steps", steps);
  Importance *im = arena_alloc(arena, sizeof *im);
  im->steps = steps;
  im->losses = arena_array(arena, double, (size_t)steps *HISTORY);
  im->seen = arena_array(arena, int64_t, steps);
  im->p = arena_array(arena, double, steps);
  for (int n = 0; n < steps; n++) im->p[n] = 1.0 / steps;
  return im;
}

/* p_n from the history, which must be full and not all zero */
static void set_probabilities(Importance *im) {
  double total = 0;
  for (int n = 0; n < im->steps; n++)
    if (im->seen[n] < HISTORY) return;
  for (int n = 0; n < im->steps; n++) {
    double squares = 0;
    for (int i = 0; i < HISTORY; i++)
      squares += im->losses[n * HISTORY + i] * im->losses[n * HISTORY + i];
    total += im->p[n] = sqrt(squares / HISTORY);
  }
  for (int n = 0; n < im->steps; n++) {
    double part = total > 0 ? im->p[n] / total : 1.0 / im->steps;
    im->p[n] = (1 - UNIFORM_PART) * part + UNIFORM_PART / im->steps;
  }
}

static int choose(const Importance *im, double u) {
  double sum = 0;
  for (int n = 0; n < im->steps; n++)
    if ((sum += im->p[n]) > u) return n;
  return im->steps - 1; /* rounding */
}

void importance_draw(const Importance *im, Rng rng, uint64_t step, int rows, real *n,
                     real *weight) {
  for (int i = 0; i < rows; i++) {
    int drawn = choose(im, rng_uniform(rng, step, (uint32_t)i, 0));
    n[(ptrdiff_t)i * row_stride(1)] = (real)drawn;
    weight[(ptrdiff_t)i * row_stride(1)] = (real)(1 / (im->steps * im->p[drawn]));
  }
}

void importance_update(Importance *im, int rows, const real *n, const real *losses) {
  for (int i = 0; i < rows; i++) {
    int at = (int)n[(ptrdiff_t)i * row_stride(1)];
    double loss = (double)losses[(ptrdiff_t)i * row_stride(1)];
    if (isfinite(loss)) im->losses[at * HISTORY + im->seen[at]++ % HISTORY] = loss;
  }
  set_probabilities(im);
}

/* ---- files ----------------------------------------------------------------------------------- */

void importance_save(const Importance *im, const char *name, Checkpoint *checkpoint) {
  char key[128];
  snprintf(key, sizeof key, "%s/losses", name);
  checkpoint_add(checkpoint, key, CHECKPOINT_F64, 2, (int64_t[]){ im->steps, HISTORY }, im->losses);
  snprintf(key, sizeof key, "%s/seen", name);
  checkpoint_add(checkpoint, key, CHECKPOINT_I64, 1, (int64_t[]){ im->steps }, im->seen);
}

static const void *saved(const Checkpoint *checkpoint, const char *name, const char *part,
                         CheckpointType type, int64_t count, Error *error) {
  char key[128];
  snprintf(key, sizeof key, "%s/%s", name, part);
  const CheckpointTensor *t = checkpoint_tensor(checkpoint, key);
  int64_t size = 1;
  for (int i = 0; t && i < t->rank; i++) size *= t->shape[i];
  if (t && t->type == type && size == count) return t->data;
  error_set(error, FAIL_INPUT, "tensor %s is %s; this file cannot go on drawing times", key,
            t ? "of another size" : "missing");
  return NULL;
}

bool importance_load(Importance *im, const char *name, const Checkpoint *checkpoint, Error *error) {
  const void *losses =
      saved(checkpoint, name, "losses", CHECKPOINT_F64, (int64_t)im->steps * HISTORY, error);
  if (!losses) return false;
  const int64_t *seen = saved(checkpoint, name, "seen", CHECKPOINT_I64, im->steps, error);
  if (!seen) return false;
  for (int n = 0; n < im->steps; n++)
    if (seen[n] < 0)
      return error_set(error, FAIL_INPUT, "tensor %s/seen has a count below 0", name);
  memcpy(im->losses, losses, (size_t)im->steps * HISTORY * sizeof *im->losses);
  memcpy(im->seen, seen, (size_t)im->steps * sizeof *seen);
  for (int n = 0; n < im->steps; n++) im->p[n] = 1.0 / im->steps;
  set_probabilities(im);
  return true;
}
