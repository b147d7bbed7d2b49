/* images.h -- sets of pictures with labels: four files in the IDX format of MNIST, in one folder,
 * compressed by gzip or not: {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte. */
#ifndef DATASETS_IMAGES_H
#define DATASETS_IMAGES_H
#include "core/arena.h"
#include "core/error.h"
#include "core/real.h"
#include "datasets/murmur.h"
#include <stdbool.h>
#include <stdint.h>

enum { IMAGES_MAX_NAMES = 10 };
/* where a named set lies, and what its labels mean */
typedef struct {
  const char *name, *about, *folder, *package;
  const char *class_name[IMAGES_MAX_NAMES]; /* NULL behind the last */
} ImagesDef;
const ImagesDef *images_list(size_t *count);

typedef struct {
  int count, height, width;
  const uint8_t *pixel; /* [count, height, width], 0 black */
  const uint8_t *label; /* [count] */
} Images;

typedef struct {
  const char *name;     /* as given: a name of the list or a folder */
  const ImagesDef *def; /* NULL: a folder */
  Images train, test;
  int classes;            /* labels are less than it */
  char hash[MURMUR_TEXT]; /* of all that was read */
} ImageSet;

/* The set of this name or folder; lives in the arena.  NULL with what to do (FAIL_INPUT) if it is
 * not there or not of this format. */
ImageSet *images_open(Arena *arena, const char *name, Error *error);

/* Picture i as numbers in [-1, 1], in the middle of [side, side], black (-1) around it; the set's
 * pictures are at most so large. */
void images_decode(const Images *images, int64_t i, int side, real *x);

#endif
