/* test_guide.c -- guidance against closed forms and diffusers, by the executor of policies. */
#include "diffusion/field.h"
#include "tests/golden.h"
#include "tests/guided.h"
#include "tests/tilted.h"

/* ---- classifiers, and none ------------------------------------------------------------------- */

/* ln p(class | x_t) of a mixture whose parts are the classes; the class is the condition's */
typedef struct {
  Energy base;
  Bumps data;
  int class;
} Classifier;
static Tensor *class_value(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                           Tensor *cond) {
  const Classifier *c = (const Classifier *)e;
  Tensor *parts = bumps_log_parts(&c->data, x, bumps_embed(&c->data.base, g, p, time));
  return (void)cond, t_col(t_log_softmax_last(parts), c->class);
}

/* grad ln p(c | x_t) = score_c - score, so s + (1 + w) grad ln p(c | x_t) = (1 + w) s_c - w s */
static void a_classifier_does_what_its_absence_does(void **state) {
  static const double weights[] = { 0, 0.5, 3 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  const Bumps data = two_bumps(s);
  real start[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 }, none[ROWS * LD] = { 0 };
  real end[3][ROWS * LD];
  (void)state;
  fill(start, ROWS, 1, "start");
  for (int i = 0; i < 6; i++) {
    int class = i % 2;
    double w = weights[i / 2];
    Classifier classifier = { { class_value }, data, class };
    for (int r = 0; r < ROWS; r++) cond[r * LD + !class] = -1000;
    for (int r = 0; r < ROWS; r++) cond[r * LD + class] = 0;
    const Guide *by_null[] = { guide_free(arena, &(FreeGuide){ .strength.w = w }), NULL };
    const EnergyGuide gradient = { .energy = &classifier.base, .strength.w = 1 + w };
    const Guide *by_class[] = { guide_energy(arena, &gradient), NULL };
    SamplerSpec spec = { .method = "dpmpp_2m", .steps = 12, .spacing = "lambda" };
    spec.guides = by_null;
    sample(a_sampler(arena, &spec, &data.base), &data.base, NULL, 1, 2, start, cond, end[0]);
    spec.guides = by_class;
    sample(a_sampler(arena, &spec, &data.base), &data.base, NULL, 1, 2, start, none, end[1]);
    for (int r = 0; r < ROWS; r++)
      assert_true(near((double)end[0][r * LD], (double)end[1][r * LD], precise ? 1e-10 : 1e-3));
    if (w > 0) continue;
    spec.guides = NULL; /* w = 0 is the conditional network, to the bit */
    sample(a_sampler(arena, &spec, &data.base), &data.base, NULL, 1, 2, start, cond, end[2]);
    for (int r = 0; r < ROWS; r++) assert_true(end[0][r * LD] == end[2][r * LD]);
  }
  arena_free(arena);
}

/* the same where every sample has a time of its own: (1 + w) s_c - w s in numbers */
static void a_field_is_guided_at_every_row_s_own_time(void **state) {
  enum { POINTS = 24 };
  Arena *arena = arena_new();
  Error error;
  const Bumps data = two_bumps(a_schedule(arena, "flow", 0));
  Bumps one = data;
  const Guide *guides[] = { guide_free(arena, &(FreeGuide){ .strength = { 2, 0.5, 0 } }), NULL };
  FieldSpec spec = { .graph = a_graph(NULL, POINTS), .wanted = PREDICTS_SCORE };
  spec.guides = guides, spec.cond = 2;
  Field *field = field_new(arena, &data.base, NULL, &spec, &error);
  double t[POINTS], x[POINTS], score[POINTS];
  real cond[POINTS * LD] = { 0 };
  (void)state;
  one.parts = 1;
  for (int i = 0; i < POINTS; i++) {
    t[i] = (real)((i + 2.0) / (POINTS + 3)), x[i] = (real)(1.5 * sin(i));
    cond[i * LD + 1] = -1000;
  }
  field_samples(field, &(FieldSamples){ .cond = cond });
  field_at(field, POINTS, NULL, t, x, score, NULL);
  for (int i = 0; i < POINTS; i++) {
    Level l = schedule_level(data.base.schedule, t[i]);
    double w = l.s / l.a >= 0.5 ? 2 : 0; /* the interval begins at sigma 0.5 */
    double exact = (1 + w) * bumps_law(&one, &l, x[i]).score - w * bumps_law(&data, &l, x[i]).score;
    assert_true(near(score[i], exact, precise ? 1e-10 : 1e-3));
  }
  arena_free(arena);
}

/* ---- both conditions in one call ------------------------------------------------------------- */

static Tensor *zeros(Graph *g, int n) { return t_table(g, (double[LD]){ 0 }, 1, n); }

/* k samples at times of their own, as one call and as two */
static void one_call_is_two_calls(void **state) {
  Model m = model_open("flow", 2 * DIM); /* and a learned variance, which is not guided */
  (void)state;
  for (int i = 0; i < 4; i++) {
    int k = i % 2 ? K : 1;
    const NullCondition null = { .learned = i / 2, .slot = NULL_SLOT };
    const Guide *guide = guide_free(m.arena, &(FreeGuide){ .strength.w = 1.7, .null = null });
    real data[3][ROWS * K * LD] = { { 0 } };
    GraphSpec spec = a_graph(NULL, ROWS);
    Graph *g = graph_new(m.arena, &spec);
    Tensor *x = t_input(g, "x", k, DIM), *t = t_input(g, "t", k, 1), *c = t_input(g, "c", 1, COND);
    NetInput a = { .g = g, .denoiser = &m.d, .params = m.params, .cond = c, .time = t };
    a.h = m.d.embed(&m.d, g, m.params, t), a.scale = t_shift(t, 1);
    a.own = t_table(g, (double[GUIDE_NUMBERS]){ 1.7 }, 1, GUIDE_NUMBERS);
    Tensor *at_once = guide->call(guide, &a, x), *with = call_net(&a, x, c);
    Tensor *without =
        call_net(&a, x, null.learned ? t_param(g, m.params, NULL_SLOT) : zeros(g, COND));
    graph_keep(at_once), graph_keep(with), graph_keep(without), graph_seal(g);
    fill(data[0], ROWS * k, DIM, "x"), fill(data[1], ROWS * k, 1, "t"),
        fill(data[2], ROWS, COND, "c");
    graph_bind(x, data[0]), graph_bind(t, data[1]), graph_bind(c, data[2]);
    graph_run(g, ROWS, 0, NULL);
    for (int j = 0; j < ROWS * k * LD; j++) {
      real one = graph_values(with)[j], two = graph_values(without)[j];
      real expected = j % LD < DIM ? one + (one - two) * (real)1.7 : one;
      assert_true(graph_values(at_once)[j] == expected);
      assert_true(j % LD >= DIM || one != two);
    }
  }
  arena_free(m.arena);
}

/* Kynkaanniemi et al. 2024; s^2/a is the guide's own */
static void weights_live_on_an_interval_of_noise(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "edm", 0), *flow = a_schedule(arena, "flow", 0);
  const Strength middle = { 4, 0.3, 5 };
  const Guide *free = guide_free(arena, &(FreeGuide){ .strength = middle });
  const Guide *gradient = guide_energy(arena, &(EnergyGuide){ .strength = middle });
  (void)state;
  for (double sigma = 0.1; sigma < 50; sigma *= 1.3) {
    double own[GUIDE_NUMBERS] = { 0 }, w = sigma >= 0.3 && sigma <= 5 ? 4 : 0;
    Level l = schedule_level(s, sigma);
    free->numbers(free, &l, own);
    assert_true(own[0] == w);
    gradient->numbers(gradient, &l, own);
    assert_true(near(own[0], w * sigma * sigma, 1e-15));
  }
  const Guide *always = guide_energy(arena, &(EnergyGuide){ .strength.w = 1 });
  Level no_signal = schedule_level(flow, 1);
  double own[GUIDE_NUMBERS];
  always->numbers(always, &no_signal, own);
  assert_true(own[0] == 0); /* x_t tells nothing there */
  arena_free(arena);
}

