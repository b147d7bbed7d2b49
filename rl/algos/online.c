/* online.c -- the actions of an online algorithm, one step of its environment at a time. */
#include "rl/algos/online.h"
#include <math.h>

bool online_open(Online *o, const AlgoSetup *setup, const Policy *policy, uint64_t seed,
                 int64_t random_steps, double noise, Error *error) {
  const TrainConfig *config = setup->config;
  /* room for every step of the run: nothing is ever overwritten */
  const ExperienceSpec spec = { .env = setup->env,
                                .units = &setup->source->units,
                                .run = setup->run,
                                .capacity = config->steps + random_steps + 1,
                                .seed = setup->seed };
  *o = (Online){ .setup = setup,
                 .explore = rng_stream(setup->seed, "explore"),
                 .random_steps = random_steps,
                 .noise = noise };
  /* a policy for one observation; the tape reads the weights that are trained */
  o->actor = actor_new(setup->arena, policy, 1, seed, NULL, setup->kernels, error);
  o->experience = o->actor ? experience_new(setup->arena, &spec, error) : NULL;
  return o->experience != NULL;
}

/* normal noise, within the bounds */
static void add_noise(const Online *o, int64_t t, float *act) {
  const Units *u = &o->setup->source->units;
  float normal[POLICY_MAX_ACT];
  rng_normals(o->explore, (uint64_t)t, 0, normal, u->act_dim);
  for (int j = 0; j < u->act_dim; j++) {
    float std = (float)o->noise * 0.5f * (u->high[j] - u->low[j]);
    act[j] = fminf(fmaxf(act[j] + std * normal[j], u->low[j]), u->high[j]);
  }
}

/* one step: a uniform action at first, then the policy's, with noise if asked; all is recorded */
static bool interact(Online *o, int64_t t, Error *error) {
  float act[POLICY_MAX_ACT];
  const float *obs = experience_obs(o->experience, error);
  if (!obs) return false;
  if (t < o->random_steps)
    experience_uniform(o->experience, o->explore, (uint64_t)t, act);
  else
    actor_answer(o->actor, obs, 1, (uint64_t)t, NULL, act, NULL);
  if (t >= o->random_steps && !actor_check(act, o->setup->act_dim, error)) return false;
  if (t >= o->random_steps && o->noise > 0) add_noise(o, t, act);
  experience_step(o->experience, act);
  return true;
}

bool online_collect(Agent *agent, int64_t step, Error *error) {
  Online *o = &((OnlineAgent *)agent)->online;
  /* all uniform steps before the first update; a resumed run has them in its replay */
  for (int64_t t = 0; step == 0 && t < o->random_steps; t++)
    if (!interact(o, t, error)) return false;
  return interact(o, o->random_steps + step, error);
}

void online_sample(const Online *o, int64_t step, Batch *batch) {
  Rng rng = rng_stream(o->setup->seed, "replay batch");
  replay_sample(experience_replay(o->experience), rng, (uint64_t)step, batch);
}

void online_log(const Online *o, Log *log) {
  double last = experience_return(o->experience);
  if (isfinite(last)) log_scalar(log, "episode_return", last);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

bool online_save(const Agent *agent, Checkpoint *c, Error *error) {
  return experience_save(((const OnlineAgent *)agent)->online.experience, c, error);
}

bool online_load(Agent *agent, const Checkpoint *c, Error *error) {
  return experience_load(((OnlineAgent *)agent)->online.experience, c, error);
}

void online_close(Agent *agent) { experience_close(((OnlineAgent *)agent)->online.experience); }
