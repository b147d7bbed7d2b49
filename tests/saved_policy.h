/* saved_policy.h -- small policies with random weights as files, for tests of who loads them. */
#ifndef TESTS_SAVED_POLICY_H
#define TESTS_SAVED_POLICY_H
#include "core/ops/ops.h"
#include "policy/actor.h"
#include "policy/models/plans.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBS = 5, ACT = 2, HORIZON = 8 };
static const float saved_low[ACT] = { -1, -2 }, saved_high[ACT] = { 1, 3 };

/* ---- a folder for the tests of a program ----------------------------------------------------- */

typedef struct {
  Arena *arena;
  char path[64];
} Folder;

static inline int folder_open(void **state) {
  Folder *folder = calloc(1, sizeof *folder);
  strcpy(folder->path, "/tmp/test_saved_policy.XXXXXX");
  folder->arena = arena_new();
  *state = folder;
  return mkdtemp(folder->path) ? 0 : -1;
}

static inline int folder_close(void **state) {
  Folder *folder = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", folder->path);
  arena_free(folder->arena);
  int status = system(command);
  free(folder);
  return status;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* What a file says, before it is written: the texts may be replaced. */
typedef struct {
  Policy *policy;
  Checkpoint checkpoint;
} Draft;

static inline Draft draft_policy(Arena *arena, const char *kind) {
  Draft draft;
  Error why;
  bool diffusion = !strcmp(kind, "diffusion");
  Policy *p = policy_start(arena, diffusion ? &policy_diffusion : &policy_gaussian);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = 24;
  p->spec.critics = diffusion ? 2 : 0;
  if (!policy_build(p, &why) || !blocks_allocate(&p->blocks, &why)) fail_msg("%s", why.text);
  Normalizer *normalizer = arena_alloc(arena, sizeof *normalizer);
  *normalizer = normalizer_new(arena, OBS);
  for (int j = 0; j < OBS; j++) normalizer->mean[j] = 0.1f * (float)j, normalizer->std[j] = 1.5f;
  p->units.obs = normalizer;
  memcpy(p->low, saved_low, sizeof saved_low), memcpy(p->high, saved_high, sizeof saved_high);
  params_init(p->actor, 3);
  if (p->critics) params_init(p->critics->target, 4);
  draft.policy = p;
  return draft;
}

static inline void draft_fill(Draft *draft) {
  const Policy *p = draft->policy;
  checkpoint_init(&draft->checkpoint, p->arena);
  policy_save_shape(p, &draft->checkpoint);
  params_save(p->actor, &draft->checkpoint);
  if (p->critics) params_save(p->critics->target, &draft->checkpoint);
}

static inline const char *draft_write(const Draft *draft, const Folder *folder, const char *name) {
  Error why;
  const char *path = arena_text(folder->arena, "%s/%s.safetensors", folder->path, name);
  if (!checkpoint_save(&draft->checkpoint, path, &why)) fail_msg("%s", why.text);
  return path;
}

/* Finite weights that lead to no finite number: every answer is a difference of infinities. */
static inline void make_overflow(Params *params) {
  for (int s = 0; s < params->layout->slots; s++) {
    const Slot *slot = &params->layout->slot[s];
    size_t size = (size_t)slot->e * (size_t)slot->rows * (size_t)slot->ld;
    for (size_t j = 0; j < size; j++)
      if ((int)(j % (size_t)slot->ld) < slot->n)
        params_at(params, s)[j] = (real)((j / (size_t)slot->ld) % 2 ? -3e38 : 3e38);
  }
}

/* flaw: NULL, or "overflow" */
static inline const char *saved_diffusion(const Folder *folder, const char *name,
                                          const char *flaw) {
  Draft draft = draft_policy(folder->arena, "diffusion");
  if (flaw) make_overflow(draft.policy->actor);
  draft_fill(&draft);
  return draft_write(&draft, folder, name);
}

static inline const char *saved_gaussian(const Folder *folder, const char *name) {
  Draft draft = draft_policy(folder->arena, "gaussian");
  draft_fill(&draft);
  return draft_write(&draft, folder, name);
}

/* A model of plans of HORIZON steps; weights=online is another than weights=ema, the default. */
static inline PlansModel *draft_model(Arena *arena) {
  Error why;
  Model *base = model_start(arena, &model_plans, NULL);
  PlansModel *m = (PlansModel *)base;
  m->obs_dim = OBS, m->act_dim = ACT, m->horizon = HORIZON;
  if (!model_set_all(base, "hidden=8 mults=1,2 groups=4 diffusion_steps=5", &why) ||
      !model_build(base, &why) || !blocks_allocate(&base->blocks, &why))
    fail_msg("%s", why.text);
  params_init(base->online, 3), params_init(base->average, 4);
  for (int j = 0; j < m->width; j++)
    m->step.mean[j] = 0.1f * (float)j, m->step.std[j] = 1 + 0.3f * (float)j;
  memcpy(m->low, saved_low, sizeof saved_low), memcpy(m->high, saved_high, sizeof saved_high);
  return m;
}

static inline Draft draft_planner(Arena *arena, const PlansModel *m) {
  Draft draft = { .policy = NULL };
  checkpoint_init(&draft.checkpoint, arena);
  model_save(&m->base, &draft.checkpoint);
  return draft;
}

static inline const char *saved_planner(const Folder *folder, const char *name, const char *flaw) {
  PlansModel *m = draft_model(folder->arena);
  if (flaw) make_overflow(m->base.average);
  Draft draft = draft_planner(folder->arena, m);
  return draft_write(&draft, folder, name);
}

/* ---- the other way to act -------------------------------------------------------------------- */

static inline Actor *saved_actor(Arena *arena, const char *path, const char *act, uint64_t seed) {
  Error why;
  Checkpoint checkpoint;
  checkpoint_init(&checkpoint, arena);
  if (!checkpoint_load(&checkpoint, path, NULL, &why)) fail_msg("%s", why.text);
  Policy *policy = policy_load(arena, &checkpoint, &why);
  if (!policy) fail_msg("%s", why.text);
  if (act && !policy_set_act(policy, act, "act", &why)) fail_msg("%s", why.text);
  Actor *actor = actor_new(arena, policy, 1, seed, NULL, kernels_find("own", &why), &why);
  if (!actor) fail_msg("%s", why.text);
  return actor;
}

static inline void draw_obs(uint64_t n, float obs[OBS]) {
  float numbers[OBS + 3];
  rng_normals(rng_stream(9, "observations"), n, 0, numbers, OBS);
  memcpy(obs, numbers, OBS * sizeof *obs);
}

#endif
