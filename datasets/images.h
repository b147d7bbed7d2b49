/* images.h -- sets of pictures, to train and to test: four files in the IDX format of MNIST in one
 * folder, compressed by gzip or not ({train,t10k}-images-idx3-ubyte and {train,t10k}-labels-
 * idx1-ubyte), or a folder of PNG and JPEG files (image_folder.h). */
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

/* What this label of the listed set is called ("fashion-mnist", 7: "sneaker"); NULL: the set is not
 * listed, or has no such label. */
const char *images_label_name(const char *set, int label);

/* The label that a text means: its number from 0 to classes - 1, its name, or a word that one name
 * alone has ("boot" for "ankle boot"); capitals do not matter.  names: [classes] of a folder's
 * labels, or NULL: those of the listed set.  FAIL_USAGE with all numbers and names. */
bool images_label_find(const char *set, const char *const *names, int classes, const char *text,
                       int *label, Error *error);

enum { IMAGES_MOST_CLASSES = 256, IMAGES_MOST_SIDE = 1024, IMAGES_MOST_BYTES = 1 << 30 };

typedef struct {
  int count, height, width;
  const uint8_t *pixel; /* [count, height, width, channels], 0 black */
  const uint8_t *label; /* [count]; 0 where there are none */
  int channels;         /* 1: grey, 3: RGB */
} Images;

typedef struct {
  const char *name;     /* as given: a name of the list or a folder */
  const ImagesDef *def; /* NULL: a folder */
  Images train, test;
  int classes;                   /* labels are less than it; 0: there are none */
  const char *const *label_name; /* [classes] of a folder with folders; else NULL */
  int skipped;                   /* files of a folder that are no pictures by their names */
  char hash[MURMUR_TEXT];        /* of all that was read */
} ImageSet;

/* The set of this name or folder; lives in the arena.  NULL with what to do (FAIL_INPUT) if it is
 * not there, not of these formats, or larger than IMAGES_MOST_SIDE pixels a side and
 * IMAGES_MOST_BYTES.  With `resize` pixels, the middle square of every picture is resized to so
 * many a side (image_resize.h), and without (0) all must be of one size. */
ImageSet *images_open(Arena *arena, const char *name, Error *error);
ImageSet *images_open_resized(Arena *arena, const char *name, int resize, Error *error);

/* What a label of this set is called; NULL: it has no name. */
const char *images_label(const ImageSet *set, int label);

/* Picture i as numbers in [-1, 1], in the middle of [side, side, channels], black (-1) around it;
 * the set's pictures are at most so large. */
void images_decode(const Images *images, int64_t i, int side, real *x);

#endif
