/* actor.c -- a policy as a sealed tape: observations in, actions out. */
#include "core/check.h"
#include "policy/policy.h"
#include <math.h>
#include <string.h>

struct Actor {
  const Policy *policy;
  Graph *graph;
  Tensor *input, *act, *log_prob;
  real *obs; /* [max_rows, row_stride(obs_dim)] */
  int max_rows;
};

enum { LANE_ROWS = 64 }; /* candidates and rows that pass through the cache together */

static void bind_obs(Arena *arena, Actor *actor) {
  int ld = row_stride((int)actor->policy->spec.obs_dim);
  actor->obs = arena_array(arena, real, actor->max_rows * ld);
  graph_bind(actor->input, actor->obs);
}

Actor *actor_new(Arena *arena, const Policy *policy, int max_rows, uint64_t seed, Pool *pool,
                 const Kernels *kernels, Error *error) {
  Actor *actor = arena_alloc(arena, sizeof *actor);
  int n = (int)policy->spec.obs_dim, lane = LANE_ROWS / (int)policy->act.candidates;
  *actor = (Actor){ .policy = policy, .max_rows = max_rows };
  lane = lane < 1 ? 1 : lane < max_rows ? lane : max_rows;
  actor->graph = graph_new(
      arena,
      &(GraphSpec){
          .seed = seed, .pool = pool, .kernels = kernels, .max_rows = max_rows, .group = lane });
  actor->input = t_input(actor->graph, "obs", 1, n);
  actor->act = policy_record(policy, actor->graph, actor->input, &actor->log_prob, error);
  if (!actor->act) return NULL;
  graph_keep(actor->act);
  if (actor->log_prob) graph_keep(actor->log_prob);
  graph_seal(actor->graph);
  bind_obs(arena, actor);
  return actor;
}

Actor *actor_fork(Arena *arena, const Actor *actor) {
  Actor *fork = arena_alloc(arena, sizeof *fork);
  *fork = *actor;
  fork->graph = graph_fork(arena, actor->graph);
  fork->input = graph_forked(fork->graph, actor->input);
  fork->act = graph_forked(fork->graph, actor->act);
  if (actor->log_prob) fork->log_prob = graph_forked(fork->graph, actor->log_prob);
  bind_obs(arena, fork);
  return fork;
}

void actor_reseed(Actor *actor, uint64_t seed) { graph_reseed(actor->graph, seed); }

void actor_act(Actor *actor, const float *obs, int rows, uint64_t step, const uint32_t *row_ids,
               float *act, float *log_prob) {
  const Policy *p = actor->policy;
  int n = (int)p->spec.obs_dim, m = (int)p->spec.act_dim;
  CHECK(rows <= actor->max_rows, "actor: %d rows of %d", rows, actor->max_rows);
  for (int r = 0; r < rows; r++) {
    real *to = actor->obs + r * row_stride(n);
    if (p->normalizer)
      normalizer_apply(p->normalizer, obs + r * n, to);
    else
      for (int j = 0; j < n; j++) to[j] = (real)obs[r * n + j];
  }
  graph_run(actor->graph, rows, step, row_ids);
  const real *from = graph_values(actor->act);
  for (int r = 0; r < rows; r++)
    for (int j = 0; j < m; j++) {
      double mid = 0.5 * ((double)p->low[j] + (double)p->high[j]);
      double half = 0.5 * ((double)p->high[j] - (double)p->low[j]);
      act[r * m + j] = (float)(mid + half * (double)from[r * row_stride(m) + j]);
    }
  for (int r = 0; log_prob && r < rows; r++)
    log_prob[r] = actor->log_prob ? (float)graph_values(actor->log_prob)[r * row_stride(1)] : NAN;
}
