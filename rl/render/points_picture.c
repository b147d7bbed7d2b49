/* points_picture.c -- dots, arrows and lines over shades. */
#include "rl/render/points_picture.h"
#include "diffusion/field.h"
#include "rl/render/picture.h"
#include <math.h>
#include <string.h>

/* A square around the data that all panels of a picture share. */
static double reach_of(const ToyDef *data) {
  enum { POINTS = 4000 };
  double most = 0;
  for (uint64_t i = 0; i < POINTS; i++) {
    double x[TOY_DIM];
    toy_sample(data, 0, i, x);
    most = fmax(most, fmax(fabs(x[0]), fabs(x[1])));
  }
  return 1.06 * most;
}

static Panel open_panel(Picture *picture, int column, const char *title, double reach) {
  return picture_panel(picture, column, 0, title, (double[]){ -reach, -reach },
                       (double[]){ reach, reach });
}

static bool close_picture(Arena *arena, const Picture *picture, const char *path, Error *error) {
  bool saved = picture_save(picture, path, error);
  arena_free(arena);
  return saved;
}

/* ---- data beside samples --------------------------------------------------------------------- */

/* Many dots are smaller and fainter than few. */
static Pen dot_pen(int colour, int count) {
  double crowd = fmin(1, 2000.0 / count);
  return (Pen){ colour, 2.6 + 2 * sqrt(crowd), 0.28 + 0.4 * crowd };
}

bool points_plot_samples(const ToyDef *data, uint64_t seed, const double *points, int count,
                         const char *title, const char *path, Error *error) {
  Arena *arena = arena_new();
  Picture *picture = picture_new(arena, 2, 1);
  double *real_points = arena_array(arena, double, TOY_DIM *count), reach = reach_of(data);
  points_data(data, seed, 0, count, real_points);
  Panel left = open_panel(picture, 0, arena_text(arena, "data: %s", data->name), reach);
  Panel right = open_panel(picture, 1, title, reach);
  picture_dots(&left, real_points, count, dot_pen(PICTURE_BLUE, count));
  picture_dots(&right, points, count, dot_pen(PICTURE_ORANGE, count));
  return close_picture(arena, picture, path, error);
}

/* ---- the score ------------------------------------------------------------------------------- */

enum { SHADES = 96, ARROWS = 21, KERNELS = 3000 };

/* the density of a x_0 + s eps: known for gmm, else a mean of kernels around many points */
static double density(const ToyDef *data, const double *points, const double x[TOY_DIM],
                      const Level *level) {
  if (!strcmp(data->name, "gmm")) return exp(toy_gmm_log_density(x, level->a, level->s, NULL));
  double sum = 0, narrow = -0.5 / (level->s * level->s);
  for (int i = 0; i < KERNELS; i++) {
    double dx = x[0] - level->a * points[2 * i], dy = x[1] - level->a * points[2 * i + 1];
    sum += exp(narrow * (dx * dx + dy * dy));
  }
  return sum;
}

static void put_shades(const ToyDef *data, Arena *arena, const Panel *panel, const Level *level) {
  double *points = arena_array(arena, double, KERNELS *TOY_DIM);
  double *shade = arena_array(arena, double, SHADES *SHADES);
  points_data(data, 1, 0, KERNELS, points);
  for (int i = 0; i < SHADES * SHADES; i++) {
    double part[] = { (i % SHADES + 0.5) / SHADES, (i / SHADES + 0.5) / SHADES }, x[TOY_DIM];
    for (int d = 0; d < TOY_DIM; d++)
      x[d] = panel->low[d] + part[d] * (panel->high[d] - panel->low[d]);
    shade[i] = density(data, points, x, level);
  }
  picture_shades(panel, shade, SHADES, SHADES);
}

/* Arrows along s times the score, which is how far the noise is, in standard deviations; long ones
 * are drawn shorter than they are, or they would hide the others. */
static void put_arrows(Field *field, Arena *arena, const Panel *panel, const Level *level) {
  enum { COUNT = ARROWS * ARROWS };
  double(*x)[TOY_DIM] = arena_alloc(arena, COUNT * sizeof *x);
  double(*score)[TOY_DIM] = arena_alloc(arena, COUNT * sizeof *score);
  double *t = arena_array(arena, double, COUNT), cell = (panel->high[0] - panel->low[0]) / ARROWS;
  for (int i = 0; i < COUNT; i++) {
    t[i] = level->time;
    x[i][0] = panel->low[0] + (i % ARROWS + 0.5) * cell;
    x[i][1] = panel->low[1] + (i / ARROWS + 0.5) * cell;
  }
  field_at(field, COUNT, NULL, t, x[0], score[0], NULL);
  for (int i = 0; i < COUNT; i++) {
    double size = level->s * hypot(score[i][0], score[i][1]);
    double half = 0.46 * cell * tanh(0.8 * size) / size * level->s;
    double from[] = { x[i][0] - half * score[i][0], x[i][1] - half * score[i][1] };
    double to[] = { x[i][0] + half * score[i][0], x[i][1] + half * score[i][1] };
    picture_arrow(panel, from, to, (Pen){ PICTURE_INK, 1.6, 0.85 });
  }
}

