/* plans_picture.c -- entries of the state over time. */
#include "rl/render/plans_picture.h"
#include "rl/render/picture.h"
#include "rl/rollout/dynamics.h"
#include <math.h>

static const float *state_at(const PlansModel *m, const float *trajectories, int i, int t) {
  return trajectories + (size_t)i * (size_t)m->base.denoiser->dim +
         (size_t)(t * m->width + (int)m->act_dim);
}

enum { SHOWN = 8, COLUMNS = 3 }; /* trajectories, entries of the state */

/* height, angle and forward speed of a torso: the same places in all planar tasks */
static int entry_of(const PlansModel *m, int column) {
  return column < 2 ? column : ((int)m->obs_dim - 1) / 2;
}

/* the range of an entry in the first `count` plans and windows, and a little more */
static void range_of(const PlanSamples *p, const PlansModel *m, int entry, int count, double *low,
                     double *high) {
  *low = INFINITY, *high = -INFINITY;
  for (int i = 0; i < 2 * count * (int)m->horizon; i++) {
    const float *of = i % 2 && p->windows ? p->windows : p->plans;
    double x = (double)state_at(m, of, i / 2 / (int)m->horizon, i / 2 % (int)m->horizon)[entry];
    *low = fmin(*low, x), *high = fmax(*high, x);
  }
  double more = 0.06 * (*high - *low) + 1e-6;
  *low -= more, *high += more;
}

static void put_lines(const Panel *panel, const PlansModel *m, const float *of, int entry,
                      int count, int colour) {
  double at[2 * 1024]; /* the longest horizon */
  for (int i = 0; i < count; i++) {
    for (int t = 0; t < (int)m->horizon; t++)
      at[2 * t] = t, at[2 * t + 1] = (double)state_at(m, of, i, t)[entry];
    picture_line(panel, at, (int)m->horizon, (Pen){ colour, 2.2, 0.7 });
    picture_dots(panel, at, 1, (Pen){ PICTURE_INK, 8, 0.9 });
  }
}

typedef struct {
  const float *of;
  const char *what;
  int colour;
} Row;

static void put_column(Picture *picture, int column, const PlanSamples *p, const PlansModel *m,
                       const char *name, const Row *row, int rows) {
  int entry = entry_of(m, column), count = p->count < SHOWN ? p->count : SHOWN;
  double low[2] = { 0 }, high[2] = { (int)m->horizon - 1 };
  range_of(p, m, entry, count, &low[1], &high[1]);
  for (int r = 0; r < rows; r++) {
    char title[96];
    snprintf(title, sizeof title, "%s: %s", name, row[r].what);
    Panel panel = picture_panel(picture, column, r, title, low, high);
    put_lines(&panel, m, row[r].of, entry, count, row[r].colour);
  }
}

bool plan_samples_plot(const PlanSamples *p, const PlansModel *m, const EnvModel *env,
                       const char *path, Error *error) {
  static const char *const torso[COLUMNS] = { "height", "angle", "speed" };
  Arena *arena = arena_new();
  int count = p->count < SHOWN ? p->count : SHOWN, rows = 0;
  float *played = arena_array(arena, float, (size_t)count *(size_t)m->base.denoiser->dim);
  Error ignored;
  Row row[3];
  bool planar = env && dynamics_play(env, p->plans, count, (int)m->horizon, played, &ignored);
  if (p->windows) row[rows++] = (Row){ p->windows, "data", PICTURE_BLUE };
  row[rows++] = (Row){ p->plans, "plans", PICTURE_ORANGE };
  if (planar) row[rows++] = (Row){ played, "the plans' actions, simulated", PICTURE_GREEN };
  int columns = (int)m->obs_dim < COLUMNS ? 1 : COLUMNS;
  Picture *picture = picture_new(arena, columns, rows);
  for (int c = 0; c < columns; c++) {
    const char *name = planar ? torso[c] : arena_text(arena, "state %d", entry_of(m, c));
    put_column(picture, c, p, m, name, row, rows);
  }
  bool done = picture_save(picture, path, error);
  arena_free(arena);
  return done;
}
