/* points.h -- a diffusion model of points in the plane: everything of diffusion/ on data that one
 * can see.  The model is a shape and its numbers; a checkpoint holds it whole, so one file suffices
 * to sample. */
#ifndef POLICY_POINTS_H
#define POLICY_POINTS_H
#include "core/checkpoint.h"
#include "core/config.h"
#include "diffusion/sampler.h"

enum { TOY_DIM = 2 };

/* what the network is, and how it is asked by default */
#define TOY_MODEL_FIELDS(F)                                                                        \
  F(TEXT, net, "residual", "mlp|residual", NULL,                                                   \
    "three layers of Mish; or IDQL's residual network")                                            \
  F(INT, hidden, 64, 1, 4096, "units of a layer")                                                  \
  F(INT, blocks, 2, 1, 8, "residual: blocks")                                                      \
  F(INT, octaves, 4, 0, 10, "sines and cosines of a point beside itself; 0: none")                 \
  F(TEXT, embedding, "ddpm", "ddpm|openai|edm|gaussian|fourier", NULL, "features of the time")     \
  F(TEXT, time, "thousands", "own|thousands|log-sigma", NULL, "the number they are features of")   \
  F(TEXT, schedule, "flow", NULL, NULL, "noise schedule")                                          \
  F(INT, diffusion_steps, 100, 1, 100000, "steps of a discrete schedule")                          \
  F(TEXT, predicts, "velocity", "eps|x0|score|v|velocity|edm", NULL,                               \
    "what the network's output is")                                                                \
  F(TEXT, distill, "none", "none|consistency", NULL,                                               \
    "what --init RUN teaches: a consistency model")                                                \
  F(TEXT, weights, "ema", "online|ema", NULL, "which weights sample")                              \
  F(TEXT, sampler, "heun", NULL, NULL, "how points are sampled")                                   \
  F(INT, sample_steps, 20, 0, 100000, "its steps; 0: all of a discrete schedule")                  \
  F(TEXT, spacing, "linspace", "linspace|leading|trailing|quadratic|lambda|karras", NULL,          \
    "at which times it steps")                                                                     \
  F(FLOAT, eta, 0.0, 0, 100, "its noise: ddim, flow_sde, sde_euler")
typedef struct {
  CONFIG_MEMBERS(TOY_MODEL_FIELDS)
} ToyShape;
extern const ConfigField toy_shape_fields[];
extern const size_t toy_shape_field_count;

typedef struct {
  ToyShape shape;
  const char *data; /* the name of the set that it learned */
  const Schedule *schedule;
  const Denoiser *denoiser;
  Params *online, *average; /* blocks "denoiser", "denoiser_ema": zeros until initialised */
  /* a student: who teaches it, by which network.  NULL otherwise */
  const Denoiser *teacher;
  Params *taught; /* block "teacher" */
} ToyModel;

/* NULL and an error (FAIL_USAGE) for a schedule, sampler or embedding that cannot be. */
ToyModel *toy_model_new(Arena *arena, const char *data, const ToyShape *shape, Error *error);

/* Texts "toy" and "model", and both blocks. */
void toy_model_save(const ToyModel *model, Checkpoint *checkpoint);
bool toy_model_read(ToyModel *model, const Checkpoint *checkpoint, Error *error); /* the blocks */
ToyModel *toy_model_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

/* Take the weights of another model as those of the teacher, and begin there.  FAIL_USAGE if it is
 * of another shape. */
bool toy_model_begin(ToyModel *student, const Checkpoint *teacher, Error *error);

/* the weights that sample */
const Params *toy_model_weights(const ToyModel *model);
SamplerSpec toy_model_sampler(const ToyModel *model);

/* Where a student's ways begin: 0, or where s/a is 80 if no signal is left at the last time. */
double toy_model_start(const ToyModel *model);

/* Points [count, 2] by a sampler; watch (nullable) sees the points after every step.  Point i
 * depends on the seed and i alone. */
typedef struct {
  SamplerSpec sampler;
  uint64_t seed;
  Pool *pool;
  const Kernels *kernels;
  SamplerWatch *watch;
  void *user;
} ToySampling;
bool toy_sample(const ToyModel *model, const ToySampling *how, int count, double *points,
                Error *error);

#endif
