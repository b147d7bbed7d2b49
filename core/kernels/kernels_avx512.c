/* kernels_avx512.c -- tiles of 12 rows by 32 columns: 24 accumulators of the 32 registers. */
#if !defined DIFFRL_DOUBLE && defined __x86_64__
#include "core/kernels/kernels_amx.h"
#include <immintrin.h>
#define V             __m512
#define VW            16
#define TILE          12
#define vload(p)      _mm512_loadu_ps(p)
#define vstore(p, x)  _mm512_storeu_ps(p, x)
#define vset(x)       _mm512_set1_ps(x)
#define vfma(a, b, c) _mm512_fmadd_ps(a, b, c)
/* the bf16 numbers in the lower and upper halves of 16 pairs; the second vector is the next tile */
#define vlower(p) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512((const void *)(p)), 16))
#define vupper(p)                                                                                  \
  _mm512_castsi512_ps(                                                                             \
      _mm512_and_si512(_mm512_loadu_si512((const void *)(p)), _mm512_set1_epi32((int)0xffff0000)))
#define BF16_NEXT 256
#include "core/kernels/kernels_body.h"
const Kernels kernels_avx512 = KERNEL_TABLE("avx512", 1, gemm);
const Kernels kernels_avx512_bf16 = KERNEL_TABLE_AT("avx512", 1, gemm, BF16, gemm_bf16);
/* a processor with a tile unit: all but one function are these */
const Kernels kernels_amx = KERNEL_TABLE_AT("amx", 1, gemm, F32, amx_gemm_bf16);
const Kernels kernels_amx_bf16 = KERNEL_TABLE_AT("amx", 1, gemm, BF16, amx_gemm_bf16);
#else
typedef int kernels_avx512_is_for_float_on_x86;
#endif
