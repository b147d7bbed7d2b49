/* sampler.c -- filling stage tables, and the executor that records them. */
#include "diffusion/sampler.h"
#include "core/config.h"
#include <math.h>
#include <string.h>

/* ---- the grid: times from noise to data, and the level each stage ends at -------------------- */

typedef struct {
  double time;   /* where the network is asked */
  double a, s;   /* there */
  double a1, s1; /* where the stage ends; (1, 0) at the end of a discrete schedule */
  int n, n1;     /* discrete indices; n1 = -1: clean data */
} Level;

/* indices evenly from steps - 1 down to 0 when a sub-sequence is asked for ("linspace") */
static int discrete_index(const Schedule *schedule, int stages, int i) {
  if (stages == schedule->steps) return schedule->steps - 1 - i;
  if (stages == 1) return schedule->steps - 1;
  return (int)lround((schedule->steps - 1.0) * (stages - 1 - i) / (stages - 1));
}

static Level level(const Schedule *schedule, int stages, int i) {
  Level l = { .n1 = -1, .a1 = 1 };
  double next;
  if (schedule->def->discrete) {
    l.n = discrete_index(schedule, stages, i);
    l.time = l.n;
    l.n1 = i + 1 < stages ? discrete_index(schedule, stages, i + 1) : -1;
    next = l.n1;
  } else { /* uniform in t from 1 to t_min */
    l.time = 1 + (schedule->t_min - 1) * i / stages;
    next = 1 + (schedule->t_min - 1) * (i + 1) / stages;
  }
  l.a = schedule_a(schedule, l.time), l.s = schedule_s(schedule, l.time);
  if (!schedule->def->discrete || l.n1 >= 0)
    l.a1 = schedule_a(schedule, next), l.s1 = schedule_s(schedule, next);
  return l;
}

/* ---- the methods: base, out[] and noise of one stage ----------------------------------------- */

typedef void Method(const SamplerSpec *spec, const Level *l, const Level *before, Stage *stage);

/* x' = a1 x0 + sqrt(s1^2 - d^2) eps + d z with eps = (x - a x0) / s and
 * d = eta (s1 / s) sqrt(1 - a^2 / a1^2) */
static void ddim_with(double eta, const Level *l, Stage *stage) {
  double ratio = l->a / l->a1; /* sqrt(abar_n / abar_n1) */
  double d = eta * l->s1 / l->s * sqrt(fmax(1 - ratio * ratio, 0));
  stage->base = sqrt(fmax(l->s1 * l->s1 - d * d, 0)) / l->s;
  stage->out[0] = l->a1 - stage->base * l->a;
  stage->noise = d;
}
static void ddim(const SamplerSpec *spec, const Level *l, const Level *before, Stage *stage) {
  (void)before;
  ddim_with(spec->eta, l, stage);
}
/* the posterior with the effective beta of the (sub-)sequence: equal to ddim with eta 1 */
static void ddpm(const SamplerSpec *spec, const Level *l, const Level *before, Stage *stage) {
  (void)spec, (void)before;
  double keep = l->a * l->a / (l->a1 * l->a1), beta = 1 - keep, v = l->s * l->s;
  stage->base = sqrt(keep) * l->s1 * l->s1 / v;
  stage->out[0] = l->a1 * beta / v;
  stage->noise = sqrt(beta * l->s1 * l->s1 / v);
}

/* h = lambda1 - lambda; D1 = (X_0 - X_1) / r, r = h_before / h, "midpoint" form */
static void dpmpp_2m(const SamplerSpec *spec, const Level *l, const Level *before, Stage *stage) {
  (void)spec;
  if (l->s1 == 0) { /* the last step of a discrete schedule: x' = x0 */
    stage->out[0] = l->a1;
    return;
  }
  double lambda = log(l->a / l->s), h = log(l->a1 / l->s1) - lambda, c = -l->a1 * expm1(-h);
  stage->base = l->s1 / l->s;
  stage->out[0] = c;
  if (!before) return;
  double r = (lambda - log(before->a / before->s)) / h;
  stage->out[0] += c / (2 * r), stage->out[1] = -c / (2 * r);
}

static const struct {
  const char *name;
  Method *fill;
} methods[] = { { "ddpm", ddpm }, { "ddim", ddim }, { "dpmpp_2m", dpmpp_2m } };
enum { METHODS = sizeof methods / sizeof *methods };

const char *const *sampler_list(size_t *count) {
  static const char *const names[] = { "ddpm", "ddim", "dpmpp_2m" };
  *count = METHODS;
  return names;
}

static Method *find(const char *name, Error *error) {
  for (int i = 0; i < METHODS; i++)
    if (!strcmp(methods[i].name, name)) return methods[i].fill;
  size_t count;
  const char *const *names = sampler_list(&count), *nearest = config_nearest(name, names, count);
  error_set(error, FAIL_USAGE, "unknown sampler \"%s\"; %s%s", name,
            nearest ? "did you mean " : "see `diffrl list samplers`", nearest ? nearest : "");
  return NULL;
}

