/* images.c -- reading IDX files (yann.lecun.com/exdb/mnist): a magic number that tells type and
 * rank, the sizes, then the bytes; numbers are big-endian. */
#include "datasets/images.h"
#include "core/check.h"
#include "datasets/gzip.h"
#include "datasets/image_folder.h"
#include "datasets/image_resize.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const ImagesDef sets[] = {
  { "fashion-mnist",
    "60,000 + 10,000 pictures of clothes, 28 x 28 (Xiao et al. 2017)",
    "/usr/share/datasets/fashion-mnist",
    "dataset-fashion-mnist",
    { "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
      "ankle boot" } },
};

const ImagesDef *images_list(size_t *count) {
  *count = sizeof sets / sizeof *sets;
  return sets;
}

const char *images_label_name(const char *set, int label) {
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (!strcmp(sets[i].name, set) && label >= 0 && label < IMAGES_MAX_NAMES)
      return sets[i].class_name[label];
  return NULL;
}

/* Is it one of the words of the name?  Words have blanks between them. */
static bool has_word(const char *name, const char *word) {
  size_t length = strlen(word);
  for (const char *at = name; length && *at; at += strcspn(at, " "), at += strspn(at, " "))
    if (!strncasecmp(at, word, length) && (!at[length] || at[length] == ' ')) return true;
  return false;
}

/* by its whole name, or by a word that is in no other; -1: by neither */
static int find_name(const char *const name[], int classes, const char *text) {
  int found = -1, times = 0;
  for (int i = 0; i < classes; i++) {
    if (!name[i]) continue;
    if (!strcasecmp(name[i], text)) return i;
    if (has_word(name[i], text)) found = i, times++;
  }
  return times == 1 ? found : -1;
}

bool images_label_find(const char *set, const char *const *names, int classes, const char *text,
                       int *label, Error *error) {
  const char *name[IMAGES_MOST_CLASSES];
  char *end, all[512] = "";
  CHECK(classes <= IMAGES_MOST_CLASSES, "%d labels", classes);
  for (int i = 0; i < classes; i++) name[i] = names ? names[i] : images_label_name(set, i);
  long number = strtol(text, &end, 10);
  *label = find_name(name, classes, text);
  /* numbers always work, names where the set has them */
  if (*label < 0 && end != text && !*end && number >= 0 && number < classes) *label = (int)number;
  if (*label >= 0) return true;
  for (int i = 0; i < classes && name[i]; i++) {
    size_t length = strlen(all);
    snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : ", or one of ", name[i]);
  }
  return error_set(error, FAIL_USAGE, "expected 0 to %d%s", classes - 1, all);
}

const char *images_label(const ImageSet *set, int label) {
  CHECK(0 <= label && label < set->classes, "label %d of %d", label, set->classes);
  return set->label_name ? set->label_name[label] : images_label_name(set->name, label);
}

/* ---- one file -------------------------------------------------------------------------------- */

enum { MOST_RANK = 3 };

typedef struct {
  uint8_t *data;
  int64_t size[MOST_RANK], total;
} Idx;