/* ---- diffusers ------------------------------------------------------------------------------- */

/* says x without a condition and x + cond with one */
static Tensor *sum_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                       Tensor *cond) {
  return (void)d, (void)g, (void)p, (void)h, t_add(x, cond);
}

static void same_as(const Golden *golden, const char *name, const Tensor *y) {
  const CheckpointTensor *expected = golden_tensor(golden, name);
  int n = (int)expected->shape[1];
  for (size_t i = 0; i < golden_count(expected); i++) {
    double value = (double)graph_values(y)[(i / (size_t)n) * LD + i % (size_t)n];
    if (!near(value, golden_at(expected, i), precise ? 1e-13 : 1e-5))
      fail_msg("%s[%zu]: %.15g, expected %.15g", name, i, value, golden_at(expected, i));
  }
}

static void rescaling_is_that_of_diffusers(void **state) {
  static const char *const names[] = { "guidance/cfg", "guidance/rescale_0.7",
                                       "guidance/rescale_1" };
  static const double rescale[] = { 0, 0.7, 1 };
  Golden golden;
  real data[2][4 * LD] = { { 0 } };
  (void)state;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  for (int i = 0; i < 12; i++) {
    double c = golden_at(golden_tensor(&golden, "guidance/cond"), (size_t)i);
    double u = golden_at(golden_tensor(&golden, "guidance/uncond"), (size_t)i);
    data[0][i / 3 * LD + i % 3] = (real)u, data[1][i / 3 * LD + i % 3] = (real)(c - u);
  }
  for (int i = 0; i < 3; i++) {
    const FreeGuide settings = { .strength.w = 6.5, .rescale = rescale[i] };
    const Guide *guide = guide_free(golden.arena, &settings);
    const Denoiser d = { .net = sum_net, .dim = 3 };
    GraphSpec spec = a_graph(NULL, 4);
    Graph *g = graph_new(golden.arena, &spec);
    Tensor *x = t_input(g, "x", 1, 3), *cond = t_input(g, "cond", 1, 3);
    NetInput a = { .g = g, .denoiser = &d, .cond = cond, .h = t_number(g, 0) };
    a.own = t_table(g, (double[GUIDE_NUMBERS]){ 6.5 }, 1, GUIDE_NUMBERS);
    Tensor *y = guide->call(guide, &a, x);
    graph_keep(y), graph_seal(g);
    graph_bind(x, data[0]), graph_bind(cond, data[1]);
    graph_run(g, 4, 0, NULL);
    same_as(&golden, names[i], y);
  }
  golden_close(&golden);
}

