/* image_space.c -- both questions go through the training pictures in chunks: decoded as numbers by
 * all threads, then multiplied by all threads. */
#include "rl/measure/image_space.h"
#include "core/check.h"
#include "core/maths/eigen.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 256, PANEL = 32, BAND = 64 }; /* pictures; pictures asked, and pixels, to a thread */

/* ---- chunks ---------------------------------------------------------------------------------- */

/* Training pictures from .. from + count - 1 without the mean, which rounding would feel: a row
 * each, whose padding is zero. */
typedef struct {
  const ImageSpace *space;
  int from, count, width, ld; /* width: pixels to the next 16 */
  real *row;                  /* [CHUNK, ld] */
} Chunk;

/* Room for one chunk, which is filled again and again. */
static Chunk chunk_new(Arena *arena, const ImageSpace *space) {
  Chunk chunk = { .space = space, .ld = row_stride(space->pixels) };
  chunk.width = (space->pixels + 15) / 16 * 16;
  chunk.row = arena_array(arena, real, CHUNK * chunk.ld);
  return chunk;
}

/* One training picture to numbers, without the mean, in the row of its own. */
static void decode_row(void *context, int piece, int worker) {
  const Chunk *chunk = context;
  const ImageSpace *space = chunk->space;
  real *row = chunk->row + piece * chunk->ld;
  (void)worker;
  images_decode(space->train, chunk->from + piece, space->side, row);
  for (int j = 0; j < space->pixels; j++) row[j] = (real)((double)row[j] - space->mean[j]);
}

/* the chunk that begins at `from`; false behind the last */
static bool chunk_decode(Chunk *chunk, int from) {
  int left = chunk->space->train->count - from;
  chunk->from = from, chunk->count = left < CHUNK ? left : CHUNK;
  if (left > 0) pool_run(chunk->space->pool, decode_row, chunk, chunk->count);
  return left > 0;
}

/* ---- principal components -------------------------------------------------------------------- */

ImageSpace *image_space_new(Arena *arena, const Images *train, int side, Pool *pool,
                            const Kernels *kernels) {
  int pixels = side * side * train->channels;
  CHECK(train->count > 1 && pixels <= IMAGE_SPACE_MOST * IMAGE_SPACE_MOST,
        "%d pictures, %d pixels a side", train->count, side);
  ImageSpace *space = arena_alloc(arena, sizeof *space);
  *space = (ImageSpace){
    .train = train, .arena = arena, .pool = pool, .kernels = kernels, .side = side
  };
  space->pixels = pixels;
  space->mean = arena_array(arena, double, space->pixels);
  /* the mean in one pass and in double; no thread shares a sum */
  real x[IMAGE_SPACE_MOST * IMAGE_SPACE_MOST];
  for (int i = 0; i < train->count; i++) {
    images_decode(train, i, side, x);
    for (int j = 0; j < space->pixels; j++) space->mean[j] += (double)x[j] / train->count;
  }
  return space;
}

typedef struct {
  Chunk chunk;
  real *product; /* [width, width] */
  double *sum;   /* [pixels, pixels] */
} Covariance;

/* the upper triangle: rows of a band, from its first pixel on */
static void add_band(void *context, int piece, int worker) {
  const Covariance *c = context;
  const Chunk *chunk = &c->chunk;
  int pixels = chunk->space->pixels, from = piece * BAND;
  /* the last band may be lower */
  int rows = pixels - from < BAND ? pixels - from : BAND;
  real *product = c->product + from * chunk->width + from;
  (void)worker;
  /* rows transposed times rows: each pixel of the band with all from its first on */
  chunk->space->kernels->gemm(&(Gemm){ .m = rows,
                                       .n = chunk->width - from,
                                       .k = chunk->count,
                                       .a = chunk->row + from,
                                       .ai = 1,
                                       .ak = chunk->ld,
                                       .b = chunk->row + from,
                                       .bk = chunk->ld,
                                       .bpanel = 32,
                                       .c = product,
                                       .ldc = chunk->width });
  /* chunks are added up in double, always in the same order */
  for (int i = 0; i < rows; i++)
    for (int j = from; j < pixels; j++)
      c->sum[(from + i) * pixels + j] += (double)product[i * chunk->width + j - from];
}

/* [pixels, pixels], divided by count - 1 */
static double *covariance(Arena *arena, const ImageSpace *space) {
  int pixels = space->pixels;
  Covariance c = { .chunk = chunk_new(arena, space) };
  c.product = arena_array(arena, real, c.chunk.width * c.chunk.width);
  c.sum = arena_array(arena, double, pixels *pixels);
  /* all threads decode a chunk, then share out the bands of its product */
  for (int from = 0; chunk_decode(&c.chunk, from); from += CHUNK)
    pool_run(space->pool, add_band, &c, (pixels + BAND - 1) / BAND);
  for (int i = 0; i < pixels; i++)
    for (int j = i; j < pixels; j++)
      c.sum[j * pixels + i] = c.sum[i * pixels + j] /= space->train->count - 1;
  return c.sum;
}

