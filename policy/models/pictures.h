/* pictures.h -- a diffusion model of small grey pictures with labels: a U-Net. */
#ifndef POLICY_PICTURES_H
#define POLICY_PICTURES_H
#include "policy/model.h"

/* what the network is, and how it is sampled by default */
#define PICTURES_FIELDS(F)                                                                         \
  F(INT, size, 32, 4, 256, "pixels a side; smaller pictures are put on black")                     \
  F(INT, hidden, 32, 2, 1024, "channels of the first level")                                       \
  F(TEXT, mults, "1,2,4", NULL, NULL,                                                              \
    "channels of the levels, as multiples; each halves the size")                                  \
  F(INT, blocks, 2, 1, 3, "residual blocks of a level; one more on the way up")                    \
  F(INT, groups, 8, 1, 1024, "of the norms")                                                       \
  F(INT, attention, 1, 0, 5, "how many levels, from the deepest, have attention")                  \
  F(INT, heads, 4, 1, 64, "of the attention")                                                      \
  F(BOOL, labels, true, NULL, NULL, "the network is conditioned on labels")                        \
  F(TEXT, embedding, "ddpm", "ddpm|openai|edm|gaussian|fourier", NULL, "features of the time")     \
  F(TEXT, time, "thousands", "own|thousands|log-sigma", NULL, "the number they are features of")   \
  F(TEXT, schedule, "flow", NULL, NULL, "noise schedule")                                          \
  F(INT, diffusion_steps, 1000, 1, 100000, "steps of a discrete schedule")                         \
  F(TEXT, predicts, "velocity", "eps|x0|score|v|velocity|edm", NULL,                               \
    "what the network's output is")                                                                \
  F(FLOAT, data_std, 0.5, 0.001, 100, "predicts edm: standard deviation of the data")              \
  F(TEXT, weights, "ema", "online|ema", NULL, "which weights sample")                              \
  F(TEXT, sampler, "heun", NULL, NULL, "how pictures are sampled")                                 \
  F(INT, sample_steps, 15, 0, 100000, "its steps; 0: all of a discrete schedule")                  \
  F(TEXT, spacing, "linspace", "linspace|leading|trailing|quadratic|lambda|karras", NULL,          \
    "at which times it steps")                                                                     \
  F(FLOAT, guidance, 1.0, 0, 100, "towards the label (classifier-free); 1: as trained")

typedef struct {
  Model base; /* first: a PicturesModel is a Model */
  CONFIG_MEMBERS(PICTURES_FIELDS)
  int classes; /* of the labels: set before model_build */
} PicturesModel;

extern const ModelDef model_pictures;

/* A label's condition, one-hot: cond [row_stride(classes)]. */
void pictures_label(const Model *model, int label, real *cond);

enum { PICTURES_ALL_LABELS = -1 };

/* Pictures [count, size, size] in about [-1, 1], of one label, or picture i of label i % classes;
 * picture i depends on the settings and i alone.  FAIL_RUNNING if stopped. */
bool pictures_sample(const Model *model, const ModelSampling *how, int label, int count,
                     double *pictures, Error *error);

#endif
