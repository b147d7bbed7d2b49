/* source_points.c -- a set is its name: nothing is opened. */
#include "rl/source/source_points.h"
#include "core/check.h"

typedef struct {
  Source source;
  const ToyDef *set;
} Points;

const ToyDef *points_of(const Source *source) {
  CHECK(source->def == &source_points, "source: %s", source->def->name);
  return ((const Points *)source)->set;
}

/* the content of a set follows from its name, so a resumed run need not compare any */
static Source *open_points(const SourceRequest *request, Error *error) {
  const ToyDef *set = toy_find(request->data, error);
  if (!set) return NULL;
  Points *points = arena_alloc(request->arena, sizeof *points);
  *points = (Points){ { .name = set->name }, set };
  return &points->source;
}

const SourceDef source_points = {
  .name = "points",
  .about = "from points",
  .asks = "learns a set of points: give --data swissroll, moons, rings, checkerboard, 8gaussians, "
          "2spirals or gmm",
  .open = open_points,
};
