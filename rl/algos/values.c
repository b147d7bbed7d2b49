/* values.c -- the mean Q of a batch beside the range of discounted sums of the data's rewards. */
#include "rl/algos/values.h"
#include "rl/algos/td.h"
#include "rl/source/source_transitions.h"
#include "rl/warnings.h"
#include <math.h>

void values_range(double low, double high, double gamma, double length, double range[2]) {
  /* a critic bootstraps through time-outs, so that its sums have no last term */
  double terms = gamma < 1 ? 1 / (1 - gamma) : length;
  range[0] = fmin(0, low * terms), range[1] = fmax(0, high * terms);
}

/* Critics of an agent that acts while it learns see other rewards than a file's. */
static bool apply(const Agent *agent) {
  return agent->policy && agent->policy->critics && agent->setup->warnings &&
         agent->setup->source->def == &source_transitions &&
         transitions_of(agent->setup->source)->summary.has_rewards;
}

/* Mean over rows and members.  On a tape that is made for it and given back. */
static double mean_q(const Agent *agent, const RowSampler *rows) {
  Arena *arena = arena_new();
  AlgoSetup setup = *agent->setup;
  setup.arena = arena, setup.ranks = NULL, setup.profile = NULL;
  const Critic *c = agent->policy->critics;
  Graph *g = algo_graph(&setup, NULL);
  Batch *batch = td_cloned(&setup, agent->policy);
  Tensor *q =
      t_mean(critic_q(c, g, c->online, batch_input(g, batch, "obs"), batch_input(g, batch, "act")));
  graph_keep(q);
  graph_seal(g);
  /* the same rows at every evaluation */
  data_sample(rows, 0, batch);
  graph_run(g, batch->rows, 0, NULL);
  double mean = graph_scalar(q);
  arena_free(arena);
  return mean;
}

static bool measure(Agent *agent, double *value, Error *error) {
  (void)value, (void)error;
  const double margin = 0.1; /* of the range, for what fitting errors may do */
  const Transitions *t = transitions_of(agent->setup->source);
  const RowSampler *rows = &t->train;
  double range[2], a = rows->reward_scale * t->summary.reward_min + rows->reward_shift;
  double b = rows->reward_scale * t->summary.reward_max + rows->reward_shift;
  values_range(a, b, rows->discount, (double)t->summary.length_max, range);
  double q = mean_q(agent, rows), spare = margin * (range[1] - range[0]);
  if (!(q >= range[0] - spare && q <= range[1] + spare))
    warnings_happened(agent->setup->warnings, "q_range",
                      "Q left the range of the returns: the critics value the data's actions at "
                      "%.4g on average, and with rewards of %.4g to %.4g a step discounted by %g "
                      "no policy can return less than %.4g or more than %.4g; try a smaller "
                      "critic_rate, layernorm=after, or more critics",
                      q, a, b, rows->discount, range[0], range[1]);
  return true;
}

const MeasureSet measured_values = { .applies = apply, .measure = measure };
