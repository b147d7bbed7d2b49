/* kernels_avx2.c -- tiles of 6 rows by 16 columns: 12 accumulators of the 16 registers. */
#if !defined DIFFRL_DOUBLE && defined __x86_64__
#include <immintrin.h>
#define V             __m256
#define VW            8
#define TILE          6
#define vload(p)      _mm256_loadu_ps(p)
#define vstore(p, x)  _mm256_storeu_ps(p, x)
#define vset(x)       _mm256_set1_ps(x)
#define vfma(a, b, c) _mm256_fmadd_ps(a, b, c)
/* the bf16 numbers in the lower and upper halves of 8 pairs; two vectors are a tile's columns */
#define vlower(p) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const void *)(p)), 16))
#define vupper(p)                                                                                  \
  _mm256_castsi256_ps(                                                                             \
      _mm256_and_si256(_mm256_loadu_si256((const void *)(p)), _mm256_set1_epi32((int)0xffff0000)))
#define BF16_NEXT 8
#include "core/kernels/kernels_body.h"
const Kernels kernels_avx2 = KERNEL_TABLE("avx2", 1, gemm);
const Kernels kernels_avx2_bf16 = KERNEL_TABLE_AT("avx2", 1, gemm, BF16, gemm_bf16);
#else
typedef int kernels_avx2_is_for_float_on_x86;
#endif
