/* jpeg.c -- the door to libjpeg, whose errors jump back to where it was called. */
#include "datasets/jpeg.h"
#include "core/check.h"
#include "core/file.h"
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

/* ---- errors ---------------------------------------------------------------------------------- */

/* first: libjpeg hands back its address */
typedef struct {
  struct jpeg_error_mgr manager;
  jmp_buf back;
  char text[JMSG_LENGTH_MAX];
} Trouble;

static void jump(j_common_ptr info) {
  Trouble *trouble = (Trouble *)info->err;
  info->err->format_message(info, trouble->text);
  longjmp(trouble->back, 1);
}

static void keep_quiet(j_common_ptr info) { (void)info; }

/* A warning means that pixels are guessed, but for bytes too many, which some cameras write. */
static void take_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) jump(info);
}

static struct jpeg_error_mgr *watch(Trouble *trouble) {
  jpeg_std_error(&trouble->manager);
  trouble->manager.error_exit = jump;
  trouble->manager.output_message = keep_quiet;
  trouble->manager.emit_message = take_message;
  return &trouble->manager;
}

/* ---- reading --------------------------------------------------------------------------------- */

enum {
  MOST_MEMORY = 1 << 29, /* of libjpeg: a progressive file of the largest size needs 384 MiB */
  MOST_SCANS = 64        /* a few bytes can ask for many passes over all pixels */
};

typedef struct {
  struct jpeg_decompress_struct info;
  struct jpeg_progress_mgr progress;
  Trouble trouble;
} Reader;

static void count_scans(j_common_ptr info) {
  if (((j_decompress_ptr)info)->input_scan_number <= MOST_SCANS) return;
  Trouble *trouble = (Trouble *)info->err;
  snprintf(trouble->text, sizeof trouble->text, "more than %d scans", MOST_SCANS);
  longjmp(trouble->back, 1);
}

/* Is what the header promises something we read? */
static bool check_header(const Reader *r, Error *error) {
  int channels = r->info.num_components;
  if (r->info.image_width > PNG_MOST || r->info.image_height > PNG_MOST)
    return error_set(error, FAIL_INPUT, "%u x %u pixels, expected at most %d a side",
                     r->info.image_width, r->info.image_height, PNG_MOST);
  return channels == 1 || channels == 3 ||
         error_set(error, FAIL_INPUT, "a JPEG with %d channels, expected grey or RGB", channels);
}

static bool decode(Reader *r, Image *image, Arena *arena, Error *error) {
  jpeg_read_header(&r->info, TRUE);
  if (!check_header(r, error)) return false;
  int channels = r->info.num_components;
  r->info.out_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  *image = (Image){ (int)r->info.image_width, (int)r->info.image_height, channels, NULL };
  size_t row = (size_t)image->width * (size_t)channels;
  image->pixel = arena_alloc(arena, row * (size_t)image->height);
  jpeg_start_decompress(&r->info);
  while (r->info.output_scanline < r->info.output_height) {
    JSAMPROW line = image->pixel + row * r->info.output_scanline;
    jpeg_read_scanlines(&r->info, &line, 1);
  }
  jpeg_finish_decompress(&r->info);
  return true;
}

static bool read_stream(Image *image, Arena *arena, FILE *file, Error *error) {
  Reader reader = { 0 }, *r = &reader;
  ArenaMark mark = arena_mark(arena);
  r->info.err = watch(&r->trouble);
  r->progress.progress_monitor = count_scans;
  if (setjmp(r->trouble.back)) {
    jpeg_destroy_decompress(&r->info);
    arena_reset(arena, mark);
    return error_set(error, FAIL_INPUT, "not a whole JPEG file: %s", r->trouble.text);
  }
  jpeg_create_decompress(&r->info);
  r->info.progress = &r->progress;
  r->info.mem->max_memory_to_use = MOST_MEMORY;
  jpeg_stdio_src(&r->info, file);
  bool done = decode(r, image, arena, error);
  jpeg_destroy_decompress(&r->info);
  return done;
}

bool jpeg_load(Image *image, Arena *arena, const char *path, Error *error) {
  errno = 0; /* a folder sets none */
  FILE *file = file_open(path);
  bool done = file ? read_stream(image, arena, file, error)
                   : error_set(error, FAIL_INPUT, "cannot be read: %s",
                               errno ? strerror(errno) : "not a file");
  if (file) fclose(file);
  return done || error_prefix(error, "%s", path);
}

/* ---- how large a file would be --------------------------------------------------------------- */

enum { PIECE = 4096 };

/* a destination that counts; first: libjpeg hands back its address */
typedef struct {
  struct jpeg_destination_mgr manager;
  int bytes;
  JOCTET piece[PIECE];
} Counter;

static void begin_piece(j_compress_ptr info) {
  Counter *c = (Counter *)info->dest;
  c->manager.next_output_byte = c->piece, c->manager.free_in_buffer = PIECE;
}

static boolean count_piece(j_compress_ptr info) {
  ((Counter *)info->dest)->bytes += PIECE;
  begin_piece(info);
  return TRUE;
}

static void count_rest(j_compress_ptr info) {
  Counter *c = (Counter *)info->dest;
  c->bytes += PIECE - (int)c->manager.free_in_buffer;
}

typedef struct {
  struct jpeg_compress_struct info;
  Trouble trouble;
  Counter counter;
} Writer;

static void encode(Writer *w, const uint8_t *pixel, int channels, int quality) {
  w->info.input_components = channels;
  w->info.in_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&w->info);
  jpeg_set_quality(&w->info, quality, TRUE);
  jpeg_start_compress(&w->info, TRUE);
  size_t row = w->info.image_width * (size_t)channels;
  while (w->info.next_scanline < w->info.image_height) {
    JSAMPROW line = (JSAMPROW)pixel + row * w->info.next_scanline;
    jpeg_write_scanlines(&w->info, &line, 1);
  }
  jpeg_finish_compress(&w->info);
}

int jpeg_bytes(const uint8_t *pixel, int height, int width, int channels, int quality,
               Error *error) {
  CHECK((channels == 1 || channels == 3) && 0 < width && width <= PNG_MOST && 0 < height &&
            height <= PNG_MOST,
        "a picture of %d x %d with %d channels", width, height, channels);
  Writer writer, *w = &writer;
  memset(&w->info, 0, sizeof w->info);
  w->info.err = watch(&w->trouble);
  if (setjmp(w->trouble.back)) {
    jpeg_destroy_compress(&w->info);
    return error_set(error, FAIL_RUNNING, "libjpeg: %s", w->trouble.text), -1;
  }
  jpeg_create_compress(&w->info);
  w->counter.bytes = 0;
  w->counter.manager.init_destination = begin_piece;
  w->counter.manager.empty_output_buffer = count_piece;
  w->counter.manager.term_destination = count_rest;
  w->info.dest = &w->counter.manager;
  w->info.image_width = (JDIMENSION)width, w->info.image_height = (JDIMENSION)height;
  encode(w, pixel, channels, quality);
  jpeg_destroy_compress(&w->info);
  return w->counter.bytes;
}
