/* preset.h -- published and own settings, one row each. */
#ifndef RL_PRESET_H
#define RL_PRESET_H
#include "core/error.h"
#include <stddef.h>

typedef struct {
  const char *algo, *name; /* name: a data set ("hopper-medium-v2") or "quick" */
  const char *settings;    /* "eta=1 clip=9" */
  const char *source;
} Preset;

const Preset *preset_list(size_t *count);
const Preset *preset_find(const char *algo, const char *name, Error *error);
/* The row of this algorithm and data set (a path's file name counts); NULL: none. */
const Preset *preset_for(const char *algo, const char *data);

#endif
