/* png.c -- the door to libpng, through its simplified interface: no long jumps, no printing. */
#include "datasets/png.h"
#include "core/check.h"
#include "core/file.h"
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing --------------------------------------------------------------------------------- */

bool png_save(const Image *image, const char *path, Error *error) {
  CHECK(image->channels == 1 || image->channels == 3, "a picture with %d channels",
        image->channels);
  CHECK(0 < image->width && image->width <= PNG_MOST && 0 < image->height &&
            image->height <= PNG_MOST,
        "a picture of %d x %d", image->width, image->height);
  png_image header = { .version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)image->width,
                       .height = (png_uint_32)image->height,
                       .format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB };
  char *bytes = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&bytes, &length);
  NEED_MEMORY(out);
  bool made = png_image_write_to_stdio(&header, out, 0, image->pixel, 0, NULL);
  made = fclose(out) == 0 && made;
  bool done = made ? file_write(path, bytes, length, error)
                   : error_set(error, FAIL_RUNNING, "%s: %s", path, header.message);
  free(bytes);
  return done;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Is what the header promises something we read? */
static bool check_header(const png_image *header, Error *error) {
  const char *other = header->format & PNG_FORMAT_FLAG_LINEAR     ? "16 bits a channel"
                      : header->format & PNG_FORMAT_FLAG_COLORMAP ? "a palette"
                      : header->format & PNG_FORMAT_FLAG_ALPHA    ? "transparency"
                                                                  : NULL;
  if (other)
    return error_set(error, FAIL_INPUT, "a PNG with %s, expected 8 bits a channel, grey or RGB",
                     other);
  if (header->width > PNG_MOST || header->height > PNG_MOST)
    return error_set(error, FAIL_INPUT, "%u x %u pixels, expected at most %d a side", header->width,
                     header->height, PNG_MOST);
  return true;
}

static bool read_image(Image *image, Arena *arena, png_image *header, Error *error) {
  if (!check_header(header, error)) return false;
  bool rgb = header->format & PNG_FORMAT_FLAG_COLOR;
  header->format = rgb ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  *image = (Image){ .width = (int)header->width,
                    .height = (int)header->height,
                    .channels = rgb ? 3 : 1 };
  ArenaMark mark = arena_mark(arena);
  image->pixel = arena_alloc(arena, PNG_IMAGE_SIZE(*header));
  if (png_image_finish_read(header, NULL, image->pixel, 0, NULL)) return true;
  arena_reset(arena, mark);
  return error_set(error, FAIL_INPUT, "not a whole PNG file: %s", header->message);
}

/* A pipe is refused before it is opened, which would wait for its other end. */
static FILE *open_file(const char *path, Error *error) {
  struct stat status;
  bool found = stat(path, &status) == 0;
  if (found && !S_ISREG(status.st_mode)) {
    error_set(error, FAIL_INPUT, "not a file");
    return NULL;
  }
  FILE *file = found ? fopen(path, "re") : NULL;
  if (!file) error_set(error, FAIL_INPUT, "cannot be read: %s", strerror(errno));
  return file;
}

bool png_load(Image *image, Arena *arena, const char *path, Error *error) {
  png_image header = { .version = PNG_IMAGE_VERSION };
  FILE *file = open_file(path, error);
  bool done = file && (png_image_begin_read_from_stdio(&header, file) ||
                       error_set(error, FAIL_INPUT, "not a PNG file: %s", header.message));
  done = done && read_image(image, arena, &header, error);
  png_image_free(&header);
  if (file) fclose(file);
  return done || error_prefix(error, "%s", path);
}
