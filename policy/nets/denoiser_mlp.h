/* denoiser_mlp.h -- eps(x_t, t, cond) for vectors: the network of Diffusion-QL. */
#ifndef POLICY_DENOISER_MLP_H
#define POLICY_DENOISER_MLP_H
#include "diffusion/denoiser.h"

/* the shape of a network for vectors */
typedef struct {
  const Schedule *schedule;
  Prediction predicts;
  double data_std; /* predicts edm: standard deviation of the data; 0: 1 */
  bool learns_variance;
  TimeInput time;     /* what it is told about the time, */
  TimeKind embedding; /* and as which features */
  int dim, cond;      /* of a point, of the condition (0: none) */
  int hidden, blocks; /* width; blocks: residual networks only */
  int octaves;        /* of point_features */
} VectorSpec;

/* Declare the network's parameters in p.  The result holds shapes and slots, no numbers: apply it
 * with any Params of this layout (online, target, average).  Both CHECK that the time embedding
 * fits 16 (mlp) and 64 (residual) numbers, as all of them do. */
Denoiser *vector_mlp_new(Arena *arena, Params *p, const VectorSpec *spec);

/* The same with the sinusoids of Diffusion-QL. */
Denoiser *mlp_denoiser_new(Arena *arena, Params *p, const Schedule *schedule, Prediction predicts,
                           int dim, int cond, int hidden);

/* ---- what networks for vectors share --------------------------------------------------------- */

Denoiser vector_denoiser(const VectorSpec *spec); /* all but net and embed */
int vector_outputs(const VectorSpec *spec);

/* features of the time, with the slot of their frequencies if those are trained (fourier) */
typedef struct {
  TimeKind kind;
  int dim, frequencies; /* a slot, or -1 */
} TimeFeatures;
TimeFeatures time_features_new(Params *p, TimeKind kind, int dim);
/* [x, sin x, cos x, sin 2x, cos 2x, ..] with as many octaves (Mildenhall et al. 2020, eq. 4): a
 * network of plain x is slow to learn what changes over short ways (Tancik et al. 2020). */
Tensor *point_features(Tensor *x, int octaves);
int point_width(const VectorSpec *spec); /* of all inputs but the time */

Tensor *time_features(const TimeFeatures *f, Graph *g, const Params *p, Tensor *t);

#endif