Sampler *sampler_new(Arena *arena, const SamplerSpec *spec, const Schedule *schedule,
                     Prediction predicts, Error *error) {
  Method *fill = find(spec->method, error);
  if (!fill) return NULL;
  int stages = spec->steps ? spec->steps : schedule->steps;
  if (!schedule->def->discrete && stages < 1) {
    error_set(error, FAIL_USAGE, "schedule %s is continuous; give the number of sampling steps",
              schedule->def->name);
    return NULL;
  }
  if (stages < 1 || (schedule->def->discrete && stages > schedule->steps)) {
    error_set(error, FAIL_USAGE, "%d sampling steps for schedule %s with %d; choose 1 to %d",
              stages, schedule->def->name, schedule->steps, schedule->steps);
    return NULL;
  }
  Sampler *sampler = arena_alloc(arena, sizeof *sampler);
  *sampler = (Sampler){ *spec, stages, arena_array(arena, Stage, stages) };
  Level before = { 0 };
  for (int i = 0; i < stages; i++) {
    Level now = level(schedule, stages, i);
    Stage *stage = &sampler->stage[i];
    DataForm form = denoiser_data_form(predicts, now.a, now.s);
    stage->time = now.time, stage->to_x = form.to_x, stage->to_out = form.to_out;
    fill(spec, &now, i ? &before : NULL, stage);
    before = now;
  }
  return sampler;
}

/* ---- the executor ---------------------------------------------------------------------------- */

/* a stage's numbers as once-scalars: constants of a chain, or columns of a given table */
typedef struct {
  Tensor *to_x, *to_out, *base, *out0, *out1, *noise;
} Numbers;

typedef struct {
  Graph *g;
  const Sampler *sampler;
  const Denoiser *denoiser;
  const Params *params;
  Tensor *cond;
} Chain;

/* x0 estimate of one stage, and the move to the next x; z and before may be NULL (no such term) */
static Tensor *advance(const Chain *c, const Numbers *n, Tensor *x, Tensor *h, Tensor *before,
                       Tensor *z, Tensor **x0_out) {
  const SamplerSpec *spec = &c->sampler->spec;
  Tensor *output = c->denoiser->net(c->denoiser, c->g, c->params, x, h, c->cond);
  Tensor *x0 = t_blend(n->to_x, x, n->to_out, output);
  if (spec->clip) x0 = t_clip(x0, spec->low, spec->high);
  *x0_out = x0;
  Tensor *next = t_blend(n->base, x, n->out0, x0), *one = t_number(c->g, 1);
  if (before) next = t_blend(one, next, n->out1, before);
  return z ? t_blend(one, next, n->noise, z) : next;
}

static Numbers constants(Graph *g, const Stage *s) {
  return (Numbers){ t_number(g, s->to_x),   t_number(g, s->to_out), t_number(g, s->base),
                    t_number(g, s->out[0]), t_number(g, s->out[1]), t_number(g, s->noise) };
}

static Tensor *embed_grid(const Chain *c) {
  const Sampler *sampler = c->sampler;
  double *times = arena_array(graph_arena(c->g), double, sampler->stages);
  for (int i = 0; i < sampler->stages; i++) times[i] = sampler->stage[i].time;
  return c->denoiser->embed(c->denoiser, c->g, c->params, t_table(c->g, times, sampler->stages, 1));
}

Tensor *sampler_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                       const Params *params, const char *stream, Tensor *cond, int k) {
  Chain c = { g, sampler, denoiser, params, cond };
  Arena *arena = graph_arena(g);
  Tensor *grid = embed_grid(&c), *before = NULL, *x0 = NULL;
  Tensor *x = t_normal(g, arena_text(arena, "%s start", stream), k, denoiser->dim);
  for (int i = 0; i < sampler->stages; i++) {
    const Stage *stage = &sampler->stage[i];
    Numbers n = constants(g, stage);
    const char *name = arena_text(arena, "%s %d", stream, i);
    Tensor *z = stage->noise > 0 ? t_normal(g, name, k, denoiser->dim) : NULL;
    x = advance(&c, &n, x, t_row(grid, i), stage->out[1] != 0 ? before : NULL, z, &x0);
    before = x0;
  }
  return sampler->spec.clip ? t_clip(x, sampler->spec.low, sampler->spec.high) : x;
}

SamplerStep sampler_step_record(Graph *g, const Sampler *sampler, const Denoiser *denoiser,
                                const Params *params, Tensor *cond, int k) {
  Chain c = { g, sampler, denoiser, params, cond };
  SamplerStep s = { .x = t_input(g, "step x", k, denoiser->dim),
                    .before = t_input(g, "step before", k, denoiser->dim),
                    .noise = t_input(g, "step noise", k, denoiser->dim),
                    .numbers = t_given(g, "step numbers", 1, SAMPLER_NUMBERS) };
  Tensor *col[SAMPLER_NUMBERS];
  for (int i = 0; i < SAMPLER_NUMBERS; i++) col[i] = t_col(s.numbers, i);
  Numbers n = { col[1], col[2], col[3], col[4], col[5], col[6] };
  Tensor *h = denoiser->embed(denoiser, g, params, col[0]);
  s.next = advance(&c, &n, s.x, h, s.before, s.noise, &s.x0);
  graph_keep(s.next), graph_keep(s.x0);
  return s;
}

void sampler_numbers(const Stage *s, real numbers[16]) {
  const double values[SAMPLER_NUMBERS] = { s->time,   s->to_x,   s->to_out, s->base,
                                           s->out[0], s->out[1], s->noise };
  memset(numbers, 0, 16 * sizeof *numbers);
  for (int i = 0; i < SAMPLER_NUMBERS; i++) numbers[i] = (real)values[i];
}
