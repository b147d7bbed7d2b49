/* points_distance.c -- samples beside data that were not trained on. */
#include "rl/measure/points_distance.h"
#include "core/maths/distance.h"
#include "core/rng.h"

void points_data(const ToyDef *data, uint64_t seed, uint64_t from, int count, double *points) {
  for (int i = 0; i < count; i++) toy_sample(data, seed, from + (uint64_t)i, points + TOY_DIM * i);
}

/* directions of the sliced distance, and how often the floor is averaged */
enum { DIRECTIONS = 32, FLOOR_DRAWS = 16 };

/* the two sets of draw d that are compared: held-out data, and data or samples */
typedef struct {
  Arena *arena;
  uint64_t held;
  double *a, *b;
  int count;
} Pair;

/* The stream "held out" is none that training samples from. */
static Pair pair_new(uint64_t seed, int count) {
  Arena *arena = arena_new();
  return (Pair){ arena, rng_seed(seed, "held out"), arena_array(arena, double, count *TOY_DIM),
                 arena_array(arena, double, count *TOY_DIM), count };
}

/* Sets of one size that follow one another in the stream, so that none share a point. */
static void sample_data(const Pair *p, const ToyDef *data, int set, double *to) {
  points_data(data, p->held, (uint64_t)set * (uint64_t)p->count, p->count, to);
}

static double pair_distance(const Pair *p, int d) {
  return distance_sliced_wasserstein(p->arena, p->a, p->b, p->count, TOY_DIM, DIRECTIONS,
                                     (uint64_t)d);
}

bool points_distance(const Model *m, const ToyDef *data, const ModelSampling *how, int count,
                     int draws, double *distance, Error *error) {
  Pair p = pair_new(how->seed, count);
  ModelSampling this = *how;
  bool done = true;
  *distance = 0;
  for (int d = 0; d < draws && done; d++) {
    /* each draw has noise of its own, and data of its own to compare with */
    this.seed = rng_seed(how->seed, "measure") + (uint64_t)d;
    sample_data(&p, data, 2 * d, p.a);
    done = points_sample(m, &this, count, p.b, error);
    *distance += pair_distance(&p, d) / draws;
  }
  arena_free(p.arena);
  return done;
}

double points_floor(const ToyDef *data, uint64_t seed, int count) {
  Pair p = pair_new(seed, count);
  double sum = 0;
  for (int d = 0; d < FLOOR_DRAWS; d++) {
    /* the same data as points_distance compares with, and fresh data in place of samples */
    sample_data(&p, data, 2 * d, p.a), sample_data(&p, data, 2 * d + 1, p.b);
    sum += pair_distance(&p, d);
  }
  arena_free(p.arena);
  return sum / FLOOR_DRAWS;
}
