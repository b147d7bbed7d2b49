/* kernels.h -- the loops that take the time, one table for each instruction set.
 *
 * Every output of a product is one chain of fused multiply-adds over k, ascending, starting from
 * the initial value; element-wise functions are polynomials written with fma.  So AVX-512, AVX2
 * and plain C give the same bits, and a row alone equals the row in a batch.  OpenBLAS is the
 * fourth table, for comparison and for CPUs that the others do not know; its bits are its own. */
#ifndef CORE_KERNELS_H
#define CORE_KERNELS_H
#include "core/error.h"
#include "core/real.h"
#include "core/rng.h"
#include <stdbool.h>
#include <stddef.h>

/* C[i, j] = init[i * init_row + j] + sum_k A[i * ai + k * ak] B(k, j), i < m, j < n.
 * n is a multiple of 16.  B(k, j) = b[(j / 32) * bpanel + k * bk + j % 32]: packed panels of 32
 * columns (bk 32, bpanel 32 K) or plain rows (bk its stride, bpanel 32).  init NULL: zeros;
 * init == c with init_row == ldc accumulates. */
typedef struct {
  int m, n, k;
  const real *a;
  ptrdiff_t ai, ak;
  const real *b;
  ptrdiff_t bk, bpanel;
  const real *init;
  ptrdiff_t init_row;
  real *c;
  ptrdiff_t ldc;
  const real *prefetch;  /* nullable: packed panels that the next product begins with */
  bool a_in_l2, c_in_l2; /* already in the second level of cache, where prefetching only costs */
} Gemm;

/* what the operands of products are rounded to; all else stays float */
typedef enum { PRECISION_F32, PRECISION_BF16, PRECISION_COUNT } Precision;

/* The same with operands rounded to bf16 and the sums of bf16.h.  A is by rows (ak 1) or by columns
 * (ai 1).  B is packed panels (Kernels.pack_bf16) or, panels NULL, rows of floats b[k * bk + j]. */
typedef struct {
  int m, n, k;
  const real *a;
  ptrdiff_t ai, ak;
  const uint16_t *panels;
  const real *b;
  ptrdiff_t bk;
  const real *init;
  ptrdiff_t init_row;
  real *c;
  ptrdiff_t ldc;
} Bf16Gemm;

/* y = f(x) for n reals; slope (nullable) receives f'(x).  In place is fine. */
typedef void MapKernel(const real *x, real *y, real *slope, int n);

/* name, and whether f(0) = 0 (else padding must be cleared) */
/* clang-format off */
#define KERNEL_MAPS(M)                                                                             \
  M(mish, 1) M(relu, 1) M(tanh, 1) M(silu, 1) M(gelu, 1) M(exp, 0) M(square, 1) M(abs, 1)          \
  M(softplus, 0) M(log, 0) M(sqrt, 0) M(sin, 1) M(cos, 0) M(ndtr, 0)
/* clang-format on */
typedef enum {
#define MAP_ENUM(name, zero) MAP_##name,
  KERNEL_MAPS(MAP_ENUM)
#undef MAP_ENUM
      MAP_COUNT
} Map;

/* norms over positions, with rows of numbers beside the values that they go with; softmax */
typedef struct {
  const real *mean, *a, *b, *along;
} StandardRows;
/* y = f((x - mean) a + b) + along (nullable) */
typedef void NormKernel(const real *x, const StandardRows *rows, real *y, int n);
/* du = dy f'((x - mean) a + b); da += du (x - mean), db += du.  du may be dy. */
typedef void NormSlopeKernel(const real *dy, const real *x, const StandardRows *rows, real *du,
                             real *da, real *db, int n);
typedef struct {
  void (*square_add)(const real *x, const real *mean, real *sum, int n); /* += (x - mean)^2 */
  NormKernel *norm[MAP_COUNT + 1];                                       /* the last: f(u) = u */
  NormSlopeKernel *slope[MAP_COUNT + 1];
  /* y = d a + (x - mean) along + b; y may be d */
  void (*standardise_back)(const real *d, const real *x, const StandardRows *rows, real *y, int n);
  /* A tile of scores [keys, width], a query in every column, width 16 to 64 by 16; keep [keys], 0
   * or 1.  s = keep e^(s - top) with the greatest score and 1 / sum of every column (0 if none is
   * kept); s = keep e^(s - top) inverse; slope = p (slope - sum of p slope). */
  void (*softmax)(real *s, const real *keep, int keys, int width, real *top, real *inverse);
  void (*softmax_again)(real *s, const real *keep, int keys, int width, const real *top,
                        const real *inverse);
  void (*softmax_back)(const real *p, real *slope, int keys, int width);
} PlaneKernels;

