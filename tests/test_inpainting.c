/* test_inpainting.c -- entries of x_0 that are known: kept exactly, noised exactly, and what they
 * say of the others. */
#include "tests/guided.h"

/* ---- known entries --------------------------------------------------------------------------- */

static void known_entries_are_kept(void **state) {
  static const char *const methods[] = { "ddpm", "ddim", "dpmpp_2m", "sde_dpmpp_2m", "dpmpp_3s" };
  Model m = model_open("cosine", DIM);
  real start[ROWS * K * LD] = { 0 }, cond[ROWS * LD] = { 0 }, end[ROWS * K * LD];
  (void)state;
  fill(start, ROWS * K, DIM, "start"), fill(cond, ROWS, COND, "cond");
  for (int i = 0; i < 10; i++) {
    const Guide *guides[] = {
      guide_known(m.arena, &(KnownGuide){ .find = last_is_cond, .clean = i % 2 }), NULL
    };
    SamplerSpec spec = { .method = methods[i / 2], .steps = 6, .guides = guides };
    sample(a_sampler(m.arena, &spec, &m.d), &m.d, m.params, K, COND, start, cond, end);
    for (int r = 0; r < ROWS * K; r++)
      assert_true(end[r * LD + DIM - 1] == cond[r / K * LD] && isfinite((double)end[r * LD]));
  }
  arena_free(m.arena);
}

/* Every sample with a mask of its own, as inputs of the tape; noisy ends are overwritten. */
static void known_entries_may_be_inputs(void **state) {
  static const End ends[] = { END_CLEAN, END_LAST };
  Model m = model_open("cosine", DIM);
  real data[4][ROWS * K * LD] = { { 0 } };
  (void)state;
  fill(data[0], ROWS * K, DIM, "start"), fill(data[1], ROWS, COND, "cond");
  fill(data[2], ROWS * K, DIM, "keep"), fill(data[3], ROWS * K, DIM, "known");
  for (int i = 0; i < ROWS * K * LD; i++) data[2][i] = data[2][i] > 0;
  for (int i = 0; i < 2; i++) {
    GraphSpec graph_spec = a_graph(NULL, ROWS);
    Graph *g = graph_new(m.arena, &graph_spec);
    Tensor *x = t_input(g, "x", K, DIM), *cond = t_input(g, "cond", 1, COND);
    const KnownGuide spec = { .known = { t_input(g, "keep", K, DIM),
                                         t_input(g, "known", K, DIM) } };
    const Guide *guides[] = { guide_known(m.arena, &spec), NULL };
    SamplerSpec chain = { .method = "ddim", .steps = 4, .end = ends[i], .guides = guides };
    const Sampler *sampler = a_sampler(m.arena, &chain, &m.d);
    Tensor *y = sampler_record_from(g, sampler, &m.d, m.params, "chain", x, cond);
    if (ends[i] == END_LAST) y = known_overwrite(spec.known, y);
    graph_keep(y), graph_seal(g);
    graph_bind(x, data[0]), graph_bind(cond, data[1]);
    graph_bind(spec.known.keep, data[2]), graph_bind(spec.known.known, data[3]);
    graph_run(g, ROWS, 0, NULL);
    for (int j = 0; j < ROWS * K * LD; j++)
      if (j % LD < DIM) assert_true((graph_values(y)[j] == data[3][j]) == (data[2][j] > 0));
  }
  arena_free(m.arena);
}

/* Chains from starts that differ where x_0 is known: the network sees that noise, or does not. */
static void clean_entries_hide_their_noise(void **state) {
  Model m = model_open("cosine", DIM);
  real start[2][ROWS * LD] = { { 0 } }, cond[ROWS * LD] = { 0 }, end[2][ROWS * LD];
  (void)state;
  fill(start[0], ROWS, DIM, "start"), fill(cond, ROWS, COND, "cond");
  memcpy(start[1], start[0], sizeof start[0]);
  for (int r = 0; r < ROWS; r++) start[1][r * LD + DIM - 1] += 1;
  for (int clean = 0; clean < 2; clean++) {
    const KnownGuide known = { .find = last_is_cond, .clean = clean };
    const Guide *guides[] = { guide_known(m.arena, &known), NULL };
    SamplerSpec spec = { .method = "ddim", .steps = 6, .guides = guides };
    const Sampler *sampler = a_sampler(m.arena, &spec, &m.d);
    for (int i = 0; i < 2; i++) sample(sampler, &m.d, m.params, 1, COND, start[i], cond, end[i]);
    for (int r = 0; r < ROWS; r++) assert_true((end[0][r * LD] == end[1][r * LD]) == clean);
  }
  arena_free(m.arena);
}

