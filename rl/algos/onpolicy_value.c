/* onpolicy_value.c -- the network of values on two tapes: asked, and trained. */
#include "rl/algos/onpolicy_value.h"
#include "policy/nets/mlp.h"
#include <string.h>

struct OnpolicyValue {
  Params *params;
  Mlp net;
  Objective objective;
  Graph *asked;
  Tensor *input, *value;
  int most, ld;        /* rows of a run */
  real *seen, *target; /* [most, ld], [most, row_stride(1)] of a step */
};

static void record_asked(OnpolicyValue *v, const AlgoSetup *setup, int seen) {
  v->asked = algo_graph(setup, NULL);
  v->input = t_input(v->asked, "value obs", 1, seen);
  v->value = mlp(&v->net, v->asked, v->params, IN(v->input));
  graph_keep(v->value);
  graph_seal(v->asked);
}

OnpolicyValue *onpolicy_value_new(const AlgoSetup *setup, Agent *agent,
                                  const OnpolicyValueSpec *spec) {
  OnpolicyValue *v = arena_alloc(setup->arena, sizeof *v);
  const TrainConfig *config = setup->config;
  v->params = blocks_add(&agent->blocks, params_new(setup->arena, "value"));
  v->net = mlp_new(v->params, &(MlpSpec){ .name = "v",
                                          .members = 1,
                                          .inputs = spec->seen,
                                          .hidden = spec->hidden,
                                          .hidden_layers = 3,
                                          .outputs = 1,
                                          .activation = MAP_mish });
  params_allocate(v->params);
  params_init(v->params, setup->seed);
  v->most = (int)config->batch, v->ld = row_stride(spec->seen);
  v->seen = arena_array(setup->arena, real, (ptrdiff_t)v->most * v->ld);
  v->target = arena_array(setup->arena, real, (ptrdiff_t)v->most * row_stride(1));
  record_asked(v, setup, spec->seen);
  /* 1/2 mean (V(s) - R)^2 */
  Graph *g = objective_begin(&v->objective, setup, v->params);
  Tensor *obs = t_input(g, "obs", 1, spec->seen), *target = t_input(g, "target", 1, 1);
  Tensor *off = t_sub(mlp(&v->net, g, v->params, IN(obs)), target);
  objective_end(&v->objective, setup, agent, t_scale(0.5, t_mean(t_map(MAP_square, off))),
                spec->rate, spec->clip, (Ema){ 0 });
  graph_bind(obs, v->seen), graph_bind(target, v->target);
  return v;
}

void onpolicy_value_find(OnpolicyValue *v, const real *seen, int count, real *value) {
  for (int from = 0; from < count; from += v->most) {
    int rows = count - from < v->most ? count - from : v->most;
    graph_bind(v->input, seen + (ptrdiff_t)from * v->ld);
    graph_run(v->asked, rows, 0, NULL);
    const real *told = graph_values(v->value);
    for (int r = 0; r < rows; r++) value[from + r] = told[(ptrdiff_t)r * v->value->ld];
  }
}

void onpolicy_value_put(OnpolicyValue *v, int r, const real *seen, real target) {
  memcpy(v->seen + (ptrdiff_t)r * v->ld, seen, (size_t)v->ld * sizeof *seen);
  v->target[(ptrdiff_t)r * row_stride(1)] = target;
}

bool onpolicy_value_learn(OnpolicyValue *v, int rows, int64_t step) {
  return objective_step(&v->objective, rows, (uint64_t)step);
}

void onpolicy_value_log(const OnpolicyValue *v, Log *log) {
  objective_log(&v->objective, log, "value");
}
