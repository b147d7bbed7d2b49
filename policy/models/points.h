/* points.h -- a diffusion model of points in the plane: everything of diffusion/ on data that one
 * can see. */
#ifndef POLICY_POINTS_H
#define POLICY_POINTS_H
#include "policy/model.h"

enum { TOY_DIM = 2 };

/* what the network is, and how it is sampled by default */
#define POINTS_FIELDS(F)                                                                           \
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
  Model base; /* first: a PointsModel is a Model */
  CONFIG_MEMBERS(POINTS_FIELDS)
  /* of a consistency model: the network that teaches it, and its weights; else NULL */
  const Denoiser *teacher;
  Params *taught; /* block "teacher" */
} PointsModel;

extern const ModelDef model_points;

/* Start time of a student's trajectories: time 0 for the last time, or where s/a is 80 if no signal
 * is left at the last time. */
double points_start(const Schedule *schedule);

/* Points [count, 2]; point i depends on the seed and i alone. */
bool points_sample(const Model *model, const ModelSampling *how, int count, double *points,
                   Error *error);

#endif