/* and on data twice as wide, twice that */
static void dynamic_thresholds_are_those_of_diffusers(void **state) {
  static const char *const names[] = { "threshold/clip_to_1", "threshold/up_to_5" };
  Golden golden;
  real data[4 * LD] = { 0 };
  (void)state;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  for (int i = 0; i < 40; i++)
    data[i / 10 * LD + i % 10] = (real)golden_at(golden_tensor(&golden, "threshold/x"), (size_t)i);
  for (int i = 0; i < 4; i++) {
    double wide = i / 2 ? 2 : 1;
    const Threshold settings = { .quantile = 0.9, .range = wide, .most = wide * (i % 2 ? 5 : 1) };
    const Guide *guide = guide_threshold(golden.arena, &settings);
    GraphSpec spec = a_graph(NULL, 4);
    Graph *g = graph_new(golden.arena, &spec);
    Tensor *x0 = t_input(g, "x0", 1, 10);
    Tensor *y = guide->after(guide, &(NetInput){ .g = g }, NULL, t_scale(wide, x0));
    y = t_scale(1 / wide, y);
    graph_keep(y), graph_seal(g);
    graph_bind(x0, data);
    graph_run(g, 4, 0, NULL);
    same_as(&golden, names[i % 2], y);
  }
  golden_close(&golden);
}

