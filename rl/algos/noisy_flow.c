/* noisy_flow.c -- steps recorded for those that draw and those that train alike. */
#include "rl/algos/noisy_flow.h"
#include "policy/nets/mlp.h"
#include <math.h>
#include <string.h>

typedef struct FlowTape {
  Graph *g;
  FlowSteps steps;
  Tensor *next, *log_prob;
  uint32_t *id; /* [most] */
  int most;     /* rows of a run */
} FlowTape;

bool noisy_flow_check(const Onpolicy *o, Error *error) {
  const Policy *p = o->agent.policy;
  const char *schedule = p->model->schedule->def->name;
  Prediction predicts = p->model->denoiser->predicts;
  if (!strcmp(schedule, "flow") && predicts == PREDICTS_VELOCITY &&
      !strcmp(p->act.sampler.s, "euler"))
    return true;
  return error_set(error, FAIL_USAGE,
                   "--init: its policy has schedule=%s predicts=%s and acts with sampler=%s; %s "
                   "takes one of `diffrl train diffusion-bc --set schedule=flow --set "
                   "predicts=velocity --set sampler=euler --set sample_steps=4`",
                   schedule, prediction_name(predicts), p->act.sampler.s, o->setup->def->name);
}

/* ---- recording ------------------------------------------------------------------------------- */

FlowSteps noisy_flow_record(const NoisyFlow *f, Graph *g, int k) {
  const Onpolicy *o = f->o;
  const Policy *p = o->agent.policy;
  FlowSteps s;
  Tensor *x = onpolicy_input(o, g, "x", k, f->dim, &s.x);
  Tensor *numbers = onpolicy_input(o, g, "numbers", k, transition_size(f->sampler), &s.numbers);
  Tensor *time = onpolicy_input(o, g, "time", k, 1, &s.time);
  Tensor *cond = onpolicy_input(o, g, "cond", 1, p->seen, &s.cond);
  Tensor *span = onpolicy_input(o, g, "span", 1, 1, &s.span);
  s.mean = transition_record(f->sampler, p->model->denoiser, p->actor, x, numbers, cond).mean;
  /* between least and most, in the logarithm */
  Tensor *part = t_map(MAP_tanh, mlp(&f->net, g, f->noise, IN(x, time, cond)));
  s.log_std = t_shift(t_mul(t_scale(0.5, t_shift(part, 1)), span), log(f->least));
  return s;
}

Tensor *noisy_flow_log_probs(const FlowSteps *s, Tensor *next) {
  Tensor *off = t_mul(t_sub(next, s->mean), t_map(MAP_exp, t_scale(-1, s->log_std)));
  Tensor *density = t_sub(t_scale(-0.5, t_map(MAP_square, off)), s->log_std);
  return t_shift(density, -0.5 * log(2 * acos(-1)));
}

static FlowTape *new_tape(const NoisyFlow *f) {
  const AlgoSetup *setup = f->o->setup;
  FlowTape *t = arena_alloc(setup->arena, sizeof *t);
  Graph *g = t->g = algo_graph(setup, NULL);
  t->most = (int)f->o->cfg->batch;
  t->id = arena_array(setup->arena, uint32_t, t->most);
  t->steps = noisy_flow_record(f, g, 1);
  Tensor *z = t_normal(g, "flow noise", 1, f->dim);
  t->next = t_add(t->steps.mean, t_mul(t_map(MAP_exp, t->steps.log_std), z));
  t->log_prob = t_sum_last(noisy_flow_log_probs(&t->steps, t->next));
  graph_keep(t->next), graph_keep(t->log_prob);
  graph_seal(g);
  return t;
}

