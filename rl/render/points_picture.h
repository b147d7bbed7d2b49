/* points_picture.h -- what a model of points has learned, as PNG files. */
#ifndef RL_POINTS_PICTURE_H
#define RL_POINTS_PICTURE_H
#include "rl/measure/points_distance.h"

/* Data beside `points` [count, 2] under their title. */
bool points_plot_samples(const ToyDef *data, uint64_t seed, const double *points, int count,
                         const char *title, const char *path, Error *error);

/* The learned score as arrows over the density of noisy data, at three noise levels. */
bool points_plot_field(const Model *model, const ToyDef *data, const ModelSampling *how,
                       const char *path, Error *error);

/* The ways of a few points from noise to data, by the ODE (ddim) and by the SDE (ddpm). */
bool points_plot_paths(const Model *model, const ToyDef *data, const ModelSampling *how,
                       const char *path, Error *error);

#endif
