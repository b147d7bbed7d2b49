/* diffuser_plans.c -- windows, plans from their first states, and the simulator's word on both. */
#include "rl/diffuser_plans.h"
#include "rl/dynamics.h"
#include "rl/picture.h"
#include <math.h>

static size_t size_of(const DiffuserModel *m) { return (size_t)m->denoiser->dim; }

static const float *state_at(const DiffuserModel *m, const float *trajectories, int i, int t) {
  return trajectories + (size_t)i * size_of(m) + (size_t)(t * m->width + m->act_dim);
}

bool diffuser_plans_new(DiffuserPlans *p, Arena *arena, const DiffuserModel *m,
                        const DiffuserSampling *how, const Drawer *whole, int count, Error *error) {
  const Drawer raw = {
    .data = whole->data, .rng = whole->rng, .pool = whole->pool, .pool_count = whole->pool_count
  };
  Batch *batch = batch_windows_new(arena, count, m->horizon, m->obs_dim, m->act_dim);
  size_t size = size_of(m), n = (size_t)count * size;
  float *first = arena_array(arena, float, count * m->obs_dim);
  *p = (DiffuserPlans){ count, arena_array(arena, float, n), arena_array(arena, float, n) };
  data_draw(&raw, 0, batch);
  for (size_t i = 0; i < n; i++)
    p->windows[i] = (float)batch->window[i / size * (size_t)batch->window_ld + i % size];
  for (int i = 0; i < count * m->obs_dim; i++)
    first[i] = state_at(m, p->windows, i / m->obs_dim, 0)[i % m->obs_dim];
  return diffuser_plan(m, how, count, first, p->plans, error);
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

bool diffuser_plans_measure(const DiffuserPlans *p, const DiffuserModel *m, const EnvModel *env,
                            const float *scale, JsonText *line, double *error_of_plans,
                            Error *error) {
  Dynamics plans, windows;
  if (!dynamics_measure(env, scale, p->plans, p->count, m->horizon, &plans, error) ||
      !dynamics_measure(env, scale, p->windows, p->count, m->horizon, &windows, error))
    return false;
  json_put_integer(line, "plans", p->count);
  put_dynamics(line, &plans, "plan");
  put_dynamics(line, &windows, "data");
  *error_of_plans = plans.error;
  return true;
}

/* ---- pictures -------------------------------------------------------------------------------- */

enum { SHOWN = 8, COLUMNS = 3 }; /* trajectories, entries of the state */

/* height, angle and forward speed of a torso: the same places in all planar tasks */
static int entry_of(const DiffuserModel *m, int column) {
  return column < 2 ? column : (m->obs_dim - 1) / 2;
}

/* the range of an entry in the first `count` plans and windows, and a little more */
static void range_of(const DiffuserPlans *p, const DiffuserModel *m, int entry, int count,
                     double *low, double *high) {
  *low = INFINITY, *high = -INFINITY;
  for (int i = 0; i < 2 * count * m->horizon; i++) {
    const float *of = i % 2 && p->windows ? p->windows : p->plans;
    double x = (double)state_at(m, of, i / 2 / m->horizon, i / 2 % m->horizon)[entry];
    *low = fmin(*low, x), *high = fmax(*high, x);
  }
  double more = 0.06 * (*high - *low) + 1e-6;
  *low -= more, *high += more;
}

static void put_lines(const Panel *panel, const DiffuserModel *m, const float *of, int entry,
                      int count, int colour) {
  double at[2 * 1024]; /* the longest horizon */
  for (int i = 0; i < count; i++) {
    for (int t = 0; t < m->horizon; t++)
      at[2 * t] = t, at[2 * t + 1] = (double)state_at(m, of, i, t)[entry];
    picture_line(panel, at, m->horizon, (Pen){ colour, 2.2, 0.7 });
    picture_dots(panel, at, 1, (Pen){ PICTURE_INK, 8, 0.9 });
  }
}

typedef struct {
  const float *of;
  const char *what;
  int colour;
} Row;

static void put_column(Picture *picture, int column, const DiffuserPlans *p, const DiffuserModel *m,
                       const char *name, const Row *row, int rows) {
  int entry = entry_of(m, column), count = p->count < SHOWN ? p->count : SHOWN;
  double low[2] = { 0 }, high[2] = { m->horizon - 1 };
  range_of(p, m, entry, count, &low[1], &high[1]);
  for (int r = 0; r < rows; r++) {
    char title[96];
    snprintf(title, sizeof title, "%s: %s", name, row[r].what);
    Panel panel = picture_panel(picture, column, r, title, low, high);
    put_lines(&panel, m, row[r].of, entry, count, row[r].colour);
  }
}

bool diffuser_plans_draw(const DiffuserPlans *p, const DiffuserModel *m, const EnvModel *env,
                         const char *path, Error *error) {
  static const char *const torso[COLUMNS] = { "height", "angle", "speed" };
  Arena *arena = arena_new();
  int count = p->count < SHOWN ? p->count : SHOWN, rows = 0;
  float *played = arena_array(arena, float, (size_t)count *size_of(m));
  Error ignored;
  Row row[3];
  bool planar = env && dynamics_play(env, p->plans, count, m->horizon, played, &ignored);
  if (p->windows) row[rows++] = (Row){ p->windows, "data", PICTURE_BLUE };
  row[rows++] = (Row){ p->plans, "plans", PICTURE_ORANGE };
  if (planar) row[rows++] = (Row){ played, "the plans' actions, simulated", PICTURE_GREEN };
  int columns = m->obs_dim < COLUMNS ? 1 : COLUMNS;
  Picture *picture = picture_new(arena, columns, rows);
  for (int c = 0; c < columns; c++) {
    const char *name = planar ? torso[c] : arena_text(arena, "state %d", entry_of(m, c));
    put_column(picture, c, p, m, name, row, rows);
  }
  bool done = picture_save(picture, path, error);
  arena_free(arena);
  return done;
}
