/* actor.c -- a policy as sealed tapes: observations in, actions out.
 *
 * The candidates of an observation are several rows of the tape that proposes them, so that threads
 * can share them; a second tape chooses among all.  Rows do not see each other, so how they are
 * grouped changes no bit (with our own kernels: with OpenBLAS groups do not depend on threads). */
#include "core/check.h"
#include "policy/policy.h"
#include <math.h>
#include <string.h>

struct Actor {
  const Policy *policy;
  int max_rows, parts; /* an observation is so many rows of `graph` */
  Graph *graph;
  Tensor *input, *proposal, *q, *log_prob;
  real *obs;    /* [max_rows, parts, row_stride(obs_dim)] */
  uint32_t *id; /* [max_rows, parts] */

  Graph *choice; /* max_rows rows; NULL with one candidate */
  Tensor *proposed, *valued;
  const Tensor *act; /* of either tape */
};

/* candidates of a part; those that pass the cache together, and plans likewise */
enum { LEAST_PART = 16, LANE = 64, PLAN_LANE = 16 };

/* candidates of a row: halves as long as they are large */
static int part_of(int candidates) {
  while (candidates % 2 == 0 && candidates >= 2 * LEAST_PART) candidates /= 2;
  return candidates;
}

static int group_rows(const Policy *policy, int rows, int part, const Pool *pool,
                      const Kernels *kernels) {
  int threads = pool && kernels->packs ? pool_threads(pool) : 1, wide = policy->diffuser != NULL;
  int each = (rows + threads - 1) / threads, lane = (wide ? PLAN_LANE : LANE) / part;
  return lane < 1 ? 1 : lane < each ? lane : each;
}

static void bind_inputs(Arena *arena, Actor *a) {
  int rows = a->max_rows * a->parts;
  a->obs = arena_array(arena, real, (ptrdiff_t)rows * row_stride((int)a->policy->spec.obs_dim));
  a->id = arena_array(arena, uint32_t, rows);
  graph_bind(a->input, a->obs);
  if (!a->choice) return;
  graph_bind(a->proposed, graph_values(a->proposal));
  graph_bind(a->valued, graph_values(a->q));
}

static void record_choice(Arena *arena, Actor *a, uint64_t seed, const Kernels *kernels) {
  a->choice =
      graph_new(arena, &(GraphSpec){ .seed = seed, .kernels = kernels, .max_rows = a->max_rows });
  int candidates = (int)a->policy->act.candidates;
  a->proposed = t_input(a->choice, "proposed", candidates, (int)a->policy->spec.act_dim);
  a->valued = t_input(a->choice, "valued", candidates, 1);
  Tensor *act = policy_choose(a->policy, a->proposed, a->valued);
  graph_keep(act), graph_keep(a->q);
  graph_seal(a->choice);
  a->act = act;
}

Actor *actor_new(Arena *arena, const Policy *policy, int max_rows, uint64_t seed, Pool *pool,
                 const Kernels *kernels, Error *error) {
  Actor *a = arena_alloc(arena, sizeof *a);
  int part = part_of((int)policy->act.candidates), parts = (int)policy->act.candidates / part;
  *a = (Actor){ .policy = policy, .max_rows = max_rows, .parts = parts };
  int rows = max_rows * parts;
  a->graph =
      graph_new(arena, &(GraphSpec){ .seed = seed,
                                     .pool = pool,
                                     .kernels = kernels,
                                     .max_rows = rows,
                                     .group = group_rows(policy, rows, part, pool, kernels) });
  a->input = t_input(a->graph, "obs", 1, (int)policy->spec.obs_dim);
  a->proposal = policy_propose(policy, a->graph, a->input, part, &a->q, &a->log_prob, error);
  if (!a->proposal) return NULL;
  a->act = a->proposal;
  graph_keep(a->proposal);
  if (a->log_prob) graph_keep(a->log_prob);
  if (a->q) record_choice(arena, a, seed, kernels);
  graph_seal(a->graph);
  bind_inputs(arena, a);
  return a;
}

Actor *actor_fork(Arena *arena, const Actor *actor) {
  Actor *fork = arena_alloc(arena, sizeof *fork);
  *fork = *actor;
  fork->graph = graph_fork(arena, actor->graph);
  fork->input = graph_forked(fork->graph, actor->input);
  fork->act = fork->proposal = graph_forked(fork->graph, actor->proposal);
  if (actor->log_prob) fork->log_prob = graph_forked(fork->graph, actor->log_prob);
  if (actor->choice) {
    fork->q = graph_forked(fork->graph, actor->q);
    fork->choice = graph_fork(arena, actor->choice);
    fork->proposed = graph_forked(fork->choice, actor->proposed);
    fork->valued = graph_forked(fork->choice, actor->valued);
    fork->act = graph_forked(fork->choice, actor->act);
  }
  bind_inputs(arena, fork);
  return fork;
}

void actor_reseed(Actor *actor, uint64_t seed) {
  graph_reseed(actor->graph, seed);
  if (actor->choice) graph_reseed(actor->choice, seed);
}

/* the normalised observation, once for each part */
static void set_row(Actor *a, int row, const float *obs, uint32_t id) {
  int n = (int)a->policy->spec.obs_dim, ld = row_stride(n);
  real *to = a->obs + (ptrdiff_t)row * a->parts * ld;
  if (a->policy->normalizer)
    normalizer_apply(a->policy->normalizer, obs, to);
  else
    for (int j = 0; j < n; j++) to[j] = (real)obs[j];
  for (int i = 0; i < a->parts; i++) {
    if (i) memcpy(to + i * ld, to, (size_t)n * sizeof *to);
    a->id[row * a->parts + i] = id * (uint32_t)a->parts + (uint32_t)i;
  }
}

static float within(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/* one row's answer in the data's units */
static void put_actions(const Policy *p, const real *x, float *act) {
  const DiffuserModel *plan = p->diffuser;
  int m = (int)p->spec.act_dim;
  for (int j = 0; !plan && j < m; j++) {
    double mid = 0.5 * ((double)p->low[j] + (double)p->high[j]);
    double half = 0.5 * ((double)p->high[j] - (double)p->low[j]);
    act[j] = (float)(mid + half * (double)x[j]);
  }
  for (int t = 0; plan && t < plan->horizon; t++, x += plan->width, act += m) {
    const Normalizer first = { m, plan->normalizer.mean, plan->normalizer.std };
    normalizer_invert(&first, x, act);
    for (int j = 0; j < m; j++) act[j] = within(act[j], p->low[j], p->high[j]);
  }
}

void actor_act(Actor *a, const float *obs, int rows, uint64_t step, const uint32_t *row_ids,
               float *act, float *log_prob) {
  int n = (int)a->policy->spec.obs_dim;
  int each = policy_horizon(a->policy) * (int)a->policy->spec.act_dim;
  CHECK(rows <= a->max_rows, "actor: %d rows of %d", rows, a->max_rows);
  for (int r = 0; r < rows; r++) set_row(a, r, obs + r * n, row_ids ? row_ids[r] : (uint32_t)r);
  graph_run(a->graph, rows * a->parts, step, a->id);
  if (a->choice) graph_run(a->choice, rows, step, row_ids);
  const real *from = graph_values(a->act);
  for (int r = 0; r < rows; r++)
    put_actions(a->policy, from + (ptrdiff_t)r * a->act->ld, act + (ptrdiff_t)r * each);
  for (int r = 0; log_prob && r < rows; r++)
    log_prob[r] = a->log_prob ? (float)graph_values(a->log_prob)[r * row_stride(1)] : NAN;
}