/* the network of scripts/golden/diffusers_schedulers.py */
static Truth golden_law(double x, double a, double s) {
  double eps = s * (x - 0.3 * a) / (0.25 * a * a + s * s) + 0.1 * sin(2 * x);
  return (Truth){ (x - s * eps) / a, eps };
}

/* a whole chain whose every data estimate is thresholded */
static void a_thresholded_chain_is_that_of_diffusers(void **state) {
  Golden golden;
  real x[4 * LD] = { 0 };
  double times[10];
  (void)state;
  golden_open(&golden, "tests/golden/diffusers.safetensors");
  const Threshold settings = { .quantile = 0.8, .most = 3 };
  const Guide *guides[] = { guide_threshold(golden.arena, &settings), NULL };
  const Oracle o = oracle(a_schedule(golden.arena, "linear", 1000), PREDICTS_EPS, 3, golden_law);
  const CheckpointTensor *way = golden_tensor(&golden, "dpm/pp_2_threshold/x");
  for (size_t i = 0; i < 10; i++)
    times[i] = golden_at(golden_tensor(&golden, "dpm/pp_2_threshold/times"), i);
  SamplerSpec spec = { .method = "dpmpp_2m", .steps = 10, .times = times, .end = END_CLEAN };
  spec.guides = guides;
  for (size_t i = 0; i < 12; i++) x[i / 3 * LD + i % 3] = (real)golden_at(way, i);
  chain_replay(golden.arena, a_sampler(golden.arena, &spec, &o.base), &o.base, 4, x);
  for (size_t i = 0; i < 12; i++)
    assert_true(
        near((double)x[i / 3 * LD + i % 3], golden_at(way, 120 + i), precise ? 1e-11 : 1e-4));
  golden_close(&golden);
}

/* ---- together -------------------------------------------------------------------------------- */

static Tensor *linear_energy(const Energy *e, Graph *g, const Params *p, Tensor *x, Tensor *time,
                             Tensor *cond) {
  static const double slope[DIM] = { 1, -2, 0.5 };
  (void)e, (void)p, (void)time, (void)cond;
  return t_sum_last(t_mul(x, t_table(g, slope, 1, DIM)));
}

/* x_0 through energy, threshold, energy, clip, in numbers */
static void guides_are_done_one_after_the_other(void **state) {
  static const Energy linear = { linear_energy };
  Model m = model_open("flow", DIM);
  const Guide *up = guide_energy(m.arena, &(EnergyGuide){ .energy = &linear, .strength.w = 0.7 });
  const Guide *down =
      guide_energy(m.arena, &(EnergyGuide){ .energy = &linear, .strength.w = -0.4 });
  const Guide *threshold = guide_threshold(m.arena, &(Threshold){ .quantile = 0.5 });
  const Guide *all[] = { up, threshold, down, NULL };
  real start[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 }, plain[ROWS * LD], end[ROWS * LD];
  SamplerSpec spec = { .method = "ddim", .steps = 1, .times = (double[]){ 0.6 }, .end = END_CLEAN };
  (void)state;
  fill(start, ROWS, DIM, "start"), fill(cond, ROWS, COND, "cond");
  sample(a_sampler(m.arena, &spec, &m.d), &m.d, m.params, 1, COND, start, cond, plain);
  spec.guides = all, spec.clip = true, spec.low = -0.9, spec.high = 0.8;
  sample(a_sampler(m.arena, &spec, &m.d), &m.d, m.params, 1, COND, start, cond, end);
  for (int r = 0; r < ROWS; r++) {
    static const double slope[DIM] = { 1, -2, 0.5 };
    double x0[DIM], size[DIM], shift = 0.6 * 0.6 / 0.4;
    for (int j = 0; j < DIM; j++) x0[j] = (double)plain[r * LD + j] + 0.7 * shift * slope[j];
    for (int j = 0; j < DIM; j++) size[j] = fabs(x0[j]);
    double median = fmax(fmin(size[0], size[1]), fmin(fmax(size[0], size[1]), size[2]));
    for (int j = 0; j < DIM; j++) {
      double cut = fmax(-1, fmin(1, x0[j] / fmax(median, 1))) - 0.4 * shift * slope[j];
      assert_true(
          near((double)end[r * LD + j], fmax(-0.9, fmin(0.8, cut)), precise ? 1e-12 : 1e-5));
    }
  }
  arena_free(m.arena);
}

