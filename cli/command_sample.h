/* command_sample.h -- what `diffrl sample` is asked for, and who answers for each kind of model. */
#ifndef CLI_SAMPLE_H
#define CLI_SAMPLE_H
#include "cli/command.h"
#include "core/checkpoint.h"
#include "diffusion/sampler.h"
#include "policy/model.h"

typedef struct {
  Parsed parsed;
  const char *which, *sampler, *spacing, *label, *guidance, *threshold, *sheet, *rows, *out;
  int64_t count, steps, seed, threads;
} Sample;

typedef struct {
  const Sample *asked;
  const Checkpoint *checkpoint;
  Arena *arena;
  Pool *pool;
  const Kernels *kernels;
  Progress *progress;
} SampleJob;

bool sample_points(const SampleJob *job, Error *error); /* of `diffrl train toy` */
bool sample_images(const SampleJob *job, Error *error); /* of `diffrl train image` */
bool sample_plans(const SampleJob *job, Error *error);  /* of `diffrl train diffuser` */

/* The model's sampler with what was asked for instead.  One that cannot begin where no signal is
 * left begins just before it, as the figures of `train toy` do, and a line says so. */
void sample_choose(const SampleJob *job, const Model *model, SamplerSpec *sampler);

/* The second half of it: a sampler that was chosen, at its beginning. */
void sample_settle(const Model *model, SamplerSpec *sampler);

/* Can the table of this sampler be made? */
bool sample_fits(const SamplerSpec *sampler, const Model *model);

/* FAIL_USAGE if something is asked for that only models of pictures have. */
bool sample_refuse_pictures(const Sample *asked, Error *error);

/* Are all numbers finite, of which one of the arrays [count] holds them?  FAIL_DIVERGED. */
bool sample_check(const double *values, const float *floats, size_t count, const char *sampler,
                  Error *error);

/* Is there memory for so many samples?  FAIL_USAGE if not. */
bool sample_has_room(int count, size_t bytes_each, Error *error);

bool sample_ends(const char *path, const char *end); /* "a.png", ".png" */

/* NumPy's file of doubles. */
bool sample_write_npy(const char *path, const double *values, const int shape[], int rank,
                      Error *error);

#endif
