/* importance.h -- drawing n where the loss is large (Nichol & Dhariwal 2021, sec. 3.3).
 *
 * p_n is proportional to the root mean square of the last 10 losses seen at n, mixed with 0.1 % of
 * the uniform; rows weigh 1 / (N p_n), so that expectations stay.  Uniform until each n has 10. */
#ifndef DIFFUSION_IMPORTANCE_H
#define DIFFUSION_IMPORTANCE_H
#include "core/checkpoint.h"
#include "core/real.h"
#include "core/rng.h"

enum { IMPORTANCE_HISTORY = 10 };

typedef struct {
  int steps;
  double *losses; /* [steps, IMPORTANCE_HISTORY]: a ring for each n */
  int64_t *seen;  /* [steps]: losses that ever came; the place of the next is this modulo 10 */
  double *p;      /* [steps] */
} Importance;

Importance *importance_new(Arena *arena, int steps);

/* For a step: n and weight, each [rows, row_stride(1)], to bind to LossInputs. */
void importance_draw(const Importance *importance, Rng rng, uint64_t step, int rows, real *n,
                     real *weight);

/* Afterwards: the losses of these rows (LossTerms.rows), without their weights.  Those that are not
 * finite are left out. */
void importance_update(Importance *importance, int rows, const real *n, const real *losses);

/* As "<name>/losses" and "<name>/seen"; reading fails (FAIL_INPUT) if absent or of other sizes. */
void importance_save(const Importance *importance, const char *name, Checkpoint *checkpoint);
bool importance_load(Importance *importance, const char *name, const Checkpoint *checkpoint,
                     Error *error);

#endif
