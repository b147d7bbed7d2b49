/* test_golden_diffusers.c -- Hugging Face diffusers' schedulers, coefficient for coefficient and a
 * sampling loop each (scripts/golden/diffusers_schedulers.py ran them).
 *
 * Its grids are given to our samplers as explicit times.  Not compared, because diffusers is not
 * the mathematics there (the script's docstring lists how): DDIM on linspace and from clipped x_0
 * with the unclipped noise, DDIM inversion, Euler with churn (asked before the noise is added;
 * KarrasVe is right and compared), zero SNR of the sigma schedulers (2^-24 instead of none), the
 * SDE schedulers (time steps and grid differ), steps of length zero (alpha0, EDM to sigma_min). */
#include "tests/chain.h"
#include "tests/golden.h"

enum { ROWS = 4, DIM = 3, LD = 16, MOST = 32, COLUMNS = 7 };
static const bool exact = sizeof(real) == 8;

/* ---- diffusers' network ---------------------------------------------------------------------- */

/* The two networks of the script: what predicts eps asks E, all else X; they do not agree. */
static const double mu = 0.3, c2 = 0.25;
static Truth by_noise(double x, double a, double s) {
  double eps = s * (x - a * mu) / (a * a * c2 + s * s) + 0.1 * sin(2 * x);
  return (Truth){ a > 0 ? (x - s * eps) / a : 0, eps };
}
static Truth by_data(double x, double a, double s) {
  double x0 = mu + a * c2 * (x - a * mu) / (a * a * c2 + s * s) + 0.1 * sin(2 * x);
  return (Truth){ x0, s > 0 ? (x - a * x0) / s : 0 };
}
/* y = x_0 + sigma e, about which the networks are told x = a y with a^2 + s^2 = 1 */
static Truth by_data_of_y(double y, double one, double sigma) {
  double a = one / sqrt(1 + sigma * sigma);
  return by_data(a * y, a, a * sigma);
}
static double learned(double x) { return 0.5 * sin(x + 1); }

/* ---- a case ---------------------------------------------------------------------------------- */

typedef enum {
  PLAIN = 0,
  IN_SIGMA = 1,     /* x is y = x / a */
  ON_EDM = 2,       /* ours on schedule edm, whose x is y */
  TWO_STAGE = 4,    /* asked twice a step but once in the last */
  WITHOUT_LAST = 8, /* ours stops where its last step begins */
  BY_NOISE = 16,    /* columns o are eps */
  BY_VELOCITY = 32, /* .. velocities */
  CLIPS = 64,       /* no coefficients */
  LAST_NOISE = 128, /* diffusers adds noise in the last step, too */
} Traits;

typedef struct {
  const char *name;
  SamplerSpec spec;
  unsigned kind;
  Prediction predicts;  /* eps if silent */
  const char *schedule; /* linear if silent */
} Case;

#define S(...)                                                                                     \
  { __VA_ARGS__ }
