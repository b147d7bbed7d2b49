/* toy_pictures.h -- what a model of points has learned, to be seen: PNG files, and one table of how
 * good every sampler is with how many questions to the network. */
#ifndef RL_TOY_PICTURES_H
#define RL_TOY_PICTURES_H
#include "rl/toy.h"

/* Data beside `points` [count, 2] under their title. */
bool toy_picture_points(const ToyModel *model, uint64_t seed, const double *points, int count,
                        const char *title, const char *path, Error *error);

/* The learned score as arrows over the density of noisy data, at three noise levels. */
bool toy_picture_field(const ToyModel *model, const ToySampling *how, const char *path,
                       Error *error);

/* The ways of a few points from noise to data, by the ODE (ddim) and by the SDE (ddpm). */
bool toy_picture_paths(const ToyModel *model, const ToySampling *how, const char *path,
                       Error *error);

/* A JSON array, one object for each sampler that can do this model and each budget of evaluations:
 * its distance to data (toy_distance) and the floor; for gmm on continuous schedules, for methods
 * without noise, also the strong error with the exact score: the root mean square distance of its
 * points to where the ODE leads. */
bool toy_compare_samplers(const ToyModel *model, const ToySampling *how, const char *path,
                          Error *error);

/* All of the above into a run's folder: samples.png, field.png, paths.png, samplers.json. */
bool toy_show(const ToyModel *model, const ToySampling *how, const char *folder, Error *error);

#endif
