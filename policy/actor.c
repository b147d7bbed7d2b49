/* actor.c -- acting, one batch at a time.
 *
 * The candidates of an observation are several rows of the tape that proposes them, so that threads
 * can share them; a second tape chooses among all.  Rows do not see each other, so how they are
 * grouped changes no bit (with our own kernels: with OpenBLAS groups do not depend on threads). */
#include "policy/actor.h"
#include "core/check.h"
#include <math.h>
#include <string.h>

/* what an episode remembers: its last observations, and the answer that is being done */
typedef struct {
  uint32_t episode;
  uint64_t step; /* observations seen */
  int done;      /* actions of the answer */
  float log_prob;
  float *seen, *answer; /* [obs_steps, obs_dim], [horizon, act_dim] */
} Memory;

struct Actor {
  const Policy *policy;
  int max_rows, parts; /* an observation is so many rows of `graph` */
  Graph *graph;
  Tensor *input, *proposal;
  Proposal more;
  real *obs;    /* [max_rows, parts, row_stride(seen)] */
  uint32_t *id; /* [max_rows, parts] */

  Graph *choice; /* max_rows rows; NULL with one candidate */
  Tensor *proposed, *valued;
  const Tensor *act; /* of either tape */

  Memory *memory; /* [max_rows] */
  /* the slots that are asked at once: where they come from, what goes in and out */
  int *asked;
  uint32_t *asked_id;
  float *asked_seen, *answers, *log_probs;
};

/* candidates of a part */
enum { LEAST_PART = 16 };

/* candidates of a row: halves as long as they are large */
static int part_of(int candidates) {
  while (candidates % 2 == 0 && candidates >= 2 * LEAST_PART) candidates /= 2;
  return candidates;
}

/* ---- tapes ----------------------------------------------------------------------------------- */

/* rows of a thread: an equal share, but no more than pass the cache together */
static int group_rows(const Policy *policy, int rows, int part, const Pool *pool,
                      const Kernels *kernels) {
  int threads = pool && kernels->packs ? pool_threads(pool) : 1;
  int each = (rows + threads - 1) / threads, lane = policy->def->lane / part;
  return lane < 1 ? 1 : lane < each ? lane : each;
}

/* the choice reads what the proposals left, in place */
static void bind_inputs(Arena *arena, Actor *a) {
  int rows = a->max_rows * a->parts;
  a->obs = arena_array(arena, real, (ptrdiff_t)rows * row_stride(a->policy->seen));
  a->id = arena_array(arena, uint32_t, rows);
  graph_bind(a->input, a->obs);
  if (!a->choice) return;
  graph_bind(a->proposed, graph_values(a->proposal));
  graph_bind(a->valued, graph_values(a->more.q));
}

/* the second tape: all candidates of an observation and their values in, one action out */
static void record_choice(Arena *arena, Actor *a, uint64_t seed, const Kernels *kernels) {
  a->choice =
      graph_new(arena, &(GraphSpec){ .seed = seed, .kernels = kernels, .max_rows = a->max_rows });
  int candidates = (int)a->policy->act.candidates;
  a->proposed = t_input(a->choice, "proposed", candidates, a->policy->width);
  a->valued = t_input(a->choice, "valued", candidates, 1);
  Tensor *act = policy_choose(a->policy, a->proposed, a->valued);
  graph_keep(act), graph_keep(a->more.q);
  graph_seal(a->choice);
  a->act = act;
}

/* room for every slot's episode, and for the slots that are asked at once */
static void prepare_memory(Arena *arena, Actor *a) {
  const Policy *p = a->policy;
  int rows = a->max_rows, answer = p->horizon * (int)p->spec.act_dim;
  a->memory = arena_array(arena, Memory, rows);
  for (int i = 0; i < rows; i++) {
    a->memory[i].seen = arena_array(arena, float, p->seen);
    a->memory[i].answer = arena_array(arena, float, answer);
    actor_begin(a, i, (uint32_t)i);
  }
  a->asked = arena_array(arena, int, rows), a->asked_id = arena_array(arena, uint32_t, rows);
  a->asked_seen = arena_array(arena, float, rows * p->seen);
  a->answers = arena_array(arena, float, rows *answer);
  a->log_probs = arena_array(arena, float, rows);
}

