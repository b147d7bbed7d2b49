/* returns.c -- the episodes of an evaluation, as numbers of the table. */
#include "rl/measure/returns.h"
#include "rl/rollout/evaluate.h"
#include "rl/stop.h"

static bool acts(const Agent *agent) { return agent->policy && agent->setup->env; }

static int episodes_of(const Agent *agent) {
  return (int)((const TrainConfig *)agent->setup->config)->eval_episodes;
}

static bool measure(Agent *agent, double *value, Error *error) {
  const AlgoSetup *setup = agent->setup;
  Arena *arena = arena_new();
  EvalSpec spec = { .episodes = episodes_of(agent),
                    .seeds = SEEDS_SELECTION,
                    .pool = setup->pool,
                    .kernels = setup->kernels,
                    .stop = stop_asked };
  EvalResult result;
  bool done = evaluate(arena, setup->env, agent->policy, &spec, &result, error);
  if (done) eval_values(&result, env_def(setup->env), setup->reference, value);
  arena_free(arena);
  return done;
}

static void write_line(const Agent *agent, const double *value, JsonText *out) {
  const AlgoSetup *setup = agent->setup;
  eval_write(value, episodes_of(agent), env_def(setup->env), agent->policy, "last",
             setup->reference, out);
}

const MeasureSet measured_returns = { .measures = measure_returns,
                                      .count = RETURNS,
                                      .applies = acts,
                                      .measure = measure,
                                      .write = write_line };
