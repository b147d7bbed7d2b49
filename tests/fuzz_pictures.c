/* fuzz_pictures.c -- any bytes as a PNG or a JPEG file, which is read or refused with a reason;
 * what is read can be resized.
 *
 * The first byte: even for PNG, odd for JPEG; then the file. */
#include "core/check.h"
#include "datasets/image_resize.h"
#include "datasets/jpeg.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIDE = 16, MOST_RESIZED = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int file;
  static char path[64];
  if (!file) {
    file = memfd_create("picture", MFD_CLOEXEC);
    CHECK(file > 0, "no file");
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), file);
  }
  if (size < 1) return 0;
  CHECK(!ftruncate(file, 0) && pwrite(file, data + 1, size - 1, 0) == (ssize_t)size - 1,
        "no bytes");
  Error error = { 0 };
  Image image;
  Arena *arena = arena_new();
  bool read =
      data[0] % 2 ? jpeg_load(&image, arena, path, &error) : png_load(&image, arena, path, &error);
  if (read) {
    CHECK(image.width > 0 && image.width <= PNG_MOST && image.height > 0 &&
              image.height <= PNG_MOST && (image.channels == 1 || image.channels == 3),
          "%d x %d x %d", image.width, image.height, image.channels);
    uint8_t small[SIDE * SIDE * 3];
    if ((int64_t)image.width * image.height <= MOST_RESIZED) image_resize(&image, SIDE, small);
  } else {
    CHECK(error.kind == FAIL_INPUT && *error.text, "refused without a reason");
  }
  arena_free(arena);
  return 0;
}