Actor *actor_new(Arena *arena, const Policy *policy, int max_rows, uint64_t seed, Pool *pool,
                 const Kernels *kernels, Error *error) {
  Actor *a = arena_alloc(arena, sizeof *a);
  int part = part_of((int)policy->act.candidates), parts = (int)policy->act.candidates / part;
  *a = (Actor){ .policy = policy, .max_rows = max_rows, .parts = parts };
  int rows = max_rows * parts;
  /* one row of the tape proposes `part` candidates */
  a->graph =
      graph_new(arena, &(GraphSpec){ .seed = seed,
                                     .pool = pool,
                                     .kernels = kernels,
                                     .max_rows = rows,
                                     .group = group_rows(policy, rows, part, pool, kernels) });
  a->input = t_input(a->graph, "obs", 1, policy->seen);
  a->proposal = policy_propose(policy, a->graph, a->input, part, &a->more, error);
  /* what the caller reads is an action: the proposal, or the choice among several */
  if (!a->proposal) return NULL;
  a->act = a->proposal;
  graph_keep(a->proposal);
  if (a->more.log_prob) graph_keep(a->more.log_prob);
  /* several candidates: the critics' values come with them */
  if (a->more.q) record_choice(arena, a, seed, kernels);
  graph_seal(a->graph);
  bind_inputs(arena, a);
  prepare_memory(arena, a);
  return a;
}

Actor *actor_fork(Arena *arena, const Actor *actor) {
  Actor *fork = arena_alloc(arena, sizeof *fork);
  *fork = *actor;
  /* every node that is read or bound has a counterpart in the fork */
  fork->graph = graph_fork(arena, actor->graph);
  fork->input = graph_forked(fork->graph, actor->input);
  fork->act = fork->proposal = graph_forked(fork->graph, actor->proposal);
  if (actor->more.log_prob) fork->more.log_prob = graph_forked(fork->graph, actor->more.log_prob);
  if (actor->choice) {
    fork->more.q = graph_forked(fork->graph, actor->more.q);
    fork->choice = graph_fork(arena, actor->choice);
    fork->proposed = graph_forked(fork->choice, actor->proposed);
    fork->valued = graph_forked(fork->choice, actor->valued);
    fork->act = graph_forked(fork->choice, actor->act);
  }
  bind_inputs(arena, fork);
  prepare_memory(arena, fork);
  return fork;
}

void actor_reseed(Actor *actor, uint64_t seed) {
  graph_reseed(actor->graph, seed);
  if (actor->choice) graph_reseed(actor->choice, seed);
}

/* ---- single answers -------------------------------------------------------------------------- */

/* the observations as the network sees them, once for each part */
static void set_row(Actor *a, int row, const float *seen, uint32_t id) {
  const Units *u = &a->policy->units;
  int n = a->policy->seen, ld = row_stride(n);
  real *to = a->obs + (ptrdiff_t)row * a->parts * ld;
  for (int t = 0; t * u->obs_dim < n; t++)
    units_obs_in(u, seen + t * u->obs_dim, to + t * u->obs_dim);
  for (int i = 0; i < a->parts; i++) {
    if (i) memcpy(to + i * ld, to, (size_t)n * sizeof *to);
    a->id[row * a->parts + i] = id * (uint32_t)a->parts + (uint32_t)i;
  }
}