/* one Adam step on n numbers (Kingma & Ba 2015; decoupled decay as in AdamW) */
typedef struct {
  real lr, beta1, beta2, eps, decay; /* decay: lr * weight decay */
  real scale;                        /* of the gradient: from clipping */
  real fix1, fix2;                   /* 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
} AdamStep;

/* Minimal filtering, one tile of 1x4 or 4x4 outputs at a time: kernels of 1x3, 1x5 and 3x3 taps by
 * products at 6, 8 and 36 points (kernels_tile.h has the mathematics).  Counts of channels are
 * multiples of 16; point p of a channel lies p * step numbers on. */
typedef enum { TILE_1x3, TILE_1x5, TILE_3x3, TILE_COUNT } TileKind;
typedef struct {
  /* channels from .. to - 1 of the window's pixels to their points, or back: bias and outputs */
  void (*in)(const real *const *pixel, int from, int to, real *point, ptrdiff_t step);
  void (*out)(const real *point, ptrdiff_t step, const real *bias, real *const *pixel, int from,
              int to);
  /* the adjoint of out: an output's gradient to the points' */
  void (*out_back)(const real *const *pixel, int from, int to, real *point, ptrdiff_t step);
  /* n numbers of each tap, `tap` numbers apart, to points; the adjoint sets the taps or adds */
  void (*filter)(const real *taps, ptrdiff_t tap, int n, real *point, ptrdiff_t step);
  void (*filter_back)(const real *point, ptrdiff_t step, real *taps, ptrdiff_t tap, int n,
                      bool add);
} TileKernels;

typedef struct {
  const char *name;
  Precision precision; /* of the products that the tape's ops ask for */
  int packs;           /* products want packed panels */
  void (*gemm)(const Gemm *product);
  void (*gemm_bf16)(const Bf16Gemm *product); /* NULL in MODE=double, like the next */
  /* B(i, j) = from[i * row + j * column], i < k, j < n, one of the strides 1, into the
   * bf16_panels(k, n) numbers of bf16.h */
  void (*pack_bf16)(const real *from, ptrdiff_t row, ptrdiff_t column, int k, int n,
                    uint16_t *panels);
  MapKernel *map[MAP_COUNT];
  /* to[j * to_ld + i] = from[i * from_ld + j], i < m, j < n */
  void (*transpose)(const real *from, ptrdiff_t from_ld, int m, int n, real *to, ptrdiff_t to_ld);
  void (*mul)(const real *a, const real *b, real *y, int n);
  void (*add)(const real *a, const real *b, real *y, int n);
  TileKernels tile[TILE_COUNT];
  void (*adam)(const AdamStep *step, const real *g, real *m, real *v, real *w, int n);
  double (*squares)(const real *x, int n); /* their sum, in eight interleaved partial sums */
  void (*lerp)(real *to, const real *from, real t, int n); /* to += t (from - to) */
  /* out [rows, width], neither 0: row r is rng_normals of (step, row[r]) */
  void (*normals)(Rng rng, uint64_t step, const uint32_t *row, int rows, int width, float *out);
  /* out [count], count > 0: rng_uniform of draws first, first + 1, .. */
  void (*uniforms)(Rng rng, uint64_t step, uint32_t row, int first, double *out, int count);
  /* `rounds` of fused multiply-adds in registers: what the machine can do at best.  Returns a
   * number that depends on all of them; fma_flops is the arithmetic of a round. */
  real (*fma_probe)(int rounds);
  int fma_flops;
  PlaneKernels plane;
} Kernels;

extern const Kernels kernels_plain;
#ifndef DIFFRL_DOUBLE
extern const Kernels kernels_avx2, kernels_avx512, kernels_amx;
extern const Kernels kernels_plain_bf16, kernels_avx2_bf16, kernels_avx512_bf16, kernels_amx_bf16;
extern const Kernels kernels_blas __attribute__((weak)); /* absent from the inference library */
#endif

/* "own": the best of ours for this CPU; "amx" (AVX-512 with a tile unit for bf16), "avx512",
 * "avx2", "plain"; "openblas" after comparing a few products with plain C.  NULL and an error if it
 * cannot run here or is wrong.  The tile unit is asked for by "amx", and by "own" if products are
 * bf16. */
const Kernels *kernels_at(const char *name, Precision precision, Error *error);
const Kernels *kernels_find(const char *name, Error *error); /* the same for floats */
/* the same arithmetic for products of that precision; NULL and an error if there is none */
const Kernels *kernels_with(const Kernels *kernels, Precision precision, Error *error);
const char *precision_name(Precision precision); /* "f32", "bf16" */
const char *const *kernels_list(size_t *count);  /* these names, whether they run here or not */

const char *map_name(Map map);

#endif
