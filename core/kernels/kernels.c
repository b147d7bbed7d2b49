/* kernels.c -- which table this CPU runs. */
#include "core/kernels/kernels.h"
#include "core/names.h"
#include <math.h>

const char *map_name(Map map) {
  static const char *const names[] = {
#define MAP_NAME(name, zero) #name,
    KERNEL_MAPS(MAP_NAME)
  };
  return names[map];
}

static const char *const names[] = { "own", "avx512", "avx2", "plain", "openblas" };
enum { OWN, AVX512, AVX2, PLAIN, OPENBLAS, KERNELS };

const char *const *kernels_list(size_t *count) {
  *count = KERNELS;
  return names;
}

#ifdef DIFFRL_DOUBLE
const Kernels *kernels_find(const char *name, Error *error) {
  (void)name, (void)error;
  return &kernels_plain;
}
#else
static const Kernels *own_kernels(void) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return &kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kernels_avx2;
#endif
  return &kernels_plain;
}

/* one for an instruction set, which this processor has or has not */
static const Kernels *set_kernels(int which) {
#ifdef __x86_64__
  const Kernels *own = own_kernels();
  if (which == AVX2 && own != &kernels_plain) return &kernels_avx2;
  if (which == AVX512 && own == &kernels_avx512) return own;
#endif
  return which == PLAIN ? &kernels_plain : NULL;
}

/* An old OpenBLAS can be wrong on a new processor: compare a few shapes with plain C. */
static bool agrees_with_plain(const Kernels *kernels) {
  enum { M = 37, N = 48, K = 29 };
  static const int shape[][3] = { { M, N, K }, { 1, 16, K }, { 5, 32, 3 } };
  real a[M * K], b[K * N], c[M * N], reference[M * N];
  for (int i = 0; i < M * K; i++) a[i] = (real)((i * 37 % 101) - 50) / 50;
  for (int i = 0; i < K * N; i++) b[i] = (real)((i * 53 % 103) - 51) / 51;
  for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
    for (int transposed = 0; transposed < 2; transposed++) {
      const int *d = shape[s];
      Gemm p = { .m = d[0], .n = d[1], .k = d[2], .a = a, .b = b, .bk = N, .bpanel = 32 };
      p.ai = transposed ? 1 : K, p.ak = transposed ? M : 1, p.c = c, p.ldc = N;
      kernels->gemm(&p);
      p.c = reference;
      kernels_plain.gemm(&p);
      for (int i = 0; i < d[0]; i++)
        for (int j = 0; j < d[1]; j++)
          if (!(fabs((double)(c[i * N + j] - reference[i * N + j])) < 1e-4)) return false;
    }
  return true;
}

static const Kernels *blas_kernels(Error *error) {
  if (!&kernels_blas) {
    error_set(error, FAIL_USAGE, "kernels=openblas: built without OpenBLAS; use kernels=own");
    return NULL;
  }
  if (agrees_with_plain(&kernels_blas)) return &kernels_blas;
  error_set(error, FAIL_RUNNING,
            "this OpenBLAS computes wrong products on this CPU; use kernels=own or another "
            "OpenBLAS (OPENBLAS_DIR=)");
  return NULL;
}

const Kernels *kernels_find(const char *name, Error *error) {
  const Kernels *own = own_kernels();
  int which = names_find(NAMES(names, KERNELS, .what = "kernels"), name, error);
  if (which < 0) return NULL;
  if (which == OWN) return own;
  if (set_kernels(which)) return set_kernels(which);
  if (which == OPENBLAS) return blas_kernels(error);
  error_set(error, FAIL_USAGE,
            "kernels=%s cannot run on this CPU; expected own, plain%s or openblas", name,
            own == &kernels_plain ? "" : ", avx2");
  return NULL;
}
#endif
