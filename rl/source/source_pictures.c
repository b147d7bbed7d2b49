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

/* what the algorithm's settings say about the data; one without it takes pictures as they are */
typedef struct {
  int64_t resize;
} Settings;

#define CONFIG_STRUCT Settings
static const ConfigField own_fields[] = { CONFIG_ROWS(PICTURE_DATA_FIELDS) };
#undef CONFIG_STRUCT

static Settings settings_of(const SourceRequest *request) {
  Settings settings;
  Config config;
  config_init(&config, own_fields, sizeof own_fields / sizeof *own_fields, &settings);
  config_copy(&config, request->fields, request->field_count, request->config);
  return settings;
}

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
  const ImageSet *set =
      images_open_resized(request->arena, request->data, (int)settings_of(request).resize, error);
  /* a resumed run must go on with the same pictures */
  if (!set || !source_same(request, set->name, set->hash, error)) return NULL;
  return pictures_new(request->arena, set);
}

static void announce_pictures(const Source *source) {
  const ImageSet *set = images_of(source);
  const Images *train = &set->train;
  char names[512] = "", skipped[64] = "", labels[32] = "no labels";
  if (set->classes) snprintf(labels, sizeof labels, "%d labels", set->classes);
  for (int i = 0; i < set->classes; i++) {
    const char *name = images_label(set, i);
    size_t length = strlen(names);
    if (name)
      snprintf(names + length, sizeof names - length, "%s%d %s", *names ? ", " : ": ", i, name);
  }
  if (set->skipped)
    snprintf(skipped, sizeof skipped, "; %d other files were passed over", set->skipped);
  log_progress(true, "data: %d pictures to train, %d to test, %d x %d, %s%s%s%s", train->count,
               set->test.count, train->height, train->width,
               train->channels > 1 ? "in colour, " : "", labels, names, skipped);
}

const SourceDef source_pictures = {
  .name = "pictures",
  .about = "from pictures",
  .asks = "learns pictures: give --data fashion-mnist, or a folder of IDX, PNG or JPEG files",
  .open = open_pictures,
  .announce = announce_pictures,
};