static int64_t big_endian(const uint8_t *b) {
  return (int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | b[3];
}

static bool parse(Idx *idx, uint8_t *bytes, size_t length, int rank, Error *error) {
  size_t header = 4 + 4 * (size_t)rank;
  const uint8_t magic[] = { 0, 0, 8, (uint8_t)rank };
  if (length < header || memcmp(bytes, magic, sizeof magic) != 0)
    return error_set(error, FAIL_INPUT, "not an IDX file of bytes with %d axes", rank);
  idx->data = bytes + header, idx->total = 1;
  for (int i = 0; i < rank; i++) {
    idx->size[i] = big_endian(bytes + 4 + 4 * (size_t)i);
    if (idx->size[i] < 1 || (i && idx->size[i] > IMAGES_MOST_SIDE) ||
        idx->size[i] > IMAGES_MOST_BYTES)
      return error_set(error, FAIL_INPUT, "axis %d has %lld entries, expected 1 to %d", i,
                       (long long)idx->size[i], i ? IMAGES_MOST_SIDE : IMAGES_MOST_BYTES);
    idx->total *= idx->size[i];
  }
  if (idx->total == (int64_t)(length - header)) return true;
  return error_set(error, FAIL_INPUT, "its header promises %lld bytes, but %lld follow",
                   (long long)idx->total, (long long)(length - header));
}

/* FOLDER/NAME or FOLDER/NAME.gz */
static bool read_idx(Idx *idx, Arena *arena, const char *folder, const char *name, int rank,
                     Murmur *sum, Error *error) {
  const char *path = arena_text(arena, "%s/%s.gz", folder, name);
  if (access(path, F_OK)) path = arena_text(arena, "%s/%s", folder, name);
  size_t length;
  uint8_t *bytes = gzip_read(arena, path, IMAGES_MOST_BYTES, &length, error);
  if (!bytes) return false;
  murmur_add(sum, bytes, length);
  return parse(idx, bytes, length, rank, error) || error_prefix(error, "%s", path);
}

/* ---- the set --------------------------------------------------------------------------------- */

static bool read_part(Images *part, Arena *arena, const char *folder, const char *name, Murmur *sum,
                      Error *error) {
  Idx pixels, labels;
  const char *images = arena_text(arena, "%s-images-idx3-ubyte", name);
  if (!read_idx(&pixels, arena, folder, images, 3, sum, error) ||
      !read_idx(&labels, arena, folder, arena_text(arena, "%s-labels-idx1-ubyte", name), 1, sum,
                error))
    return false;
  if (pixels.size[0] != labels.size[0])
    return error_set(error, FAIL_INPUT, "%s/%s: %lld pictures, but %lld labels", folder, images,
                     (long long)pixels.size[0], (long long)labels.size[0]);
  *part = (Images){ (int)pixels.size[0], (int)pixels.size[1], (int)pixels.size[2],
                    pixels.data,         labels.data,         1 };
  return true;
}

/* 1 + the greatest label of training; false if others are tested */
static bool count_classes(ImageSet *set, Error *error) {
  for (int i = 0; i < set->train.count; i++)
    if (set->train.label[i] >= set->classes) set->classes = set->train.label[i] + 1;
  for (int i = 0; i < set->test.count; i++)
    if (set->test.label[i] >= set->classes)
      return error_set(error, FAIL_INPUT,
                       "%s: test picture %d has label %d, which no training picture has", set->name,
                       i, set->test.label[i]);
  return true;
}

static const char *folder_of(ImageSet *set, Error *error) {
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if (!strcmp(sets[i].name, set->name)) set->def = &sets[i];
  const char *folder = set->def ? set->def->folder : set->name;
  if (!access(folder, F_OK)) return folder;
  if (set->def)
    error_set(error, FAIL_INPUT,
              "%s is not in %s; install it with `scripts/setup.sh images` (Debian's package %s), "
              "or give --data FOLDER with its four files",
              set->name, folder, set->def->package);
  else
    error_set(error, FAIL_INPUT,
              "no pictures at %s: expected a name of `diffrl list datasets`, or a folder with IDX, "
              "PNG or JPEG files",
              set->name);
  return NULL;
}

static bool has_idx(Arena *arena, const char *folder) {
  const char *path = arena_text(arena, "%s/train-images-idx3-ubyte", folder);
  return !access(path, F_OK) || !access(arena_text(arena, "%s.gz", path), F_OK);
}

static bool read_parts(ImageSet *set, Arena *arena, const char *folder, Murmur *sum, Error *error) {
  if (!read_part(&set->train, arena, folder, "train", sum, error) ||
      !read_part(&set->test, arena, folder, "t10k", sum, error) || !count_classes(set, error))
    return false;
  return (set->train.height == set->test.height && set->train.width == set->test.width) ||
         error_set(error, FAIL_INPUT, "%s: pictures to train and to test are not of one size",
                   set->name);
}

/* Pictures that were read whole, at another size. */
static void resize_part(Images *part, Arena *arena, int side) {
  if (part->height == side && part->width == side) return;
  int64_t from = (int64_t)part->height * part->width * part->channels;
  int64_t to = (int64_t)side * side * part->channels;
  uint8_t *pixel = arena_alloc(arena, (size_t)(part->count * to));
  for (int64_t i = 0; i < part->count; i++) {
    Image one = { part->width, part->height, part->channels,
                  (uint8_t *)(uintptr_t)part->pixel + i * from };
    image_resize(&one, side, pixel + i * to);
  }
  part->pixel = pixel, part->height = part->width = side;
}

ImageSet *images_open_resized(Arena *arena, const char *name, int resize, Error *error) {
  ImageSet *set = arena_alloc(arena, sizeof *set);
  Murmur sum = { 0 };
  set->name = name;
  const char *folder = folder_of(set, error);
  bool idx = folder && (set->def || has_idx(arena, folder));
  if (!folder || !(idx ? read_parts(set, arena, folder, &sum, error)
                       : image_folder_read(set, arena, folder, resize, &sum, error)))
    return NULL;
  if (idx && resize)
    resize_part(&set->train, arena, resize), resize_part(&set->test, arena, resize);
  /* the same files at another size are other pictures */
  if (resize) murmur_add(&sum, &resize, sizeof resize);
  murmur_text(murmur_sum(&sum), set->hash);
  return set;
}

ImageSet *images_open(Arena *arena, const char *name, Error *error) {
  return images_open_resized(arena, name, 0, error);
}

void images_decode(const Images *images, int64_t i, int side, real *x) {
  int height = images->height, width = images->width, channels = images->channels;
  CHECK(0 <= i && i < images->count && height <= side && width <= side && channels > 0,
        "picture %lld of %d, %d x %d x %d in %d", (long long)i, images->count, height, width,
        channels, side);
  int top = (side - height) / 2, left = (side - width) / 2, row = width * channels;
  const uint8_t *pixel = images->pixel + i * height * row;
  for (int j = 0; j < side * side * channels; j++) x[j] = -1;
  for (int r = 0; r < height; r++) {
    real *to = x + ((top + r) * side + left) * channels;
    for (int c = 0; c < row; c++) to[c] = (real)pixel[r * row + c] / (real)127.5 - 1;
  }
}