void actor_answer(Actor *a, const float *seen, int rows, uint64_t step, const uint32_t *row_ids,
                  float *act, float *log_prob) {
  const Policy *p = a->policy;
  int each = p->horizon * (int)p->spec.act_dim;
  CHECK(rows <= a->max_rows, "actor: %d rows of %d", rows, a->max_rows);
  for (int r = 0; r < rows; r++)
    set_row(a, r, seen + (ptrdiff_t)r * p->seen, row_ids ? row_ids[r] : (uint32_t)r);
  /* first all candidates, each part a row; then the choice, an observation a row */
  graph_run(a->graph, rows * a->parts, step, a->id);
  if (a->choice) graph_run(a->choice, rows, step, row_ids);
  const real *from = graph_values(a->act);
  for (int r = 0; r < rows; r++)
    policy_put(p, from + (ptrdiff_t)r * a->act->ld, act + (ptrdiff_t)r * each);
  const Tensor *density = a->more.log_prob;
  for (int r = 0; log_prob && r < rows; r++)
    log_prob[r] = density ? (float)graph_values(density)[r * row_stride(1)] : NAN;
}

bool actor_check(const float *act, int count, Error *error) {
  for (int j = 0; j < count; j++)
    if (!isfinite(act[j]))
      return error_set(error, FAIL_DIVERGED,
                       "number %d of the action is %g: the weights have diverged, or observations "
                       "are far from those it was trained on",
                       j, (double)act[j]);
  return true;
}

/* ---- episodes -------------------------------------------------------------------------------- */

void actor_begin(Actor *a, int slot, uint32_t episode) {
  Memory *m = &a->memory[slot];
  CHECK(slot < a->max_rows, "actor: slot %d of %d", slot, a->max_rows);
  m->episode = episode, m->step = 0, m->log_prob = NAN;
  m->done = (int)a->policy->act.act_steps; /* nothing is left to do */
}

/* The newest observation goes last; an episode's first stands for those before it. */
static void remember(const Policy *p, Memory *m, const float *obs) {
  size_t n = (size_t)p->spec.obs_dim, all = (size_t)p->seen;
  if (m->step)
    memmove(m->seen, m->seen + n, (all - n) * sizeof *obs);
  else
    for (size_t t = 0; t + n < all; t += n) memcpy(m->seen + t, obs, n * sizeof *obs);
  memcpy(m->seen + all - n, obs, n * sizeof *obs);
}

/* the slots at the step of the first that has nothing left to do; returns how many */
static int gather(Actor *a, const int *slot, int count, uint64_t *step) {
  const Policy *p = a->policy;
  int rows = 0;
  for (int i = 0; i < count; i++) {
    Memory *m = &a->memory[slot[i]];
    /* busy slots wait, and so do those at another step */
    if (m->done < p->act.act_steps || (rows && m->step != *step)) continue;
    *step = m->step;
    memcpy(a->asked_seen + (ptrdiff_t)rows * p->seen, m->seen, (size_t)p->seen * sizeof *m->seen);
    a->asked_id[rows] = m->episode, a->asked[rows++] = slot[i];
  }
  return rows;
}

/* a tape runs at one step, so slots that are at different steps take several runs */
static void ask(Actor *a, const int *slot, int count) {
  size_t answer = (size_t)a->policy->horizon * (size_t)a->policy->spec.act_dim;
  uint64_t step = 0;
  for (int rows; (rows = gather(a, slot, count, &step)) > 0;) {
    actor_answer(a, a->asked_seen, rows, step, a->asked_id, a->answers, a->log_probs);
    for (int r = 0; r < rows; r++) {
      Memory *m = &a->memory[a->asked[r]];
      memcpy(m->answer, a->answers + (size_t)r * answer, answer * sizeof *m->answer);
      m->log_prob = a->log_probs[r], m->done = 0;
    }
  }
}

void actor_act(Actor *a, const int *slot, int count, const float *obs, float *act,
               float *log_prob) {
  const Policy *p = a->policy;
  int n = (int)p->spec.obs_dim, m = (int)p->spec.act_dim;
  for (int i = 0; i < count; i++) remember(p, &a->memory[slot[i]], obs + (ptrdiff_t)i * n);
  ask(a, slot, count);
  for (int i = 0; i < count; i++) {
    Memory *memory = &a->memory[slot[i]];
    memcpy(act + (ptrdiff_t)i * m, memory->answer + memory->done * m, (size_t)m * sizeof *act);
    if (log_prob) log_prob[i] = memory->log_prob;
    memory->done++, memory->step++;
  }
}