static const Guide *const *every_guide(Model *m, bool through) {
  const Guide **list = arena_array(m->arena, const Guide *, 5);
  const NullCondition null = { .learned = true, .slot = NULL_SLOT };
  list[0] = guide_known(m->arena, &(KnownGuide){ .find = last_is_cond, .clean = true });
  list[1] = guide_free(m->arena,
                       &(FreeGuide){ .strength = { 0.8, 0.2, 20 }, .null = null, .rescale = 0.7 });
  list[2] = guide_energy(m->arena, &(EnergyGuide){ &energy, m->energy, { .w = 0.3 }, through });
  list[3] = guide_threshold(m->arena, &(Threshold){ .quantile = 0.9, .range = 3 });
  return list;
}

static void a_replayed_call_gives_the_same_bits(void **state) {
  Model m = model_open("cosine", DIM);
  real start[ROWS * K * LD] = { 0 }, cond[ROWS * LD] = { 0 }, end[2][ROWS * K * LD];
  SamplerSpec spec = { .method = "ddpm", .steps = 7, .guides = every_guide(&m, false) };
  const Sampler *sampler = a_sampler(m.arena, &spec, &m.d);
  (void)state;
  fill(start, ROWS * K, DIM, "start"), fill(cond, ROWS, COND, "cond");
  sample(sampler, &m.d, m.params, K, COND, start, cond, end[0]);
  replay(sampler, &m.d, m.params, K, COND, start, cond, end[1]);
  assert_memory_equal(end[0], end[1], sizeof end[0]);
  arena_free(m.arena);
}

/* the sum of a row's end, and its gradient by the start */
static void chain_gradient(Model *m, const Sampler *sampler, const real *start, const real *cond,
                           double *sum, double *gradient) {
  Arena *arena = arena_new();
  GraphSpec spec = a_graph(NULL, ROWS);
  Graph *g = graph_new(arena, &spec);
  Tensor *x = t_input(g, "start", 1, DIM), *given = t_input(g, "cond", 1, COND);
  Tensor *y = t_sum_last(sampler_record_from(g, sampler, &m->d, m->params, "chain", x, given));
  Tensor *dx = t_grad(y, x);
  graph_keep(y), graph_keep(dx), graph_seal(g);
  graph_bind(x, start), graph_bind(given, cond);
  graph_run(g, ROWS, 0, NULL);
  for (int r = 0; r < ROWS; r++) sum[r] = (double)graph_values(y)[r * LD];
  for (int i = 0; gradient && i < ROWS * DIM; i++)
    gradient[i] = (double)graph_values(dx)[i / DIM * LD + i % DIM];
  arena_free(arena);
}