bool points_plot_field(const Model *m, const ToyDef *data, const ModelSampling *how,
                       const char *path, Error *error) {
  static const double sigmas[] = { 1.5, 0.5, 0.15 };
  enum { PANELS = sizeof sigmas / sizeof *sigmas };
  Arena *arena = arena_new();
  FieldSpec spec = { .graph = { .pool = how->pool,
                                .kernels = how->kernels,
                                .max_rows = ARROWS * ARROWS,
                                .group = 64 },
                     .wanted = PREDICTS_SCORE };
  Field *field = field_new(arena, m->denoiser, model_weights(m), &spec, error);
  if (!field) return arena_free(arena), false;
  Picture *picture = picture_new(arena, PANELS, 1);
  double reach = reach_of(data);
  for (int i = 0; i < PANELS; i++) {
    Level level = schedule_level(m->schedule, schedule_time(m->schedule, -log(sigmas[i])));
    const char *title = arena_text(arena, "score at a = %.2f, s = %.2f", level.a, level.s);
    Panel panel = open_panel(picture, i, title, level.a * reach + 1.5 * level.s);
    put_shades(data, arena, &panel, &level);
    put_arrows(field, arena, &panel, &level);
  }
  return close_picture(arena, picture, path, error);
}

/* ---- from noise to data ---------------------------------------------------------------------- */

enum { WAYS = 48, WAY_STEPS = 150 };

typedef struct {
  double at[WAYS][WAY_STEPS + 2][TOY_DIM];
  const Sampler *sampler;
  int count;
} Ways;

/* Data have deviation 1, so noisy data have that of sqrt(a^2 + s^2): divided by it, noise and data
 * share a panel whatever the schedule is. */
static void watch(void *user, int stage, const real *x) {
  Ways *ways = user;
  const Sampler *sampler = ways->sampler;
  if (ways->count == WAY_STEPS + 2) return;
  const Level *at = stage + 1 < sampler->stages ? &sampler->stage[stage + 1].at : &sampler->end;
  double deviation = hypot(at->a, at->s);
  for (int i = 0; i < WAYS; i++)
    for (int d = 0; d < TOY_DIM; d++)
      ways->at[i][ways->count][d] = (double)x[i * row_stride(TOY_DIM) + d] / deviation;
  ways->count++;
}

static void put_ways(const Panel *panel, const Ways *ways, int shown, const double *data,
                     int points) {
  picture_dots(panel, data, points, (Pen){ PICTURE_GREY, 2.6, 0.3 });
  for (int i = 0; i < shown; i++)
    picture_line(panel, ways->at[i][0], ways->count, (Pen){ PICTURE_BLUE, 1.4, 0.5 });
  for (int i = 0; i < shown; i++) {
    picture_dots(panel, ways->at[i][0], 1, (Pen){ PICTURE_BLUE, 5, 0.9 });
    picture_dots(panel, ways->at[i][ways->count - 1], 1, (Pen){ PICTURE_ORANGE, 7.5, 1 });
  }
}

bool points_plot_paths(const Model *m, const ToyDef *data, const ModelSampling *how,
                       const char *path, Error *error) {
  static const char *const methods[] = { "ddim", "ddpm" };
  static const char *const titles[] = { "ODE: the same noise, the same point",
                                        "SDE: new noise in every step" };
  static const int shown[] = { WAYS, 4 }; /* ways with noise would hide each other */
  enum { POINTS = 3000 };
  Arena *arena = arena_new();
  Picture *picture = picture_new(arena, 2, 1);
  double end[WAYS * TOY_DIM], *points = arena_array(arena, double, POINTS *TOY_DIM);
  points_data(data, 1, 0, POINTS, points);
  int steps =
      m->schedule->steps && m->schedule->steps < WAY_STEPS ? m->schedule->steps - 1 : WAY_STEPS;
  for (int i = 0; i < 2; i++) {
    Ways *ways = arena_alloc(arena, sizeof *ways);
    ModelSampling this = *how;
    this.sampler =
        (SamplerSpec){ .method = methods[i], .steps = steps, .spacing = how->sampler.spacing };
    this.watch = watch, this.watch_user = ways;
    if (!(ways->sampler = sampler_new(arena, &this.sampler, m->denoiser, error)))
      return arena_free(arena), false;
    if (!points_sample(m, &this, WAYS, end, error)) return arena_free(arena), false;
    Panel panel = open_panel(picture, i, titles[i], fmax(3.2, reach_of(data)));
    put_ways(&panel, ways, shown[i], points, POINTS);
  }
  return close_picture(arena, picture, path, error);
}
