/* plan_errors.c -- windows, plans from their first states, and the simulator's word on both. */
#include "rl/measure/plan_errors.h"
#include "rl/rollout/dynamics.h"
#include <math.h>

static size_t size_of(const PlansModel *m) { return (size_t)m->base.denoiser->dim; }

static const float *state_at(const PlansModel *m, const float *trajectories, int i, int t) {
  return trajectories + (size_t)i * size_of(m) + (size_t)(t * m->width + (int)m->act_dim);
}

bool diffuser_plans_new(DiffuserPlans *p, Arena *arena, const PlansModel *m,
                        const ModelSampling *how, const Drawer *whole, int count, Error *error) {
  const Drawer raw = {
    .data = whole->data, .rng = whole->rng, .rows = whole->rows, .row_count = whole->row_count
  };
  const int horizon = (int)m->horizon, states = (int)m->obs_dim;
  const Column columns[] = { COLUMN("windows", OF_STEP, 0, horizon), { 0 } };
  Batch *batch = batch_new(arena, count, states, (int)m->act_dim, columns);
  const BatchColumn *windows = batch_column(batch, "windows");
  size_t size = size_of(m), n = (size_t)count * size;
  float *first = arena_array(arena, float, count *states);
  *p = (DiffuserPlans){ count, arena_array(arena, float, n), arena_array(arena, float, n) };
  data_draw(&raw, 0, batch);
  for (size_t i = 0; i < n; i++)
    p->windows[i] = (float)windows->values[i / size * (size_t)windows->ld + i % size];
  for (int i = 0; i < count * states; i++)
    first[i] = state_at(m, p->windows, i / states, 0)[i % states];
  return plans_sample(m, how, count, first, p->plans, error);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void put_number(JsonText *line, const char *of, const char *what, double value) {
  char key[32];
  snprintf(key, sizeof key, "%s_%s", of, what), json_put_number(line, key, value);
}

static void put_dynamics(JsonText *line, const Dynamics *d, const char *of) {
  put_number(line, of, "error", d->error);
  put_number(line, of, "still", d->still);
  for (int k = 0; k < DYNAMICS_SPANS; k++) {
    char what[16];
    snprintf(what, sizeof what, "drift_%d", dynamics_span[k]);
    put_number(line, of, what, d->drift[k]);
  }
  put_number(line, of, "failures", d->failures);
}

bool diffuser_plans_measure(const DiffuserPlans *p, const PlansModel *m, const EnvModel *env,
                            const float *scale, JsonText *line, double *error_of_plans,
                            Error *error) {
  Dynamics plans, windows;
  if (!dynamics_measure(env, scale, p->plans, p->count, (int)m->horizon, &plans, error) ||
      !dynamics_measure(env, scale, p->windows, p->count, (int)m->horizon, &windows, error))
    return false;
  json_put_integer(line, "plans", p->count);
  put_dynamics(line, &plans, "plan");
  put_dynamics(line, &windows, "data");
  *error_of_plans = plans.error;
  return true;
}
