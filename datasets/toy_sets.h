/* toy.h -- endless data sets in the plane, to see with one's own eyes what a model has learned.
 *
 * Every set is shifted to mean 0 and divided by one number, so that the variances of its two
 * coordinates average exactly 1.  Nothing lies outside [-4, 4]^2. */
#ifndef DATASETS_TOY_H
#define DATASETS_TOY_H
#include "core/error.h"
#include "core/rng.h"
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *name, *about;
  void (*sample)(Rng rng, uint64_t i, double out[2]); /* before shift and division */
  double mean[2], variance;                           /* of what sample gives, in closed form */
} ToyDef;

const ToyDef *toy_list(size_t *count);

/* NULL and FAIL_USAGE for an unknown name, with the nearest one. */
const ToyDef *toy_find(const char *name, Error *error);

/* Sample i of the set under this seed: a function of (def, seed, i) alone. */
void toy_sample(const ToyDef *def, uint64_t seed, uint64_t i, double out[2]);

/* The set "gmm" is this Gaussian mixture, whose score is known. */
typedef struct {
  double weight, mean[2];
  double xx, xy, yy; /* covariance */
} ToyGaussian;

enum { TOY_GMM = 3 };
extern const ToyGaussian toy_gmm[TOY_GMM];

/* ln p(x) for x = a x_0 + s eps, x_0 from gmm, eps ~ N(0, I); a = 1, s = 0 is the set itself.  The
 * gradient goes to score, which may be NULL. */
double toy_gmm_log_density(const double x[2], double a, double s, double score[2]);

#endif