/* greatest difference from central differences */
static double gradient_missed(Model *m, const Guide *const *guides) {
  real start[ROWS * LD] = { 0 }, cond[ROWS * LD] = { 0 }, moved[ROWS * LD];
  double sum[2][ROWS], gradient[ROWS * DIM], most = 0, h = precise ? 1e-5 : 1e-2;
  SamplerSpec spec = { .method = "ddim", .steps = 4, .guides = guides };
  const Sampler *sampler = a_sampler(m->arena, &spec, &m->d);
  fill(start, ROWS, DIM, "start"), fill(cond, ROWS, COND, "cond");
  chain_gradient(m, sampler, start, cond, sum[0], gradient);
  for (int j = 0; j < DIM; j++) {
    for (int side = 0; side < 2; side++) {
      memcpy(moved, start, sizeof moved);
      for (int r = 0; r < ROWS; r++) moved[r * LD + j] += (real)(side ? -h : h);
      chain_gradient(m, sampler, moved, cond, sum[side], NULL);
    }
    for (int r = 0; r < ROWS; r++) {
      double slope = (sum[0][r] - sum[1][r]) / (2 * h);
      most = fmax(most, fabs(slope - gradient[r * DIM + j]));
    }
  }
  return most;
}

/* An energy's gradient is a constant for later gradients, unless they are to pass through it. */
static void gradients_go_through_a_guided_chain(void **state) {
  Model m = model_open("cosine", DIM);
  (void)state;
  const Guide *const *through = every_guide(&m, true), *const *constant = every_guide(&m, false);
  const Guide *kept[] = { through[0], through[1], through[2], NULL };
  const Guide *cut[] = { constant[0], constant[1], constant[2], NULL };
  double right = gradient_missed(&m, kept), wrong = gradient_missed(&m, cut);
  if (!(right < (precise ? 1e-7 : 3e-3))) fail_msg("gradient missed by %g", right);
  if (!(wrong > 10 * right)) fail_msg("a constant slope missed by %g only", wrong);
  arena_free(m.arena);
}

/* ---- temperature ----------------------------------------------------------------------------- */

/* scales the noise of every stage, and nothing else: for data N(m, c^2) the variance of the end is
 * that of the means plus temperature^2 times that of the noise */
static Truth normal_data(double x, double a, double s) {
  double x0 = 0.4 + a * 0.25 * (x - a * 0.4) / (a * a * 0.25 + s * s);
  return (Truth){ x0, (x - a * x0) / s };
}
static void temperature_scales_the_noise_alone(void **state) {
  Arena *arena = arena_new();
  const Oracle o = oracle(a_schedule(arena, "vp", 20), PREDICTS_EPS, 1, normal_data);
  double variance[3];
  (void)state;
  for (int i = 0; i < 3; i++) {
    SamplerSpec spec = { .method = "ddpm",
                         .steps = 20,
                         .temperature = (double[]){ 1e-9, 0.5, 0 }[i] };
    const Sampler *sampler = a_sampler(arena, &spec, &o.base);
    Moments end = moments_propagate(sampler, normal_data, 0, 1);
    variance[i] = end.cov[VAR_X][VAR_X];
    spec.temperature = 0;
    const Sampler *plain = a_sampler(arena, &spec, &o.base);
    assert_true(
        near(end.mean[VAR_X], moments_propagate(plain, normal_data, 0, 1).mean[VAR_X], 1e-14));
    assert_true(sampler->start == plain->start);
  }
  double noise = variance[2] - variance[0];
  assert_true(noise > 0.05 && near(variance[1], variance[0] + 0.25 * noise, 1e-12));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_classifier_does_what_its_absence_does),
    cmocka_unit_test(a_field_is_guided_at_every_row_s_own_time),
    cmocka_unit_test(one_call_is_two_calls),
    cmocka_unit_test(weights_live_on_an_interval_of_noise),
    cmocka_unit_test(rescaling_is_that_of_diffusers),
    cmocka_unit_test(dynamic_thresholds_are_those_of_diffusers),
    cmocka_unit_test(a_thresholded_chain_is_that_of_diffusers),
    cmocka_unit_test(guides_are_done_one_after_the_other),
    cmocka_unit_test(a_replayed_call_gives_the_same_bits),
    cmocka_unit_test(gradients_go_through_a_guided_chain),
    cmocka_unit_test(temperature_scales_the_noise_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
