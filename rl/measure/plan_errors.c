/* plan_errors.c -- windows, plans from their first states, and both replayed in the simulator. */
#include "rl/measure/plan_errors.h"
#include "rl/rollout/dynamics.h"
#include <math.h>

static size_t size_of(const PlansModel *m) { return (size_t)m->base.denoiser->dim; }

/* The state of step t of trajectory i, which follows the step's action. */
static const float *state_at(const PlansModel *m, const float *trajectories, int i, int t) {
  return trajectories + (size_t)i * size_of(m) + (size_t)(t * m->width + (int)m->act_dim);
}

bool plan_samples_new(PlanSamples *p, Arena *arena, const PlansModel *m, const ModelSampling *how,
                      const RowSampler *whole, int count, Error *error) {
  /* without a normaliser, so that windows are in the data's units */
  const RowSampler raw = {
    .data = whole->data, .rng = whole->rng, .rows = whole->rows, .row_count = whole->row_count
  };
  const int horizon = (int)m->horizon, states = (int)m->obs_dim;
  /* one column: windows of as many steps as a plan has */
  const Column columns[] = { COLUMN("windows", OF_STEP, 0, horizon), { 0 } };
  Batch *batch = batch_new(arena, count, states, (int)m->act_dim, columns);
  const BatchColumn *windows = batch_column(batch, "windows");
  size_t size = size_of(m), n = (size_t)count * size;
  float *first = arena_array(arena, float, count *states);
  *p = (PlanSamples){ count, arena_array(arena, float, n), arena_array(arena, float, n) };
  /* always step 0, so that every evaluation has the same windows */
  data_sample(&raw, 0, batch);
  for (size_t i = 0; i < n; i++)
    p->windows[i] = (float)windows->values[i / size * (size_t)windows->ld + i % size];
  /* plans begin where the windows do, so both face the same starts */
  for (int i = 0; i < count * states; i++)
    first[i] = state_at(m, p->windows, i / states, 0)[i % states];
  return plans_sample(m, how, count, first, p->plans, error);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* clang-format off */
_Static_assert(DYNAMICS_SPANS == 4, "rows of drifts");
#define DRIFTS(of) \
  { .key = of "_drift_1" }, { .key = of "_drift_4" }, { .key = of "_drift_8" }, \
  { .key = of "_drift_16" }
const Measure plan_measures[PLAN_MEASURES] = {
  { .key = "plans" },
  { "plan_error", "error of plans", "deviations of the data's change in one step",
    "Error of plans: the simulator is put into each state of a plan and does its action; root mean "
    "square distance to the plan's next state, each entry divided by the deviation of its change "
    "in one step of the data. No change: the distance of the plan's states to their next ones. "
    "Drifts over more steps are in eval.jsonl.",
    .beside = "plan_still", .less_is_better = true, .main = true },
  { .key = "plan_still", .title = "of no change" },
  DRIFTS("plan"),
  { .key = "plan_failures" },
  { .key = "data_error", .title = "of the data" },
  { .key = "data_still" },
  DRIFTS("data"),
  { .key = "data_failures" },
};
/* clang-format on */

/* The numbers of one set in the order of the table; returns where the next ones go. */
static double *put_dynamics(double *value, const Dynamics *d) {
  *value++ = d->error, *value++ = d->no_change;
  for (int k = 0; k < DYNAMICS_SPANS; k++) *value++ = d->drift[k];
  *value++ = d->failures;
  return value;
}

bool plan_samples_measure(const PlanSamples *p, const PlansModel *m, const EnvModel *env,
                          const float *scale, double value[PLAN_MEASURES], Error *error) {
  Dynamics plans, windows;
  /* the data's own error shows what the simulator cannot reproduce */
  if (!dynamics_measure(env, scale, p->plans, p->count, (int)m->horizon, &plans, error) ||
      !dynamics_measure(env, scale, p->windows, p->count, (int)m->horizon, &windows, error))
    return false;
  value[0] = p->count;
  put_dynamics(put_dynamics(value + 1, &plans), &windows);
  return true;
}
