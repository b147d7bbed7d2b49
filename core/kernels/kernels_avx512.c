/* kernels_avx512.c -- tiles of 12 rows by 32 columns: 24 accumulators of the 32 registers. */
#if !defined DIFFRL_DOUBLE && defined __x86_64__
#include <immintrin.h>
#define V             __m512
#define VW            16
#define TILE          12
#define vload(p)      _mm512_loadu_ps(p)
#define vstore(p, x)  _mm512_storeu_ps(p, x)
#define vset(x)       _mm512_set1_ps(x)
#define vfma(a, b, c) _mm512_fmadd_ps(a, b, c)
#include "core/kernels/kernels_body.h"
const Kernels kernels_avx512 = KERNEL_TABLE("avx512", 1, gemm);
#else
typedef int kernels_avx512_is_for_float_on_x86;
#endif
