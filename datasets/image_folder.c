/* image_folder.c -- names are listed and sorted, then every file is decoded and cut to size. */
#include "datasets/image_folder.h"
#include "core/check.h"
#include "core/sort.h"
#include "datasets/image_resize.h"
#include "datasets/jpeg.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MOST_FILES = 10000000, TESTED = 10 }; /* one picture in so many is kept for testing */

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct {
  const char *path, *name; /* name: below the set's folder, "boot/3.png" */
  int label;
  bool tested;
  uint64_t hash; /* of the name */
  Image image;   /* at the size it will have */
} Entry;

typedef struct {
  Arena *arena;
  Entry *entry; /* malloc */
  int count, room, skipped;
  const char **folder; /* malloc: names of those in it */
  int folders, folder_room;
} Listing;

static bool is_picture(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static void *grown(void *list, int count, int *room, size_t size) {
  if (count < *room) return list;
  *room = *room ? 2 * *room : 64;
  list = realloc(list, (size_t)*room * size);
  NEED_MEMORY(list);
  return list;
}

static bool add_entry(Listing *l, const char *path, const char *name, int label, Error *error) {
  if (l->count == MOST_FILES)
    return error_set(error, FAIL_INPUT, "%s: more than %d pictures", path, MOST_FILES);
  l->entry = grown(l->entry, l->count, &l->room, sizeof *l->entry);
  l->entry[l->count++] = (Entry){
    .path = path, .name = name, .label = label, .hash = murmur_of(name, strlen(name)).h[0]
  };
  return true;
}

/* label: -1 at the top, where folders are noted */
static bool add_name(Listing *l, const char *folder, const char *below, const char *name, int label,
                     Error *error) {
  struct stat status;
  if (*name == '.') return true;
  const char *path = arena_text(l->arena, "%s/%s", folder, name);
  if (stat(path, &status))
    return error_set(error, FAIL_INPUT, "%s: cannot be read: %s", path, strerror(errno));
  bool top = label < 0;
  if (top && S_ISDIR(status.st_mode)) {
    l->folder = grown(l->folder, l->folders, &l->folder_room, sizeof *l->folder);
    l->folder[l->folders++] = arena_text(l->arena, "%s", name);
    return true;
  }
  if (!S_ISREG(status.st_mode) || !is_picture(name)) return l->skipped++, true;
  const char *own = arena_text(l->arena, "%s%s%s", below, *below ? "/" : "", name);
  return add_entry(l, path, own, top ? 0 : label, error);
}

static bool list_folder(Listing *l, const char *folder, const char *below, int label,
                        Error *error) {
  DIR *dir = opendir(folder);
  if (!dir) return error_set(error, FAIL_INPUT, "%s: cannot be read: %s", folder, strerror(errno));
  bool done = true;
  for (const struct dirent *at; done && (at = readdir(dir));)
    done = add_name(l, folder, below, at->d_name, label, error);
  closedir(dir);
  return done;
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* a folder without pictures is no label */
static bool list_labels(Listing *l, ImageSet *set, const char *folder, Error *error) {
  sort(l->folder, (size_t)l->folders, sizeof *l->folder, compare_texts);
  const char **name = arena_array(l->arena, const char *, l->folders + 1);
  for (int i = 0; i < l->folders; i++) {
    int before = l->count;
    const char *path = arena_text(l->arena, "%s/%s", folder, l->folder[i]);
    if (!list_folder(l, path, l->folder[i], set->classes, error)) return false;
    if (l->count == before) continue;
    if (set->classes == IMAGES_MOST_CLASSES)
      return error_set(error, FAIL_INPUT,
                       "%s: more than %d folders with pictures; each of them is a label", folder,
                       IMAGES_MOST_CLASSES);
    name[set->classes++] = l->folder[i];
  }
  if (set->classes) set->label_name = name;
  return true;
}

static bool list_all(Listing *l, ImageSet *set, const char *folder, Error *error) {
  if (!list_folder(l, folder, "", -1, error)) return false;
  int loose = l->count;
  if (!list_labels(l, set, folder, error)) return false;
  if (loose && set->classes)
    return error_set(error, FAIL_INPUT,
                     "%s has pictures, and so has the folder %s in it; expected all in the folder "
                     "itself, without labels, or all in folders, one for each label",
                     folder, set->label_name[0]);
  set->skipped = l->skipped;
  return l->count > 1 ||
         error_set(error, FAIL_INPUT,
                   "%s: %d pictures, expected at least 2 files named .png, .jpg or .jpeg, in it or "
                   "in a folder for each label, or the four IDX files of MNIST",
                   folder, l->count);
}

/* ---- which are kept for testing -------------------------------------------------------------- */

static int compare_hashes(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  if (x->label != y->label) return x->label < y->label ? -1 : 1;
  if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
  return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
  return strcmp(((const Entry *)a)->name, ((const Entry *)b)->name);
}

static int of_label(const Listing *l, int from) {
  int to = from;
  while (to < l->count && l->entry[to].label == l->entry[from].label) to++;
  return to - from;
}

/* then in the order of their names */
static void keep_tests(Listing *l) {
  sort(l->entry, (size_t)l->count, sizeof *l->entry, compare_hashes);
  for (int from = 0, all; from < l->count; from += all) {
    all = of_label(l, from);
    int tested = all < 2 ? 0 : all < TESTED ? 1 : all / TESTED;
    for (int i = 0; i < tested; i++) l->entry[from + i].tested = true;
  }
  sort(l->entry, (size_t)l->count, sizeof *l->entry, compare_names);
}

/* ---- pixels ---------------------------------------------------------------------------------- */

static bool load(Image *image, Arena *scratch, const char *path, Error *error) {
  const char *dot = strrchr(path, '.');
  return strcasecmp(dot, ".png") ? jpeg_load(image, scratch, path, error)
                                 : png_load(image, scratch, path, error);
}

static bool check_size(const Listing *l, const Entry *e, Error *error) {
  const Entry *first = l->entry;
  if (e->image.width > IMAGES_MOST_SIDE || e->image.height > IMAGES_MOST_SIDE)
    return error_set(error, FAIL_INPUT,
                     "%s: %d x %d pixels, expected at most %d a side; use --set resize=N", e->path,
                     e->image.width, e->image.height, IMAGES_MOST_SIDE);
  if (e->image.width == first->image.width && e->image.height == first->image.height) return true;
  return error_set(error, FAIL_INPUT,
                   "%s has %d x %d pixels, but %s has %d x %d; with --set resize=N the middle "
                   "square of each is resized to N x N",
                   first->path, first->image.width, first->image.height, e->path, e->image.width,
                   e->image.height);
}

/* One file into `kept`, at the size it will have; scratch is emptied again. */
static bool read_entry(Listing *l, Entry *e, Arena *kept, Arena *scratch, int resize,
                       Error *error) {
  Image whole;
  ArenaMark mark = arena_mark(scratch);
  if (!load(&whole, scratch, e->path, error)) return false;
  e->image = whole;
  if (resize) e->image.width = e->image.height = resize;
  if (!resize && !check_size(l, e, error)) return false;
  size_t bytes = (size_t)e->image.width * (size_t)e->image.height * (size_t)e->image.channels;
  e->image.pixel = arena_alloc(kept, bytes);
  if (resize)
    image_resize(&whole, resize, e->image.pixel);
  else
    memcpy(e->image.pixel, whole.pixel, bytes);
  arena_reset(scratch, mark);
  return true;
}

static bool read_entries(Listing *l, Arena *kept, int resize, int *channels, Error *error) {
  Arena *scratch = arena_new();
  int64_t bytes = 0;
  bool done = true;
  *channels = 1;
  for (int i = 0; i < l->count && done; i++) {
    Entry *e = &l->entry[i];
    done = read_entry(l, e, kept, scratch, resize, error);
    if (done && e->image.channels > *channels) *channels = e->image.channels;
    bytes += done ? (int64_t)e->image.width * e->image.height : 0;
    if (done && bytes * *channels > IMAGES_MOST_BYTES)
      done = error_set(error, FAIL_INPUT,
                       "%d pictures have more than %d MiB of pixels; use fewer, or --set resize=N "
                       "with a smaller size",
                       l->count, IMAGES_MOST_BYTES >> 20);
  }
  arena_free(scratch);
  return done;
}

/* Those to train or to test, one after the other. */
static void gather(Images *part, Arena *arena, const Listing *l, bool tested, int channels) {
  const Image *first = &l->entry->image;
  *part = (Images){ .height = first->height, .width = first->width, .channels = channels };
  for (int i = 0; i < l->count; i++) part->count += l->entry[i].tested == tested;
  size_t positions = (size_t)first->height * (size_t)first->width;
  size_t bytes = positions * (size_t)channels;
  uint8_t *pixel = arena_alloc(arena, (size_t)part->count * bytes);
  uint8_t *label = arena_alloc(arena, (size_t)part->count);
  part->pixel = pixel, part->label = label;
  for (int i = 0; i < l->count; i++) {
    const Entry *e = &l->entry[i];
    if (e->tested != tested) continue;
    *label++ = (uint8_t)e->label;
    if (e->image.channels == channels)
      memcpy(pixel, e->image.pixel, bytes);
    else
      for (size_t j = 0; j < bytes; j++) pixel[j] = e->image.pixel[j / (size_t)channels];
    pixel += bytes;
  }
}

/* ---- the set --------------------------------------------------------------------------------- */

static bool read_set(Listing *l, ImageSet *set, const char *folder, int resize, Murmur *sum,
                     Error *error) {
  int channels;
  if (!list_all(l, set, folder, error)) return false;
  keep_tests(l);
  Arena *kept = arena_new();
  bool done = read_entries(l, kept, resize, &channels, error);
  if (done) {
    gather(&set->train, l->arena, l, false, channels);
    gather(&set->test, l->arena, l, true, channels);
    for (int i = 0; i < l->count; i++) {
      const Image *image = &l->entry[i].image;
      murmur_add(sum, l->entry[i].name, strlen(l->entry[i].name) + 1);
      murmur_add(sum, image->pixel,
                 (size_t)image->width * (size_t)image->height * (size_t)image->channels);
    }
  }
  arena_free(kept);
  if (!done || set->test.count) return done;
  return error_set(error, FAIL_INPUT,
                   "%s: no label has two pictures, so none can be kept for testing", folder);
}

bool image_folder_read(ImageSet *set, Arena *arena, const char *folder, int resize, Murmur *sum,
                       Error *error) {
  Listing l = { .arena = arena };
  bool done = read_set(&l, set, folder, resize, sum, error);
  free(l.entry), free(l.folder);
  return done;
}
