/* gif.c -- the door to giflib, which writes into memory. */
#include "datasets/gif.h"
#include "core/check.h"
#include "core/file.h"
#include <gif_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLOURS = 256, REDS = 6, GREENS = 7, BLUES = 6 };

/* ---- colours --------------------------------------------------------------------------------- */

static int shade(int level, int levels) { return (255 * level + (levels - 1) / 2) / (levels - 1); }

static void fill_map(GifColorType map[COLOURS], int channels) {
  memset(map, 0, COLOURS * sizeof *map);
  for (int i = 0; i < COLOURS && channels == 1; i++)
    map[i].Red = map[i].Green = map[i].Blue = (GifByteType)i;
  for (int i = 0; i < REDS * GREENS * BLUES && channels == 3; i++) {
    map[i].Red = (GifByteType)shade(i / (GREENS * BLUES), REDS);
    map[i].Green = (GifByteType)shade(i / BLUES % GREENS, GREENS);
    map[i].Blue = (GifByteType)shade(i % BLUES, BLUES);
  }
}

/* The level of a shade, up or down by where the pixel lies (Bayer 1973): 16 thresholds, so that the
 * mean over a square of 4 x 4 is nearly the shade. */
static int dithered(int value, int levels, int row, int column) {
  static const int order[4][4] = {
    { 0, 8, 2, 10 }, { 12, 4, 14, 6 }, { 3, 11, 1, 9 }, { 15, 7, 13, 5 }
  };
  int scaled = value * (levels - 1) * 32 / 255;
  return (scaled + 2 * order[row % 4][column % 4] + 1) / 32;
}

static void fill_line(GifByteType *line, const Image *image, int row) {
  const uint8_t *pixel = image->pixel + (ptrdiff_t)row * image->width * image->channels;
  for (int c = 0; c < image->width; c++, pixel += image->channels)
    line[c] = image->channels == 1 ? pixel[0]
                                   : (GifByteType)((dithered(pixel[0], REDS, row, c) * GREENS +
                                                    dithered(pixel[1], GREENS, row, c)) *
                                                       BLUES +
                                                   dithered(pixel[2], BLUES, row, c));
}

/* ---- the file -------------------------------------------------------------------------------- */

static int put_bytes(GifFileType *gif, const GifByteType *bytes, int count) {
  return (int)fwrite(bytes, 1, (size_t)count, gif->UserData);
}

/* Netscape's extension: again and again, without end. */
static bool put_loop(GifFileType *gif) {
  static const GifByteType forever[] = { 1, 0, 0 };
  return EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
         EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
         EGifPutExtensionBlock(gif, sizeof forever, forever) == GIF_OK &&
         EGifPutExtensionTrailer(gif) == GIF_OK;
}

static bool put_frame(GifFileType *gif, const Image *image, int delay, GifByteType *line) {
  GraphicsControlBlock control = { .DisposalMode = DISPOSE_DO_NOT,
                                   .DelayTime = delay,
                                   .TransparentColor = NO_TRANSPARENT_COLOR };
  GifByteType block[4];
  size_t length = EGifGCBToExtension(&control, block);
  bool done = EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, (int)length, block) == GIF_OK &&
              EGifPutImageDesc(gif, 0, 0, image->width, image->height, false, NULL) == GIF_OK;
  for (int row = 0; row < image->height && done; row++) {
    fill_line(line, image, row);
    done = EGifPutLine(gif, line, image->width) == GIF_OK;
  }
  return done;
}

static bool put_all(GifFileType *gif, const Image *const *frame, int frames, int delay, int last) {
  GifColorType colour[COLOURS];
  fill_map(colour, frame[0]->channels);
  ColorMapObject *map = GifMakeMapObject(COLOURS, colour);
  NEED_MEMORY(map);
  GifByteType *line = malloc((size_t)frame[0]->width);
  NEED_MEMORY(line);
  EGifSetGifVersion(gif, true);
  bool done = EGifPutScreenDesc(gif, frame[0]->width, frame[0]->height, 8, 0, map) == GIF_OK &&
              put_loop(gif);
  for (int i = 0; i < frames && done; i++)
    done = put_frame(gif, frame[i], i + 1 < frames ? delay : last, line);
  free(line);
  GifFreeMapObject(map);
  return done;
}

static void check_frames(const Image *const *frame, int frames) {
  CHECK(frames > 0, "no frames");
  for (int i = 0; i < frames; i++)
    CHECK(frame[i]->width == frame[0]->width && frame[i]->height == frame[0]->height &&
              frame[i]->channels == frame[0]->channels && frame[i]->width <= GIF_MOST &&
              frame[i]->height <= GIF_MOST,
          "frame %d has %d x %d x %d", i, frame[i]->width, frame[i]->height, frame[i]->channels);
}

bool gif_save(const Image *const *frame, int frames, int delay, int last, const char *path,
              Error *error) {
  check_frames(frame, frames);
  char *bytes = NULL;
  size_t length = 0;
  int code = 0, closing = 0;
  FILE *out = open_memstream(&bytes, &length);
  NEED_MEMORY(out);
  GifFileType *gif = EGifOpen(out, put_bytes, &code);
  NEED_MEMORY(gif);
  bool made = put_all(gif, frame, frames, delay, last);
  code = gif->Error;
  made = EGifCloseFile(gif, &closing) == GIF_OK && made;
  made = fclose(out) == 0 && made;
  const char *reason = GifErrorString(code ? code : closing);
  bool done = made ? file_write(path, bytes, length, error)
                   : error_set(error, FAIL_RUNNING, "%s: cannot be made: %s", path,
                               reason ? reason : "giflib gives no reason");
  free(bytes);
  return done;
}