/* With x_0 = y known, ddpm's and ddim's steps go from q(x_t | y) = N(a y, s^2) to q(x_t' | y)
 * exactly: what lets guide_known noise known entries without drawing anything. */
static Truth always_y(double x, double a, double s) { return (Truth){ 0.8, (x - a * 0.8) / s }; }

static void steps_noise_known_entries_to_the_level(void **state) {
  Arena *arena = arena_new();
  (void)state;
  for (int i = 0; i < 4; i++) {
    const Oracle y = oracle(a_schedule(arena, "cosine", 50), PREDICTS_X0, 1, always_y);
    SamplerSpec spec = {
      .method = i ? "ddim" : "ddpm", .eta = i / 3.0, .steps = 20, .end = END_LAST
    };
    const Sampler *sampler = a_sampler(arena, &spec, &y.base);
    Level first = sampler->stage[0].at, last = schedule_level(y.base.schedule, 0);
    Moments moments = moments_propagate(sampler, always_y, first.a * 0.8, first.s * first.s);
    assert_true(near(moments.mean[VAR_X], last.a * 0.8, 1e-12));
    assert_true(near(moments.cov[VAR_X][VAR_X], last.s * last.s, 1e-12));
  }
  arena_free(arena);
}

/* N(mean, cov) in two dimensions, the second known.  `clean`: what a network says that was trained
 * with the second entry clean; else it knows nothing of it. */
typedef struct {
  Denoiser base;
  bool clean;
} Correlated;
static const double mean[2] = { 0.3, -0.2 }, cov[2][2] = { { 1, 0.7 }, { 0.7, 0.8 } };

static void correlated_run(const Lane *lane, const Tensor *y) {
  const Correlated *c = y->attr.p;
  const Tensor *in = y->in[0];
  Level l = schedule_level(c->base.schedule, (double)*lane_at(lane, y->in[1]));
  double v = l.s * l.s, aa = l.a * l.a, gain = cov[0][1] / cov[1][1];
  double m00 = aa * cov[0][0] + v, m01 = aa * cov[0][1], m11 = aa * cov[1][1] + v;
  double det = m00 * m11 - m01 * m01, rest = cov[0][0] - gain * cov[0][1];
  for (int i = 0; i < lane_rows(lane, y) * y->k; i++) {
    const real *x = lane_at(lane, in) + (ptrdiff_t)i * in->ld;
    real *out = lane_at(lane, y) + (ptrdiff_t)i * y->ld;
    double d0 = (double)x[0] - l.a * mean[0], d1 = (double)x[1] - l.a * mean[1];
    double u0 = (m11 * d0 - m01 * d1) / det, u1 = (m00 * d1 - m01 * d0) / det;
    double given = mean[0] + gain * ((double)x[1] - mean[1]);
    double free = given + l.a * rest * ((double)x[0] - l.a * given) / (aa * rest + v);
    out[0] = (real)(c->clean ? free : mean[0] + l.a * (cov[0][0] * u0 + cov[0][1] * u1));
    out[1] = (real)(mean[1] + l.a * (cov[1][0] * u0 + cov[1][1] * u1));
    clear_padding(out, y->n);
  }
}
static const Op op_correlated = { .name = "correlated", .run = correlated_run };
static Tensor *correlated_net(const Denoiser *d, Graph *g, const Params *p, Tensor *x, Tensor *h,
                              Tensor *cond) {
  (void)p, (void)cond;
  return record(g, &op_correlated, (Shape){ x->k, 1, 2 }, &(Recipe){ .in = { x, h }, .attr.p = d });
}
static Correlated correlated(const Schedule *s, bool clean) {
  Denoiser base = {
    .net = correlated_net, .embed = oracle_embed, .predicts = PREDICTS_X0, .dim = 2
  };
  base.schedule = s;
  return (Correlated){ base, clean };
}
static const double known_y = 0.9;
static Known second_is_known(const void *user, const NetInput *a) {
  (void)user;
  return (Known){ t_table(a->g, (double[]){ 0, 1 }, 1, 2), t_number(a->g, known_y) };
}

