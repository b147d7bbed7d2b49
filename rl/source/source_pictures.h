/* source_pictures.h -- sets of pictures with labels (datasets/images.h). */
#ifndef RL_SOURCE_PICTURES_H
#define RL_SOURCE_PICTURES_H
#include "datasets/images.h"
#include "rl/source/source.h"

extern const SourceDef source_pictures;

/* What a source of pictures finds among an algorithm's settings. */
#define PICTURE_DATA_FIELDS(F)                                                                     \
  F(INT, resize, 0, 0, 256, "side that the data are averaged to; 0: as they are")

const ImageSet *images_of(const Source *source); /* CHECKs the kind */

/* One of pictures in memory, which must outlive it; lives in the arena. */
Source *pictures_new(Arena *arena, const ImageSet *set);

#endif