bool noisy_flow_open(NoisyFlow *f, Onpolicy *o, double least, Error *error) {
  const Policy *p = o->agent.policy;
  const AlgoSetup *setup = o->setup;
  const SamplerSpec spec = onpolicy_sampler(o);
  *f = (NoisyFlow){ .o = o, .dim = p->width, .least = least, .one = row_stride(1) };
  f->sampler = model_sampler(setup->arena, p->model, &spec, 1, error);
  if (!f->sampler || !transition_check(f->sampler, error)) return false;
  f->steps = f->sampler->stages;
  f->ld = row_stride(f->dim), f->number_ld = row_stride(transition_size(f->sampler));
  f->noise = blocks_add(&o->agent.blocks, params_new(setup->arena, "noise"));
  f->net = mlp_new(f->noise, &(MlpSpec){ .name = "std",
                                         .members = 1,
                                         .inputs = f->dim + 1 + p->seen,
                                         .hidden = 64,
                                         .hidden_layers = 2,
                                         .outputs = f->dim,
                                         .activation = MAP_tanh });
  params_allocate(f->noise);
  params_init(f->noise, setup->seed);
  f->tape = new_tape(f);
  return true;
}

/* ---- rows and drawing ------------------------------------------------------------------------ */

void noisy_flow_put_step(const NoisyFlow *f, const FlowSteps *to, ptrdiff_t at, int step,
                         const real *x) {
  memcpy(to->x + at * f->ld, x, sizeof *x * (size_t)f->ld);
  transition_numbers(f->sampler, step, to->numbers + at * f->number_ld);
  to->time[at * f->one] = (real)f->sampler->stage[step].time;
}

void noisy_flow_put_row(const NoisyFlow *f, const FlowSteps *to, int r, const real *seen,
                        double span) {
  ptrdiff_t ld = f->o->seen_ld;
  memcpy(to->cond + r * ld, seen, sizeof *seen * (size_t)ld);
  to->span[r * f->one] = (real)span;
}

/* simulations from .. from + rows - 1, whose cond and span are there */
static void draw_rows(NoisyFlow *f, int64_t number, int from, int rows, real *x, real *log_prob) {
  FlowTape *t = f->tape;
  ptrdiff_t chain = (ptrdiff_t)(f->steps + 1) * f->ld;
  for (int k = 0; k < f->steps; k++) {
    for (int r = 0; r < rows; r++) {
      t->id[r] = (uint32_t)(from + r);
      noisy_flow_put_step(f, &t->steps, r, k, x + r * chain + (ptrdiff_t)k * f->ld);
    }
    graph_run(t->g, rows, (uint64_t)(number * f->steps + k), t->id);
    for (int r = 0; r < rows; r++) {
      memcpy(x + r * chain + (ptrdiff_t)(k + 1) * f->ld,
             graph_values(t->next) + (ptrdiff_t)r * f->ld, sizeof *x * (size_t)f->ld);
      log_prob[r * f->steps + k] = graph_values(t->log_prob)[(ptrdiff_t)r * f->one];
    }
  }
}

void noisy_flow_draw(NoisyFlow *f, int64_t number, const real *seen, double span, real *x,
                     real *log_prob) {
  Rng start = rng_stream(f->o->setup->seed, "flow start");
  float z[POLICY_MAX_ACT * 256]; /* the longest chunk */
  ptrdiff_t chain = (ptrdiff_t)(f->steps + 1) * f->ld;
  int envs = f->o->envs, most = f->tape->most;
  for (int i = 0; i < envs; i++) {
    rng_normals(start, (uint64_t)number, (uint32_t)i, z, f->dim);
    for (int j = 0; j < f->dim; j++) x[i * chain + j] = (real)(f->sampler->start * (double)z[j]);
  }
  for (int from = 0; from < envs; from += most) {
    int rows = envs - from < most ? envs - from : most;
    for (int r = 0; r < rows; r++)
      noisy_flow_put_row(f, &f->tape->steps, r, seen + (ptrdiff_t)(from + r) * f->o->seen_ld, span);
    draw_rows(f, number, from, rows, x + from * chain, log_prob + (ptrdiff_t)from * f->steps);
  }
}