/* Clean known entries and a network that was trained with them: the conditional's quantiles. */
static void clean_entries_condition_exactly(void **state) {
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  const Correlated c = correlated(s, true);
  const KnownGuide known = { .find = second_is_known, .clean = true };
  const Guide *guides[] = { guide_known(arena, &known), NULL };
  SamplerSpec spec = { .method = "dpmpp_3m", .steps = 200, .spacing = "lambda", .guides = guides };
  Level first = schedule_level(s, 1), last = schedule_level(s, s->t_min);
  double gain = cov[0][1] / cov[1][1], given = mean[0] + gain * (known_y - mean[1]);
  double rest = cov[0][0] - gain * cov[0][1];
  real x[ROWS * LD] = { 0 };
  (void)state;
  for (int r = 0; r < ROWS; r++)
    x[r * LD] =
        (real)(first.a * given + sqrt(first.a * first.a * rest + first.s * first.s) * (r - 2.5));
  chain_replay(arena, a_sampler(arena, &spec, &c.base), &c.base, ROWS, x);
  for (int r = 0; r < ROWS; r++) {
    double exact = last.a * given + sqrt(last.a * last.a * rest + last.s * last.s) * (r - 2.5);
    assert_true(near((double)x[r * LD], exact, precise ? 1e-5 : 1e-3));
  }
  arena_free(arena);
}

/* RePaint's resampling: from each level down and noised up again, `passes` times.  All is affine,
 * so without noise the chain is its own mean; how far is it from the conditional mean? */
static double repainted_mean_missed(int passes) {
  enum { STEPS = 40 };
  Arena *arena = arena_new();
  const Schedule *s = a_schedule(arena, "vp-sde", 0);
  const Correlated c = correlated(s, false);
  const Guide *guides[] = { guide_known(arena, &(KnownGuide){ .find = second_is_known }), NULL };
  real x[LD] = { 0 };
  double high = schedule_lambda(s, s->t_min), low = schedule_lambda(s, 1);
  Level at = schedule_level(s, 1);
  for (int i = 1; i <= STEPS; i++) {
    double time = at.time;
    Level to = schedule_level(s, schedule_time(s, low + (high - low) * i / STEPS));
    SamplerSpec spec = { .method = "ddpm", .steps = 1, .times = &time, .final = to.time };
    spec.end = END_LAST, spec.guides = guides, spec.temperature = 1e-30;
    SamplerLoopSpec loop_spec = { .graph = a_graph(NULL, 1), .stream = "step", .k = 1 };
    SamplerLoop *loop =
        sampler_loop_new(arena, a_sampler(arena, &spec, &c.base), &c.base, NULL, &loop_spec);
    for (int j = 0; j < passes; j++) {
      for (int k = 0; j && k < 2; k++) x[k] *= (real)(at.a / to.a); /* q(x_t | x_t') */
      x[1] = (real)(at.a * known_y);
      sampler_loop_run(loop, 1, 0, NULL, NULL, x, true);
    }
    at = to;
  }
  arena_free(arena);
  double given = mean[0] + cov[0][1] / cov[1][1] * (known_y - mean[1]);
  return fabs((double)x[0] / at.a - given);
}

static void resampling_comes_to_the_conditional_mean(void **state) {
  (void)state;
  double once = repainted_mean_missed(1), often = repainted_mean_missed(10);
  double always = repainted_mean_missed(100);
  if (!(once > 0.1 && often < 0.5 * once && always < 0.1 * once))
    fail_msg("missed by %g, %g, %g", once, often, always);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_entries_are_kept),
    cmocka_unit_test(known_entries_may_be_inputs),
    cmocka_unit_test(clean_entries_hide_their_noise),
    cmocka_unit_test(steps_noise_known_entries_to_the_level),
    cmocka_unit_test(clean_entries_condition_exactly),
    cmocka_unit_test(resampling_comes_to_the_conditional_mean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