bool image_space_fit(ImageSpace *space, int components, Error *error) {
  const double tolerance = 1e-9;
  /* small pictures have fewer components than are asked for */
  int count = components < space->pixels ? components : space->pixels;
  Arena *scratch = arena_new();
  space->components = count;
  space->component = arena_array(space->arena, double, count * space->pixels);
  space->variance = arena_array(space->arena, double, count);
  /* only the leading eigenvectors are needed, not all of several thousand */
  const double *c = covariance(scratch, space);
  bool found = eigen_leading(scratch, space->pool, c, space->pixels, count, tolerance,
                             space->variance, space->component);
  arena_free(scratch);
  return found || error_set(error, FAIL_RUNNING,
                            "the %d principal components of its training pictures cannot be told "
                            "apart, expected an error of at most %g of the first; these pictures "
                            "are not measured",
                            count, tolerance);
}

void image_space_project(const ImageSpace *space, const double *pictures, int count,
                         double *feature) {
  int pixels = space->pixels;
  for (int i = 0; i < count; i++)
    for (int c = 0; c < space->components; c++) {
      /* how far the picture lies from the mean along this component */
      const double *x = pictures + i * pixels, *along = space->component + c * pixels;
      double sum = 0;
      for (int j = 0; j < pixels; j++) sum += (x[j] - space->mean[j]) * along[j];
      feature[i * space->components + c] = sum;
    }
}

/* ---- the nearest ----------------------------------------------------------------------------- */

/* |q - t|^2 / 2 = |t|^2 / 2 - q.t + |q|^2 / 2, the last of which changes no order */
typedef struct {
  Chunk chunk;
  real half[CHUNK]; /* |t|^2 / 2 */
  real *query;      /* panels [panels, pixels, PANEL] of pictures without the mean */
  real *product;    /* a worker's [CHUNK, PANEL] */
  real *least;      /* [panels * PANEL]: of |t|^2 / 2 - q.t */
  int *which;       /* likewise */
} Search;

/* |t|^2 / 2 of each training picture in the chunk, once for all panels. */
static void halve_norms(Search *s) {
  for (int i = 0; i < s->chunk.count; i++) {
    const real *row = s->chunk.row + i * s->chunk.ld;
    double sum = 0;
    for (int j = 0; j < s->chunk.space->pixels; j++) sum += (double)row[j] * (double)row[j];
    s->half[i] = (real)(sum / 2);
  }
}

/* A panel of pictures against a chunk of training pictures, by one product. */
static void search_panel(void *context, int piece, int worker) {
  const Search *s = context;
  const Chunk *chunk = &s->chunk;
  int pixels = chunk->space->pixels;
  real *product = s->product + worker * CHUNK * PANEL, *least = s->least + piece * PANEL;
  chunk->space->kernels->gemm(&(Gemm){ .m = chunk->count,
                                       .n = PANEL,
                                       .k = pixels,
                                       .a = chunk->row,
                                       .ai = chunk->ld,
                                       .ak = 1,
                                       .b = s->query + (ptrdiff_t)piece * pixels * PANEL,
                                       .bk = PANEL,
                                       .bpanel = (ptrdiff_t)PANEL * pixels,
                                       .c = product,
                                       .ldc = PANEL });
  for (int i = 0; i < chunk->count; i++)
    for (int l = 0; l < PANEL; l++) {
      /* the first training picture is taken as it is; of equals the earlier one stays */
      real apart = s->half[i] - product[i * PANEL + l];
      if (chunk->from + i && !(apart < least[l])) continue;
      least[l] = apart, s->which[piece * PANEL + l] = chunk->from + i;
    }
}

/* Pack the pictures asked for into panels, which every chunk is multiplied with. */
static Search search_new(Arena *arena, const ImageSpace *space, const double *pictures, int count) {
  int panels = (count + PANEL - 1) / PANEL, pixels = space->pixels;
  Search s = { .chunk = chunk_new(arena, space) };
  s.query = arena_array(arena, real, (ptrdiff_t)panels * pixels * PANEL);
  s.product = arena_array(arena, real, pool_threads(space->pool) * CHUNK * PANEL);
  s.least = arena_array(arena, real, panels * PANEL);
  s.which = arena_array(arena, int, panels *PANEL);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < pixels; j++) {
      /* the same mean is taken off both sides, which changes no distance */
      double x = pictures[i * pixels + j] - space->mean[j];
      s.query[((ptrdiff_t)(i / PANEL) * pixels + j) * PANEL + i % PANEL] = (real)x;
    }
  return s;
}

void image_space_nearest(const ImageSpace *space, const double *pictures, int count,
                         double *distance, int *which) {
  Arena *arena = arena_new();
  Search s = search_new(arena, space, pictures, count);
  /* chunk by chunk, so that the training pictures need not be held as numbers at once */
  for (int from = 0; chunk_decode(&s.chunk, from); from += CHUNK) {
    halve_norms(&s);
    pool_run(space->pool, search_panel, &s, (count + PANEL - 1) / PANEL);
  }
  /* rounding hurts differences of large products, so the distance itself is computed anew */
  real *found = arena_array(arena, real, space->pixels);
  for (int i = 0; i < count; i++) {
    double sum = 0;
    images_decode(space->train, s.which[i], space->side, found);
    for (int j = 0; j < space->pixels; j++) {
      double off = pictures[i * space->pixels + j] - (double)found[j];
      sum += off * off;
    }
    distance[i] = sqrt(sum), which[i] = s.which[i];
  }
  arena_free(arena);
}
