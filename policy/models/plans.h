/* plans.h -- a diffusion model of plans: actions and states of `horizon` steps at once, from a
 * given first state on (Janner et al. 2022, "Planning with Diffusion for Flexible Behavior
 * Synthesis").
 *
 * A plan is a trajectory of the tape, [a_0 s_0 a_1 s_1 ..]; the temporal U-Net sees it normalised,
 * with s_0 clean.  The model is a shape and its numbers; a checkpoint holds it whole. */
#ifndef POLICY_DIFFUSER_H
#define POLICY_DIFFUSER_H
#include "core/checkpoint.h"
#include "core/config.h"
#include "core/maths/normalizer.h"
#include "diffusion/sampler.h"

/* what the network is, and how it is asked by default */
#define DIFFUSER_MODEL_FIELDS(F)                                                                   \
  F(INT, horizon, 32, 2, 1024, "steps of a plan")                                                  \
  F(INT, hidden, 32, 1, 1024, "channels are multiples of it, and the time's features as many")     \
  F(TEXT, mults, "1,2,4,8", NULL, NULL, "the multiples, one a level; between two the plan halves") \
  F(INT, groups, 8, 1, 2048, "of the group norms")                                                 \
  F(BOOL, attention, false, NULL, NULL, "linear attention at every level")                         \
  F(TEXT, schedule, "cosine", NULL, NULL, "noise schedule")                                        \
  F(INT, diffusion_steps, 20, 1, 100000, "steps of a discrete schedule")                           \
  F(TEXT, predicts, "x0", "eps|x0|v", NULL, "what the network's output is")                        \
  F(TEXT, weights, "ema", "online|ema", NULL, "which weights plan")                                \
  F(TEXT, sampler, "ddpm", NULL, NULL, "how plans are sampled")                                    \
  F(INT, sample_steps, 0, 0, 100000, "its steps; 0: all of a discrete schedule")
#define DIFFUSER_DATA_FIELDS(F)                                                                    \
  F(INT, obs_dim, 1, 1, 4096, "numbers of a state")                                                \
  F(INT, act_dim, 1, 1, 4096, "numbers of an action")
typedef struct {
  CONFIG_MEMBERS(DIFFUSER_MODEL_FIELDS)
  CONFIG_MEMBERS(DIFFUSER_DATA_FIELDS)
} DiffuserShape;

typedef struct {
  DiffuserShape shape;
  int horizon, obs_dim, act_dim, width; /* of a step: act_dim + obs_dim */
  Normalizer normalizer;                /* of a step, the action first */
  float *low, *high; /* [act_dim] of actions in the data's units; else infinite */
  const Schedule *schedule;
  const Denoiser *denoiser; /* dim = horizon * width */
  Params *online, *average; /* blocks "denoiser", "denoiser_ema": zeros until initialised */
} DiffuserModel;

/* NULL and an error (FAIL_USAGE) for a horizon that does not halve often enough, channels that the
 * groups do not divide, a plan of too many numbers, a schedule or sampler that cannot be. */
DiffuserModel *diffuser_new(Arena *arena, const DiffuserShape *shape, Error *error);

/* The text "diffuser", normaliser and bounds; and with both blocks of numbers. */
void diffuser_save_shape(const DiffuserModel *model, Checkpoint *checkpoint);
void diffuser_save(const DiffuserModel *model, Checkpoint *checkpoint);
bool diffuser_read(DiffuserModel *model, const Checkpoint *checkpoint, Error *error);
DiffuserModel *diffuser_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

/* The first step of loading: the model without its numbers (FAIL_INPUT); and before it the bytes
 * that loading takes, and a tape of a whole chain, with a margin. */
DiffuserModel *diffuser_load_shape(Arena *arena, const Checkpoint *checkpoint, Error *error);
bool diffuser_read_bytes(const Checkpoint *checkpoint, size_t *bytes, Error *error);

/* Take weights and normaliser of another model.  FAIL_USAGE if it is of another shape. */
bool diffuser_begin(DiffuserModel *model, const Checkpoint *from, Error *error);

/* the weights that plan, and how */
const Params *diffuser_weights(const DiffuserModel *model);
SamplerSpec diffuser_sampler(const DiffuserModel *model);

/* The first state is known: it is the condition [1, 1, obs_dim], normalised. */
const Guide *diffuser_guide(Arena *arena, const DiffuserModel *model);

/* 1 at the entries of s_0, else 0: ONCE [1, 1, dim]. */
Tensor *diffuser_keep(const DiffuserModel *model, Graph *g);

typedef struct {
  SamplerSpec sampler; /* its guides are ignored */
  uint64_t seed;
  Pool *pool;
  const Kernels *kernels;
  ConvMethod conv;
} DiffuserSampling;

/* Plans [count, horizon, width] that begin in the states first [count, obs_dim], all in the data's
 * units; s_0 is met exactly.  Plan i depends on the seed, i and its first state alone. */
bool diffuser_plan(const DiffuserModel *model, const DiffuserSampling *how, int count,
                   const float *first, float *plans, Error *error);

#endif
