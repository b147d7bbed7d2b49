/* pictures.h -- a diffusion model of small pictures, grey or RGB, with labels or without: a U-Net
 * or a transformer of patches. */
#ifndef POLICY_PICTURES_H
#define POLICY_PICTURES_H
#include "policy/model.h"

/* what the network is, and how it is sampled by default */
#define PICTURES_FIELDS(F)                                                                         \
  F(INT, size, 32, 4, 256, "pixels a side; smaller pictures are put on black")                     \
  F(INT, resize, 0, 0, 256, "side that the data are averaged to; 0: as they are")                  \
  F(TEXT, net, "unet", "unet|dit", NULL, "U-Net, or diffusion transformer")                        \
  F(INT, hidden, 32, 2, 1024, "channels of the first level; dit: of all")                          \
  F(TEXT, mults, "1,2,4", NULL, NULL,                                                              \
    "channels of the levels, as multiples; each halves the size")                                  \
  F(INT, blocks, 2, 1, 8, "of a level (1 to 3; one more on the way up); dit: in all")              \
  F(INT, patch, 2, 1, 64, "dit: pixels a side of a token")                                         \
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
  /* of the data: set before model_build, and kept in the file */
  int classes;                   /* labels; 0: none */
  int channels;                  /* 1, which 0 stands for, or 3 */
  const char *const *label_name; /* [classes] where a folder's names are the labels'; else NULL */
} PicturesModel;

extern const ModelDef model_pictures;

/* A picture as the network sees it; numbers: how many that are. */
Plane pictures_plane(const PicturesModel *model);
int pictures_numbers(const PicturesModel *model);
int pictures_labels(const PicturesModel *model); /* that it is conditioned on; 0: none */

/* ALL: in turn.  NO: zeros, which the network sees in training where a label is dropped. */
enum { PICTURES_ALL_LABELS = -1, PICTURES_NO_LABEL = -2 };

/* A label's condition, one-hot, or zeros (NO_LABEL): cond [row_stride(classes)]. */
void pictures_label(const Model *model, int label, real *cond);

/* Pictures [count, size, size, channels] in about [-1, 1], of one label or none, or (ALL) picture i
 * of label i % classes; picture i depends on the settings and i alone.  FAIL_RUNNING if stopped. */
bool pictures_sample(const Model *model, const ModelSampling *how, int label, int count,
                     double *pictures, Error *error);

#endif