static const Case cases[] = {
  { "ddpm/small_leading", S(.method = "ddpm"), 0, 0, 0 },
  { "ddpm/small_linspace", S(.method = "ddpm"), 0, 0, 0 },
  { "ddpm/small_trailing", S(.method = "ddpm"), 0, 0, 0 },
  { "ddpm/small_sample_leading", S(.method = "ddpm"), 0, PREDICTS_X0, 0 },
  { "ddpm/small_v_prediction_leading", S(.method = "ddpm"), 0, PREDICTS_V, 0 },
  { "ddpm/small_scaled_leading", S(.method = "ddpm"), 0, 0, "scaled-linear" },
  { "ddpm/small_cosine_leading", S(.method = "ddpm"), 0, 0, "cosine" },
  { "ddpm/small_cosine_v_prediction_trailing", S(.method = "ddpm"), 0, PREDICTS_V, "cosine" },
  { "ddpm/small_zsnr_v_prediction_trailing", S(.method = "ddpm"), 0, PREDICTS_V, "zero" },
  { "ddpm/small_clip_leading", S(.method = "ddpm"), CLIPS, 0, 0 },
  { "ddpm/large_leading", S(.method = "ddpm_large"), 0, 0, 0 },
  { "ddpm/large_linspace", S(.method = "ddpm_large"), 0, 0, 0 },
  { "ddpm/large_trailing", S(.method = "ddpm_large"), LAST_NOISE, 0, 0 },
  { "ddpm/large_clip_leading", S(.method = "ddpm_large"), CLIPS, 0, 0 },
  { "ddpm/learned_range_leading", S(.method = "ddpm_learned"), 0, 0, 0 },
  { "ddim/eta0_leading", S(.method = "ddim"), 0, 0, 0 },
  { "ddim/eta0_trailing", S(.method = "ddim"), 0, 0, 0 },
  { "ddim/eta0.5_leading", S(.method = "ddim", .eta = 0.5), 0, 0, 0 },
  { "ddim/eta0.5_trailing", S(.method = "ddim", .eta = 0.5), 0, 0, 0 },
  { "ddim/eta1_leading", S(.method = "ddim", .eta = 1), 0, 0, 0 },
  { "ddim/eta1_trailing", S(.method = "ddim", .eta = 1), 0, 0, 0 },
  { "ddim/eta0_clip_used_leading", S(.method = "ddim"), CLIPS, 0, 0 },
  { "ddim/eta0.5_clip_used_leading", S(.method = "ddim", .eta = 0.5), CLIPS, 0, 0 },
  { "ddim/eta0_sample_leading", S(.method = "ddim"), 0, PREDICTS_X0, 0 },
  { "ddim/eta0_v_prediction_leading", S(.method = "ddim"), 0, PREDICTS_V, 0 },
  { "ddim/eta0_cosine_leading", S(.method = "ddim"), 0, 0, "cosine" },
  { "ddim/eta0_cosine_v_prediction_trailing", S(.method = "ddim"), 0, PREDICTS_V, "cosine" },
  { "ddim/eta0_zsnr_v_prediction_trailing", S(.method = "ddim"), 0, PREDICTS_V, "zero" },
#define LOW .lower_final = true
  { "dpm/pp_1_midpoint", S(.method = "ddim"), 0, 0, 0 },
  { "dpm/pp_2_midpoint", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_heun", S(.method = "dpmpp_2m", LOW, .taylor = true), 0, 0, 0 },
  { "dpm/pp_2_leading", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_trailing", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_min", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_min_full", S(.method = "dpmpp_2m"), 0, 0, 0 },
  { "dpm/pp_2_K20", S(.method = "dpmpp_2m"), 0, 0, 0 },
  { "dpm/pp_2_karras", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_lu", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_exponential", S(.method = "dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/pp_2_sample", S(.method = "dpmpp_2m", LOW), 0, PREDICTS_X0, 0 },
  { "dpm/pp_2_v_prediction", S(.method = "dpmpp_2m", LOW), 0, PREDICTS_V, 0 },
  { "dpm/pp_2_scaled", S(.method = "dpmpp_2m", LOW), 0, 0, "scaled-linear" },
  { "dpm/pp_2_cosine_clipped", S(.method = "dpmpp_2m", LOW), 0, 0, "cosine" },
  { "dpm/pp_2_cosine_karras_v_prediction", S(.method = "dpmpp_2m", LOW), 0, PREDICTS_V, "cosine" },
  { "dpm/pp_3_midpoint", S(.method = "dpmpp_3m", .compat = true, LOW), 0, 0, 0 },
  { "dpm/pp_3_heun", S(.method = "dpmpp_3m", .compat = true, .taylor = true, LOW), 0, 0, 0 },
  { "dpm/pp_3_min", S(.method = "dpmpp_3m", .compat = true, LOW), 0, 0, 0 },
  { "dpm/pp_3_min_full", S(.method = "dpmpp_3m", .compat = true), 0, 0, 0 },
  { "dpm/pp_3_K20", S(.method = "dpmpp_3m", .compat = true), 0, 0, 0 },
  { "dpm/pp_3_karras", S(.method = "dpmpp_3m", .compat = true, LOW), 0, 0, 0 },
  { "dpm/eps_1_midpoint", S(.method = "ddim"), BY_NOISE, 0, 0 },
  { "dpm/eps_2_midpoint", S(.method = "dpm_2m", LOW), BY_NOISE, 0, 0 },
  { "dpm/eps_2_heun", S(.method = "dpm_2m", LOW, .taylor = true), BY_NOISE, 0, 0 },
  { "dpm/eps_2_full", S(.method = "dpm_2m"), BY_NOISE, 0, 0 },
  { "dpm/eps_2_sample", S(.method = "dpm_2m", LOW), BY_NOISE, PREDICTS_X0, 0 },
  { "dpm/eps_2_v_prediction", S(.method = "dpm_2m", LOW), BY_NOISE, PREDICTS_V, 0 },
  { "dpm/eps_3_midpoint", S(.method = "dpm_3m", .compat = true, LOW), BY_NOISE, 0, 0 },
  { "dpm/eps_3_heun", S(.method = "dpm_3m", .compat = true, .taylor = true, LOW), BY_NOISE, 0, 0 },
  { "dpm/eps_3_full", S(.method = "dpm_3m", .compat = true), BY_NOISE, 0, 0 },
  { "dpm/sde_1_midpoint", S(.method = "sde_dpmpp_1"), 0, 0, 0 },
  { "dpm/sde_2_midpoint", S(.method = "sde_dpmpp_2m", LOW), 0, 0, 0 },
  { "dpm/sde_2_heun", S(.method = "sde_dpmpp_2m", LOW, .taylor = true), 0, 0, 0 },
  { "dpm/sde_eps_1_midpoint", S(.method = "sde_dpm_1"), BY_NOISE, 0, 0 },
  { "dpm/sde_eps_2_midpoint", S(.method = "sde_dpm_2m", LOW), BY_NOISE, 0, 0 },
  { "dpm/sde_eps_2_heun", S(.method = "sde_dpm_2m", LOW, .taylor = true), BY_NOISE, 0, 0 },
  { "dpm_single/pp_1_midpoint", S(.method = "ddim"), 0, 0, 0 },
  { "dpm_single/eps_1_midpoint", S(.method = "ddim"), BY_NOISE, 0, 0 },
  { "dpm_single/sde_1_midpoint", S(.method = "sde_dpmpp_1"), 0, 0, 0 },
  { "euler/linspace", S(.method = "ddim"), IN_SIGMA, 0, 0 },
  { "euler/leading", S(.method = "ddim"), IN_SIGMA, 0, 0 },
  { "euler/trailing", S(.method = "ddim"), IN_SIGMA, 0, 0 },
  { "euler/trailing_min", S(.method = "ddim"), IN_SIGMA, 0, 0 },
  { "euler/karras", S(.method = "ddim"), IN_SIGMA, 0, 0 },
  { "euler/sample_linspace", S(.method = "ddim"), IN_SIGMA, PREDICTS_X0, 0 },
  { "euler/v_prediction_linspace", S(.method = "ddim"), IN_SIGMA, PREDICTS_V, 0 },
  { "euler/scaled_linspace", S(.method = "ddim"), IN_SIGMA, 0, "scaled-linear" },
  { "euler_ancestral/linspace", S(.method = "ddpm"), IN_SIGMA | BY_NOISE, 0, 0 },
  { "euler_ancestral/leading", S(.method = "ddpm"), IN_SIGMA | BY_NOISE, 0, 0 },
  { "euler_ancestral/trailing", S(.method = "ddpm"), IN_SIGMA | BY_NOISE, 0, 0 },
  { "euler_ancestral/v_prediction_linspace", S(.method = "ddpm"), IN_SIGMA | BY_NOISE, PREDICTS_V,
    0 },
  { "heun/linspace", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, 0 },
  { "heun/leading", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, 0 },
  { "heun/trailing", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, 0 },
  { "heun/karras", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, 0 },
  { "heun/sample_linspace", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, PREDICTS_X0, 0 },
  { "heun/v_prediction_linspace", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, PREDICTS_V, 0 },
  { "heun/scaled_linspace", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, "scaled-linear" },
  { "heun/cosine_karras", S(.method = "edm_heun"), IN_SIGMA | TWO_STAGE, 0, "cosine" },
  { "kdpm2/linspace", S(.method = "dpm_2s"), IN_SIGMA | TWO_STAGE | BY_NOISE | WITHOUT_LAST, 0, 0 },
  { "kdpm2/karras", S(.method = "dpm_2s"), IN_SIGMA | TWO_STAGE | BY_NOISE | WITHOUT_LAST, 0, 0 },
  { "kdpm2/v_prediction_linspace", S(.method = "dpm_2s"),
    IN_SIGMA | TWO_STAGE | BY_NOISE | WITHOUT_LAST, PREDICTS_V, 0 },
  { "edm_euler/karras", S(.method = "ddim"), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_euler/karras_K18", S(.method = "ddim"), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_euler/exponential", S(.method = "ddim"), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_dpm/pp_1_midpoint", S(.method = "ddim"), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_dpm/pp_2_midpoint", S(.method = "dpmpp_2m", LOW), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_dpm/pp_2_heun", S(.method = "dpmpp_2m", LOW, .taylor = true), ON_EDM, PREDICTS_EDM,
    "edm" },
  { "edm_dpm/pp_3_midpoint", S(.method = "dpmpp_3m", LOW, .compat = true), ON_EDM, PREDICTS_EDM,
    "edm" },
  { "edm_dpm/pp_3_exponential", S(.method = "dpmpp_3m", LOW, .compat = true), ON_EDM, PREDICTS_EDM,
    "edm" },
  { "edm_dpm/sde_1_midpoint", S(.method = "sde_dpmpp_1"), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_dpm/sde_2_midpoint", S(.method = "sde_dpmpp_2m", LOW), ON_EDM, PREDICTS_EDM, "edm" },
  { "edm_dpm/sde_2_heun", S(.method = "sde_dpmpp_2m", LOW, .taylor = true), ON_EDM, PREDICTS_EDM,
    "edm" },
  { "flow_euler/shift1", S(.method = "euler"), BY_VELOCITY, PREDICTS_VELOCITY, "flow" },
  { "flow_euler/shift3", S(.method = "euler"), BY_VELOCITY, PREDICTS_VELOCITY, "flow" },
  { "flow_euler/karras", S(.method = "euler"), BY_VELOCITY, PREDICTS_VELOCITY, "flow" },
  { "flow_heun/shift1", S(.method = "heun"), BY_VELOCITY | TWO_STAGE | WITHOUT_LAST,
    PREDICTS_VELOCITY, "flow" },
  { "flow_heun/shift3", S(.method = "heun"), BY_VELOCITY | TWO_STAGE | WITHOUT_LAST,
    PREDICTS_VELOCITY, "flow" },
};

/* ---- their grid on our schedule -------------------------------------------------------------- */

typedef struct {
  const Case *c;
  const CheckpointTensor *asked, *reached, *x, *coef;
  Oracle net;
  const Sampler *table;
  int questions; /* of ours */
} Run;

static const CheckpointTensor *part(const Golden *golden, const char *name, const char *what) {
  return golden_tensor(golden, arena_text(golden->arena, "%s/%s", name, what));
}

static Schedule *schedule_of(Arena *arena, const char *name) {
  Error error;
  bool zero = name && !strcmp(name, "zero");
  ScheduleSpec spec = { .name = !name || zero ? "linear" : name, .steps = 1000, .zero_snr = zero };
  Schedule *s = schedule_new(arena, &spec, &error);
  if (!s) fail_msg("%s", error.text);
  return s;
}

/* row of (a, s) as a time of ours */
static double time_of(const Schedule *s, const CheckpointTensor *levels, int i) {
  double a = golden_at(levels, (size_t)(2 * i)), noise = golden_at(levels, (size_t)(2 * i + 1));
  if (!strcmp(s->def->name, "flow")) return noise;
  return a == 0 ? s->t_max : schedule_time(s, log(a / noise));
}

static void open_run(Golden *golden, Run *run, bool coefficients) {
  const Case *c = run->c;
  Arena *arena = golden->arena;
  run->asked = part(golden, c->name, "asked"), run->reached = part(golden, c->name, "reached");
  run->x = part(golden, c->name, "x");
  run->coef = coefficients ? part(golden, c->name, "coef") : NULL;
  Schedule *s = schedule_of(arena, c->schedule);
  LawAt *law = c->kind & ON_EDM ? by_data_of_y : c->predicts == PREDICTS_EPS ? by_noise : by_data;
  run->net = oracle(s, c->predicts, DIM, law);
  run->net.base.data_std = 0.5;
  if (!strcmp(c->spec.method, "ddpm_learned"))
    run->net.base.learns_variance = true, run->net.variance = learned;
  int E = (int)golden_count(run->asked) / 2, every = c->kind & TWO_STAGE ? 2 : 1;
  int steps = (E + every - 1) / every;
  bool clean = golden_at(run->reached, (size_t)(2 * E - 1)) == 0;
  double *times = arena_array(arena, double, steps + 1);
  for (int i = 0; i < steps; i++) times[i] = time_of(s, run->asked, every * i);
  SamplerSpec spec = c->spec;
  if (c->kind & WITHOUT_LAST)
    spec.final = times[--steps], clean = false;
  else if (!clean)
    spec.final = time_of(s, run->reached, E - 1);
  if (c->kind & BY_VELOCITY && clean) spec.final = 0, clean = false;
  spec.times = times, spec.steps = steps, spec.end = clean ? END_CLEAN : END_LAST;
  spec.clip = c->kind & CLIPS, spec.low = -1, spec.high = 1;
  run->table = a_sampler(arena, &spec, &run->net.base);
  run->questions = c->kind & WITHOUT_LAST ? E - 1 : E;
  assert_int_equal(run->table->evaluations, run->questions);
}

/* ---- coefficients ---------------------------------------------------------------------------- */

/* x[k+1] by (x[k], x[k-1], x[k-2], o[k], o[k-1], o[k-2], noise[k]): our M is to_x x + to_out o */
static void row_of(const Run *run, int k, double row[COLUMNS]) {
  const Stage *s = &run->table->stage[k];
  Prediction native = run->c->kind & BY_NOISE      ? PREDICTS_EPS
                      : run->c->kind & BY_VELOCITY ? PREDICTS_VELOCITY
                                                   : PREDICTS_X0;
  int base = 0;
  while (base < k && !s[-1 - base].rebase) base++;
  memset(row, 0, COLUMNS * sizeof *row);
  row[base] += s->base;
  for (int j = 0; j < 3 && j <= k && s->out[j] != 0; j++) {
    Form o = line_form(prediction_line(native, &s[-j].at, 0.5), (Line){ 1, 0 }, &s[-j].at);
    if (native == PREDICTS_VELOCITY) /* which is what ours combines */
      o = (Form){ 0, 1 };
    else if (native == PREDICTS_EPS && !run->table->data_form)
      o = (Form){ 0, 1 };
    else
      o = (Form){ s[-j].back.to_x + s[-j].back.to_out * o.to_x, s[-j].back.to_out * o.to_out };
    row[j] += s->out[j] * o.to_x, row[3 + j] += s->out[j] * o.to_out;
  }
  row[6] = s->learned ? exp(0.25 * (s->log_low + s->log_high)) : s->noise;
  if (!(run->c->kind & IN_SIGMA)) return;
  double after = golden_at(run->reached, (size_t)(2 * k));
  for (int j = 0; j < COLUMNS; j++)
    row[j] *= (j < 3 && j <= k ? golden_at(run->asked, (size_t)(2 * (k - j))) : 1) / after;
}

static void check_coefficients(const Run *run) {
  for (int k = 0; run->coef && k < run->questions; k++) {
    double row[COLUMNS];
    row_of(run, k, row);
    for (int j = 0; j < COLUMNS; j++) {
      double theirs = golden_at(run->coef, (size_t)(COLUMNS * k + j));
      bool floor = j == 6 && k == run->questions - 1; /* of their variance: 1e-20 */
      if (floor && run->c->kind & LAST_NOISE) continue;
      if (!near(row[j], theirs, floor ? 2e-10 : 1e-9))
        fail_msg("%s: coefficient %d of step %d: %.15g, diffusers %.15g", run->c->name, j, k,
                 row[j], theirs);
    }
  }
}

/* ---- loops ----------------------------------------------------------------------------------- */

static const real *block(Arena *arena, const CheckpointTensor *t, int i, double scale) {
  real *x = arena_array(arena, real, ROWS * LD);
  for (int r = 0; r < ROWS * DIM; r++)
    x[r / DIM * LD + r % DIM] = (real)(scale * golden_at(t, (size_t)(i * ROWS * DIM + r)));
  return x;
}

static void compare(const char *name, const real *ours, const CheckpointTensor *theirs, int i,
                    double scale) {
  for (int r = 0; r < ROWS * DIM; r++) {
    double found = (double)ours[r / DIM * LD + r % DIM];
    double expected = scale * golden_at(theirs, (size_t)(i * ROWS * DIM + r));
    if (!near(found, expected, exact ? 1e-9 : 5e-3))
      fail_msg("%s: sample %.12g, diffusers %.12g", name, found, expected);
  }
}

static void check_loop(Golden *golden, const Run *run) {
  Arena *arena = golden->arena;
  const real *noise[MOST];
  const CheckpointTensor *z = golden_tensor(golden, "noise");
  for (int k = 0; k < run->table->stages; k++)
    noise[k] = run->table->stage[k].noise > 0 ? block(arena, z, k, 1) : NULL;
  bool sigma = run->c->kind & IN_SIGMA;
  int last = run->questions;
  double a = sigma ? golden_at(run->asked, 0) : 1;
  double a1 = sigma ? golden_at(run->reached, (size_t)(2 * (last - 1))) : 1;
  const real *x = chain_values(arena, run->table, &run->net.base, NULL, ROWS,
                               block(arena, run->x, 0, a), noise);
  if (run->c->kind & LAST_NOISE) return; /* they add noise to the sample */
  compare(run->c->name, x, run->x, last, a1);
}

static void schedulers_have_our_coefficients_and_samples(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Golden golden;
    golden_open(&golden, "tests/golden/diffusers.safetensors");
    Run run = { .c = &cases[i] };
    open_run(&golden, &run, !(cases[i].kind & CLIPS));
    check_coefficients(&run);
    check_loop(&golden, &run);
    golden_close(&golden);
  }
}

/* ---- UniPC: predictor and corrector apart ---------------------------------------------------- */

static const Case unipc[] = {
#define UNIPC(name, bh, p, ...)                                                                    \
  { "unipc/" name, S(.method = bh, .order = p, __VA_ARGS__), 0, 0, 0 }
  UNIPC("bh2_1", "unipc", 1, LOW),
  UNIPC("bh2_2", "unipc", 2, LOW),
  UNIPC("bh2_3", "unipc", 3, LOW),
  UNIPC("bh2_1_min", "unipc", 1, LOW),
  UNIPC("bh2_2_min", "unipc", 2, LOW),
  UNIPC("bh2_3_min", "unipc", 3, LOW),
  UNIPC("bh2_1_min_full", "unipc", 1, .lower_final = false),
  UNIPC("bh2_2_min_full", "unipc", 2, .lower_final = false),
  UNIPC("bh2_3_min_full", "unipc", 3, .lower_final = false),
  UNIPC("bh1_1_min", "unipc_bh1", 1, LOW),
  UNIPC("bh1_2_min", "unipc_bh1", 2, LOW),
  UNIPC("bh1_3_min", "unipc_bh1", 3, LOW),
  UNIPC("bh2_2_trailing", "unipc", 2, LOW),
  UNIPC("bh2_2_karras", "unipc", 2, LOW),
  { "unipc/bh2_2_v_prediction", S(.method = "unipc", .order = 2, LOW), 0, PREDICTS_V, 0 },
};

static void check_stage(const char *name, const Stage *s, const CheckpointTensor *rows, int k,
                        int columns) {
  for (int j = 0; j < columns; j++) {
    double theirs = golden_at(rows, (size_t)(columns * k + j)), ours = j ? s->out[j - 1] : s->base;
    if (!near(ours, theirs, 1e-9))
      fail_msg("%s: row %d, column %d: %.15g, diffusers %.15g", name, k, j, ours, theirs);
  }
}

static void unipc_predicts_and_corrects_alike(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof unipc / sizeof *unipc; i++) {
    Golden golden;
    golden_open(&golden, "tests/golden/diffusers.safetensors");
    Run run = { .c = &unipc[i] };
    open_run(&golden, &run, false);
    for (int k = 0; k < run.questions; k++) {
      const Stage *stage = &run.table->stage[2 * k];
      check_stage(unipc[i].name, stage, part(&golden, unipc[i].name, "predictor"), k, 4);
      if (k) check_stage(unipc[i].name, stage - 1, part(&golden, unipc[i].name, "corrector"), k, 5);
    }
    check_loop(&golden, &run);
    golden_close(&golden);
  }
}

/* ---- EDM with churn -------------------------------------------------------------------------- */

static void karras_ve_is_our_edm_heun(void **state) {
  (void)state;
  static const char *const names[] = { "karras_ve/plain", "karras_ve/churn" };
  for (int i = 0; i < 2; i++) {
    Golden golden;
    golden_open(&golden, "tests/golden/diffusers.safetensors");
    const CheckpointTensor *x = part(&golden, names[i], "x"), *z = golden_tensor(&golden, "noise");
    double times[10];
    for (int k = 0; k < 10; k++) times[k] = golden_at(part(&golden, names[i], "sigma"), (size_t)k);
    Oracle net = oracle(schedule_of(golden.arena, "edm"), PREDICTS_X0, DIM, by_data_of_y);
    const SamplerSpec spec = { .method = "edm_heun",
                               .steps = 10,
                               .times = times,
                               .end = END_CLEAN,
                               .churn = 4 * i,
                               .churn_min = 0.05,
                               .churn_max = 50,
                               .churn_noise = 1.003 };
    const Sampler *table = a_sampler(golden.arena, &spec, &net.base);
    const real *noise[MOST] = { NULL };
    for (int k = 0; k < table->stages; k++) {
      const Stage *s = &table->stage[k];
      for (int n = 0; !s->evaluates && n < 10; n++)
        if (s->at.time == times[n]) {
          noise[k] = block(golden.arena, z, n, 1);
          double hat = golden_at(part(&golden, names[i], "sigma_hat"), (size_t)n);
          assert_true(near(s[1].at.s, hat, 1e-12));
        }
    }
    const real *end = chain_values(golden.arena, table, &net.base, NULL, ROWS,
                                   block(golden.arena, x, 0, 1), noise);
    compare(names[i], end, x, 19, 1);
    golden_close(&golden);
  }
}

/* ---- where we differ on purpose -------------------------------------------------------------- */

static double lambda_at(const CheckpointTensor *levels, int i) {
  return log(golden_at(levels, (size_t)(2 * i)) / golden_at(levels, (size_t)(2 * i + 1)));
}

/* coefficients of the divided second difference (D_10 - D_11) / (r_0 + r_1) at step k */
static void second_difference(const Run *run, int k, double d[3]) {
  double l0 = lambda_at(run->asked, k), h = lambda_at(run->reached, k) - l0;
  double r0 = (l0 - lambda_at(run->asked, k - 1)) / h;
  double r1 = (lambda_at(run->asked, k - 1) - lambda_at(run->asked, k - 2)) / h;
  d[0] = 1 / (r0 * (r0 + r1)), d[2] = 1 / (r1 * (r0 + r1)), d[1] = -d[0] - d[2];
}

/* What diffusers takes for h^2 M'' is half of it (Lu et al. 2022b, and so the order is 2,
 * test_solver_order.c): ours is theirs and a phi_3 of the difference once more.  Of the SDE its
 * weight, 1/2 - (H - 1 + e^-H)/H^2 with H = 2h, has the wrong sign before 1/2: a whole a' more. */
static void third_orders_differ_by_the_second_difference(void **state) {
  (void)state;
  static const Case ours[] = {
    { "dpm/pp_3_min_full", S(.method = "dpmpp_3m"), 0, 0, 0 },
    { "dpm/sde_3_full", S(.method = "sde_dpmpp_3m", .compat = true), 0, 0, 0 },
    { "dpm/sde_3_full", S(.method = "sde_dpmpp_3m"), 0, 0, 0 },
  };
  for (int i = 0; i < 3; i++) {
    Golden golden;
    golden_open(&golden, "tests/golden/diffusers.safetensors");
    Run run = { .c = &ours[i] };
    open_run(&golden, &run, true);
    for (int k = 2; k < 9; k++) {
      double d[3], a1 = golden_at(run.reached, (size_t)(2 * k));
      double H = (i ? 2 : 1) * (lambda_at(run.reached, k) - lambda_at(run.asked, k));
      double w = 0.5 - (H + expm1(-H)) / (H * H); /* H phi_3(-H) */
      second_difference(&run, k, d);
      const double more[] = { a1 * w, a1, a1 * w + a1 };
      for (int j = 0; j < 3; j++) {
        double theirs = golden_at(run.coef, (size_t)(COLUMNS * k + 3 + j));
        if (!near(run.table->stage[k].out[j], theirs + more[i] * d[j], 1e-9))
          fail_msg("%s: step %d, M_%d: %.12g, diffusers %.12g", ours[i].name, k, j,
                   run.table->stage[k].out[j], theirs);
      }
    }
    golden_close(&golden);
  }
}

/* Single step in diffusers is one question a step of the grid, so its inner point lies wherever
 * the grid has one, at r of the step; ours at r = 1/2.  The weights w_1 / 2r and w_1 - w_1 / 2r are
 * the same.  (Of order 3 its inner point is the formula of order 2: nothing to compare.) */
static void single_steps_of_order_2_are_the_same_formula(void **state) {
  (void)state;
  static const struct {
    const char *name, *first, *second;
    bool noise;
  } pairs[] = { { "dpm_single/pp_2_min_full_K12", "dpmpp_2m", "dpmpp_2s", false },
                { "dpm_single/eps_2_min_full_K12", "dpm_2m", "dpm_2s", true } };
  for (int i = 0; i < 2; i++) {
    Golden golden;
    golden_open(&golden, "tests/golden/diffusers.safetensors");
    Oracle net = oracle(schedule_of(golden.arena, NULL), PREDICTS_EPS, DIM, by_noise);
    const CheckpointTensor *asked = part(&golden, pairs[i].name, "asked");
    const CheckpointTensor *reached = part(&golden, pairs[i].name, "reached");
    const CheckpointTensor *coef = part(&golden, pairs[i].name, "coef");
    for (int k = 1; k < 12; k += 2) {
      double t = time_of(net.base.schedule, asked, k - 1), l = lambda_at(asked, k - 1);
      SamplerSpec spec = { .method = pairs[i].first,
                           .steps = 1,
                           .times = &t,
                           .end = END_LAST,
                           .final = time_of(net.base.schedule, reached, k) };
      const Stage *whole = a_sampler(golden.arena, &spec, &net.base)->stage;
      double r = (lambda_at(asked, k) - l) / (lambda_at(reached, k) - l), w = whole->out[0];
      const double formula[] = { 0, whole->base, 0, w / (2 * r), w - w / (2 * r), 0, 0 };
      for (int j = 0; j < COLUMNS; j++)
        assert_true(near(golden_at(coef, (size_t)(COLUMNS * k + j)), formula[j], 1e-9));
      spec.method = pairs[i].second;
      const Stage *ours = a_sampler(golden.arena, &spec, &net.base)->stage + 1;
      assert_true(near(ours->base, whole->base, 1e-12) && near(ours->out[0], w, 1e-12));
      assert_true(near(ours->out[1], 0, 1e-12));
    }
    golden_close(&golden);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(schedulers_have_our_coefficients_and_samples),
    cmocka_unit_test(unipc_predicts_and_corrects_alike),
    cmocka_unit_test(karras_ve_is_our_edm_heun),
    cmocka_unit_test(third_orders_differ_by_the_second_difference),
    cmocka_unit_test(single_steps_of_order_2_are_the_same_formula),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
