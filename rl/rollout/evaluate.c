/* evaluate.c -- returns of a policy over episodes that are the same for every checkpoint. */
#include "rl/rollout/evaluate.h"
#include "rl/rollout/rollout.h"
#include <math.h>

/* called by several threads at once, but for different episodes */
static void add_step(void *context, const RolloutStep *step) {
  EvalResult *result = context;
  result->returns[step->episode] += (double)step->step.reward;
  result->lengths[step->episode]++;
  result->failed[step->episode] |= step->step.failed;
}

/* mean and deviation over episodes, lengths, and how often the simulator gave up */
static void summarise(EvalResult *r) {
  double sum = 0, length = 0, squares = 0;
  for (int i = 0; i < r->episodes; i++)
    sum += r->returns[i], length += r->lengths[i], r->failures += r->failed[i];
  r->return_mean = sum / r->episodes, r->length_mean = length / r->episodes;
  for (int i = 0; i < r->episodes; i++) squares += pow(r->returns[i] - r->return_mean, 2);
  /* the deviation of a sample; one episode has none */
  r->return_std = r->episodes > 1 ? sqrt(squares / (r->episodes - 1)) : 0;
}

/* Choosing the best weights and reporting them use other episodes, or the choice would flatter. */
uint64_t eval_episode_seed(EvalSeeds seeds, uint64_t seed) {
  return rng_seed(seed, seeds == SEEDS_REPORT ? "report" : "selection");
}

bool evaluate(Arena *arena, const EnvModel *model, const Policy *policy, const EvalSpec *spec,
              EvalResult *result, Error *error) {
  *result = (EvalResult){ .episodes = spec->episodes,
                          .returns = arena_array(arena, double, spec->episodes),
                          .lengths = arena_array(arena, int, spec->episodes),
                          .failed = arena_array(arena, bool, spec->episodes) };
  RolloutSpec episodes = { .env = model,
                           .policy = policy,
                           .episodes = spec->episodes,
                           .seed = eval_episode_seed(spec->seeds, spec->seed),
                           .pool = spec->pool,
                           .kernels = spec->kernels,
                           .profile = spec->profile,
                           .visit = add_step,
                           .context = result,
                           .stop = spec->stop };
  Progress progress;
  progress_begin(&progress, "steps at most", "evaluating %d episodes", spec->episodes);
  if (spec->tells) episodes.progress = &progress;
  bool done = rollout(arena, &episodes, &result->stopped, error);
  progress_end(&progress);
  if (!done) return false;
  summarise(result);
  return true;
}

void eval_values(const EvalResult *r, const EnvDef *env, bool reference, double *value) {
  /* without reference returns the normalised numbers are absent */
  bool scored = reference && env->return_expert > env->return_random;
  double scale = scored ? 100 / (env->return_expert - env->return_random) : NAN;
  double normalized = scored ? env_normalized(env, r->return_mean) : NAN;
  /* in the order of the table measure_returns */
  const double one[] = { r->episodes,           r->return_mean, r->return_std, normalized,
                         r->return_std * scale, r->length_mean, r->failures };
  _Static_assert(sizeof one / sizeof *one == RETURNS_SCORES + RETURNS_EPISODES, "measure_returns");
  for (size_t i = 0; i < sizeof one / sizeof *one; i++) *value++ = one[i];
  /* returns and lengths of the single episodes close the list */
  for (int i = 0; i < r->episodes; i++) *value++ = r->returns[i];
  for (int i = 0; i < r->episodes; i++) *value++ = r->lengths[i];
}

void eval_write(const double *value, int episodes, const EnvDef *env, const Policy *policy,
                const char *which, bool reference, JsonText *out) {
  bool scored = reference && env->return_expert > env->return_random;
  const Measure *row = measure_returns;
  json_put_text(out, "which", which);
  json_put_text(out, "env", env->name);
  /* the scores, then who acted where, then the single episodes */
  value = measures_put(row, RETURNS_SCORES, episodes, value, out), row += RETURNS_SCORES;
  json_put_text(out, "reference", scored ? "d4rl" : NULL);
  value = measures_put(row, RETURNS_EPISODES, episodes, value, out), row += RETURNS_EPISODES;
  json_put_text(out, "mujoco", env_simulator());
  policy_write_act(policy, "act", out);
  measures_put(row, RETURNS_EACH, episodes, value, out);
}
