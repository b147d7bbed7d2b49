/* world_errors.c -- windows of the data, and the same actions imagined. */
#include "rl/measure/world_errors.h"
#include "core/rng.h"
#include <math.h>
#include <string.h>

static const int spans[WORLD_SPANS] = { 1, 5, 10, 25, 50 };

#define CAPTION                                                                                    \
  "Error of the model: put into a state of the data it does the actions of the data, each time "   \
  "in "                                                                                            \
  "the state that it imagines; root mean square distance of states, each entry divided by its "    \
  "deviation over the data. No change: of a state that stays as it was."
const Measure world_measures[WORLD_MEASURES] = {
  { .key = "windows" },
  { .key = "windows_held_out" },
  { "world_error_1", "error after 1 step", "deviations of the data", .less_is_better = true,
    .main = true },
  { .key = "still_1" },
  { "world_error_5", "error after 5 steps", "deviations of the data", .less_is_better = true,
    .main = true },
  { .key = "still_5" },
  { "world_error_10", "error after 10 steps", "deviations of the data", CAPTION,
    .beside = "still_10", .less_is_better = true, .main = true },
  { .key = "still_10", .title = "of no change" },
  { "world_error_25", "error after 25 steps", "deviations of the data", .less_is_better = true },
  { .key = "still_25" },
  { "world_error_50", "error after 50 steps", "deviations of the data", .less_is_better = true },
  { .key = "still_50" },
};

typedef struct {
  const WorldsModel *model;
  int count, steps; /* windows, and steps of the longest */
  const BatchColumn *window;
  float *state, *action; /* [count, *] of now */
} Imagined;

/* entry j of the state of window i after t steps; an action comes before its state */
static double true_state(const Imagined *w, int i, int t, int j) {
  int step = (int)(w->model->act_dim + w->model->obs_dim);
  return (double)
      w->window->values[(ptrdiff_t)i * w->window->ld + t * step + (int)w->model->act_dim + j];
}

static void put_actions(const Imagined *w, int t) {
  int actions = (int)w->model->act_dim, step = actions + (int)w->model->obs_dim;
  for (int i = 0; i < w->count; i++)
    for (int j = 0; j < actions; j++)
      w->action[i * actions + j] =
          (float)w->window->values[(ptrdiff_t)i * w->window->ld + t * step + j];
}

/* of what is imagined now, and of no change, after t steps */
static void compare(const Imagined *w, int t, double *error, double *still) {
  int states = (int)w->model->obs_dim;
  double squares = 0, rest = 0, n = (double)w->count * states;
  for (int i = 0; i < w->count; i++)
    for (int j = 0; j < states; j++) {
      double now = true_state(w, i, t, j), std = (double)w->model->state.std[j];
      double miss = ((double)w->state[i * states + j] - now) / std;
      double moved = (true_state(w, i, 0, j) - now) / std;
      squares += miss * miss, rest += moved * moved;
    }
  *error = sqrt(squares / n), *still = sqrt(rest / n);
}

static bool imagine(const Imagined *w, const ModelSampling *how, double value[WORLD_MEASURES],
                    Error *error) {
  int states = (int)w->model->obs_dim;
  for (int i = 0; i < w->count * states; i++)
    w->state[i] = (float)true_state(w, i / states, 0, i % states);
  for (int t = 0, next = 0; t < w->steps; t++) {
    ModelSampling step = *how; /* other noise in every step */
    step.seed = how->seed + (uint64_t)t * 0x9e3779b97f4a7c15u;
    put_actions(w, t);
    if (!worlds_predict(w->model, &step, w->count, w->state, w->action, w->state, NULL, NULL,
                        error))
      return false;
    if (t + 1 != spans[next]) continue;
    compare(w, t + 1, &value[2 + 2 * next], &value[3 + 2 * next]);
    next++;
  }
  return true;
}

bool world_errors(const WorldsModel *model, const ModelSampling *how, const RowSampler *rows,
                  int count, double value[WORLD_MEASURES], Error *error) {
  Arena *arena = arena_new();
  RowSampler raw = { .data = rows->data, .rng = rng_stream(how->seed, "imagined window") };
  int span = WORLD_SPANS - 1;
  for (int i = 0; i < WORLD_MEASURES; i++) value[i] = NAN;
  raw.rows = data_window_starts(arena, rows, spans[span] + 1, false, &raw.row_count);
  while (!raw.row_count && span-- > 0)
    raw.rows = data_window_starts(arena, rows, spans[span] + 1, false, &raw.row_count);
  bool done = true;
  value[0] = raw.row_count ? count : 0;
  if (raw.row_count) {
    const Column columns[] = { COLUMN("window", OF_STEP, 0, spans[span] + 1), { 0 } };
    Batch *batch = batch_new(arena, count, (int)model->obs_dim, (int)model->act_dim, columns);
    data_sample(&raw, 0, batch);
    Imagined w = { model,
                   count,
                   spans[span],
                   batch_column(batch, "window"),
                   arena_array(arena, float, count *(int)model->obs_dim),
                   arena_array(arena, float, count *(int)model->act_dim) };
    done = imagine(&w, how, value, error);
  }
  arena_free(arena);
  return done;
}
