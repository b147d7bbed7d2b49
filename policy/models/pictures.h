/* pictures.h -- a diffusion model of small grey pictures with labels: a U-Net, its numbers, and
 * what they draw.  A checkpoint holds it whole, so one file suffices to sample. */
#ifndef POLICY_PICTURES_H
#define POLICY_PICTURES_H
#include "core/checkpoint.h"
#include "core/config.h"
#include "diffusion/sampler.h"

/* what the network is, and how it is asked by default */
#define IMAGE_MODEL_FIELDS(F)                                                                      \
  F(INT, size, 32, 4, 256, "pixels a side; smaller pictures are put on black")                     \
  F(INT, hidden, 32, 2, 1024, "channels of the first level")                                       \
  F(TEXT, mults, "1,2,4", NULL, NULL,                                                              \
    "channels of the levels, as multiples; each halves the size")                                  \
  F(INT, blocks, 2, 1, 3, "residual blocks of a level; one more on the way up")                    \
  F(INT, groups, 8, 1, 1024, "of the norms")                                                       \
  F(INT, attention, 1, 0, 5, "how many levels, from the deepest, have attention")                  \
  F(INT, heads, 4, 1, 64, "of the attention")                                                      \
  F(BOOL, labels, true, NULL, NULL, "the network is told what to draw")                            \
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
  CONFIG_MEMBERS(IMAGE_MODEL_FIELDS)
} ImageShape;
extern const ConfigField image_shape_fields[];
extern const size_t image_shape_field_count;

typedef struct {
  ImageShape shape;
  const char *data; /* what it learned: a name or a folder */
  int classes;
  const Schedule *schedule;
  const Denoiser *denoiser;
  Params *online, *average; /* blocks "denoiser", "denoiser_ema": zeros until initialised */
} ImageModel;

/* NULL and an error (FAIL_USAGE) for a network, schedule or sampler that cannot be. */
ImageModel *image_model_new(Arena *arena, const char *data, int classes, const ImageShape *shape,
                            Error *error);

/* Texts "images", "classes" and "model", and both blocks. */
void image_model_save(const ImageModel *model, Checkpoint *checkpoint);
bool image_model_read(ImageModel *model, const Checkpoint *checkpoint, Error *error); /* blocks */
bool image_model_saved(const Checkpoint *checkpoint); /* is it a file of such a model? */
ImageModel *image_model_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

const Params *image_model_weights(const ImageModel *model); /* those that sample */
int image_model_cond(const ImageModel *model);              /* numbers of a condition; 0: none */
/* picture i's label, one-hot: cond [row_stride(classes)] */
void image_model_label(const ImageModel *model, int label, real *cond);

enum { IMAGE_ALL_LABELS = -1 };
typedef struct {
  SamplerSpec sampler;
  double guidance; /* 1: none */
  int label;       /* or IMAGE_ALL_LABELS: picture i has label i % classes */
  uint64_t seed;
  Pool *pool;
  const Kernels *kernels;
  /* nullable: sees how many of `count` are drawn, before every part; false stops */
  bool (*watch)(int drawn, int count);
} ImageSampling;
ImageSampling image_model_sampling(const ImageModel *model); /* as its settings say */

/* Pictures [count, size, size] in about [-1, 1]; picture i depends on the settings and i alone.
 * FAIL_RUNNING if stopped. */
bool image_sample(const ImageModel *model, const ImageSampling *how, int count, double *pictures,
                  Error *error);

#endif
