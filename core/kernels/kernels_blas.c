/* kernels_blas.c -- products by OpenBLAS; everything else by our own kernels.  The only door to
 * cblas.h.  The serial flavour is wanted: threads split the batch, never a product. */
#ifndef DIFFRL_DOUBLE
#include "core/kernels/kernels_body.h"
#include <cblas.h>
#include <string.h>

static void blas_gemm(const Gemm *p) {
  for (int i = 0; i < p->m; i++) {
    real *c = p->c + i * p->ldc;
    if (!p->init)
      memset(c, 0, (size_t)p->n * sizeof *c);
    else if (p->init != p->c)
      memcpy(c, p->init + i * p->init_row, (size_t)p->n * sizeof *c);
  }
  if (!p->k) return;
  if (p->ak == 1)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, p->m, p->n, p->k, 1, p->a,
                (int)(p->m > 1 ? p->ai : p->k), p->b, (int)p->bk, 1, p->c, (int)p->ldc);
  else if (p->ai == 1)
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, p->m, p->n, p->k, 1, p->a,
                (int)(p->k > 1 ? p->ak : p->m), p->b, (int)p->bk, 1, p->c, (int)p->ldc);
  else
    gemm(p);
}

const Kernels kernels_blas = KERNEL_TABLE("openblas", 0, blas_gemm);
#else
typedef int kernels_blas_is_float_only;
#endif
