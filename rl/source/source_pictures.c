/* source_pictures.c -- pictures are read whole when a run begins. */
#include "rl/source/source_pictures.h"
#include "core/check.h"
#include "core/log.h"
#include <stdio.h>
#include <string.h>

typedef struct {
  Source source;
  const ImageSet *set;
} Pictures;

const ImageSet *images_of(const Source *source) {
  CHECK(source->def == &source_pictures, "source: %s", source->def->name);
  return ((const Pictures *)source)->set;
}

Source *pictures_new(Arena *arena, const ImageSet *set) {
  Pictures *pictures = arena_alloc(arena, sizeof *pictures);
  *pictures = (Pictures){ { .def = &source_pictures, .name = set->name, .hash = set->hash }, set };
  return &pictures->source;
}

static Source *open_pictures(const SourceRequest *request, Error *error) {
  const ImageSet *set = images_open(request->arena, request->data, error);
  /* a resumed run must go on with the same pictures */
  if (!set || !source_same(request, set->name, set->hash, error)) return NULL;
  return pictures_new(request->arena, set);
}

static void announce_pictures(const Source *source) {
  const ImageSet *set = images_of(source);
  char names[512] = "";
  for (int i = 0; set->def && i < set->classes && i < IMAGES_MAX_NAMES; i++)
    if (set->def->class_name[i])
      snprintf(names + strlen(names), sizeof names - strlen(names), "%s%d %s", i ? ", " : ": ", i,
               set->def->class_name[i]);
  log_progress(true, "data: %d pictures to train, %d to test, %d x %d, %d labels%s",
               set->train.count, set->test.count, set->train.height, set->train.width, set->classes,
               names);
}

const SourceDef source_pictures = {
  .name = "pictures",
  .about = "from pictures",
  .asks = "learns pictures: give --data fashion-mnist, or a folder of IDX files",
  .open = open_pictures,
  .announce = announce_pictures,
};
