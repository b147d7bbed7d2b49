/* reward.h -- what a sample is worth: the numbers that fine-tuning raises.  Rows of one table.
 *
 * A reward is named on the command line as NAME or NAME:ARGUMENT ("jpeg-small", "class:sneaker",
 * "exec:./score.py").  It sees samples as the network gives them, clipped to [-1, 1] where they are
 * pictures (-1 black, 1 white), and gives one number each, of which more is better.  A reward that
 * is differentiable can be recorded on a tape too. */
#ifndef RL_REWARD_H
#define RL_REWARD_H
#include "core/arena.h"
#include "core/error.h"
#include "core/kernels/kernels.h"
#include "core/ops/ops.h"
#include "core/parallel.h"

/* What it is to see.  A point of `channels` numbers is a plane of 1 x 1 that is no picture. */
typedef struct {
  Plane plane;
  bool pictures;    /* else points */
  const char *data; /* what the generator has learned: "fashion-mnist", or a folder; nullable */
  Pool *pool;       /* nullable: this thread alone */
  const Kernels *kernels;
  double seconds; /* that code of the user's may take for a call; 0: 60 */
  bool measures;  /* nothing is trained on it, so the network that measures may be asked */
} RewardSpec;

typedef struct RewardDef RewardDef;
typedef struct {
  const RewardDef *def;
  Arena *arena;
  RewardSpec spec;
  int dim;          /* numbers of a sample */
  const char *text; /* as it was named */
  void *own;        /* of the row */
} Reward;

struct RewardDef {
  const char *name;
  const char *takes; /* nullable: what is to stand behind the colon: "NAME", "FILE.png" */
  const char *about;
  bool points; /* of points; else of pictures */
  /* nullable: prepare; argument is NULL where nothing stands behind a colon */
  bool (*open)(Reward *reward, const char *argument, Error *error);
  /* samples [count, dim] without gaps -> value [count]; FAIL_RUNNING, and nothing is lost, where
   * code of the user's fails */
  bool (*values)(Reward *reward, const float *samples, int count, float *value, Error *error);
  /* nullable: what gradients raise, on a tape: x ROW [k, 1, dim] -> [k, 1, 1].  The value, or where
   * `about` says so its logarithm, which has a slope where the value is nearly 0 */
  Tensor *(*record)(const Reward *reward, Graph *g, Tensor *x);
  void (*close)(Reward *reward); /* nullable: what is not in the arena */
};

/* how long code of the user's may take for one call */
double reward_seconds(const Reward *reward);

const RewardDef *const *reward_list(size_t *count);

/* FAIL_USAGE for an unknown name, with the nearest, and for samples that it cannot see; FAIL_INPUT
 * for a file that is not there or not of its kind.  Lives in the arena, and must be closed. */
Reward *reward_open(Arena *arena, const char *text, const RewardSpec *spec, Error *error);
void reward_close(Reward *reward); /* may be NULL */

/* x: [count, stride], stride >= dim, of which pictures are clipped.  FAIL_RUNNING for a value that
 * is not finite, with its number. */
bool reward_values(Reward *reward, const real *x, ptrdiff_t stride, int count, float *value,
                   Error *error);

/* NULL and an error (FAIL_USAGE) for a reward without gradient, with those that have one. */
Tensor *reward_record(const Reward *reward, Graph *g, Tensor *x, Error *error);

#endif
