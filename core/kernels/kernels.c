/* kernels.c -- which table this CPU runs. */
#include "core/kernels/kernels.h"
#include "core/kernels/kernels_amx.h"
#include "core/names.h"
#include <math.h>

const char *map_name(Map map) {
  static const char *const names[] = {
#define MAP_NAME(name, zero) #name,
    KERNEL_MAPS(MAP_NAME)
  };
  return names[map];
}

const char *precision_name(Precision precision) {
  return precision == PRECISION_BF16 ? "bf16" : "f32";
}

static const char *const names[] = { "own", "amx", "avx512", "avx2", "plain", "openblas" };
enum { OWN, AMX, AVX512, AVX2, PLAIN, OPENBLAS, KERNELS };

const char *const *kernels_list(size_t *count) {
  *count = KERNELS;
  return names;
}

#ifdef DIFFRL_DOUBLE
const Kernels *kernels_with(const Kernels *kernels, Precision precision, Error *error) {
  if (precision == PRECISION_F32) return kernels;
  error_set(error, FAIL_USAGE, "precision=bf16 is for floats; MODE=double has f32 alone");
  return NULL;
}
const Kernels *kernels_at(const char *name, Precision precision, Error *error) {
  (void)name;
  return kernels_with(&kernels_plain, precision, error);
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
  if (which == AMX && own == &kernels_avx512 && amx_granted()) return &kernels_amx;
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

/* the same path, for products of the other precision; OpenBLAS has none */
static const Kernels *bf16_kernels(const Kernels *kernels) {
#ifdef __x86_64__
  static const Kernels *const pair[][2] = { { &kernels_avx2, &kernels_avx2_bf16 },
                                            { &kernels_avx512, &kernels_avx512_bf16 },
                                            { &kernels_amx, &kernels_amx_bf16 } };
  for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
    if (kernels == pair[i][0] || kernels == pair[i][1]) return pair[i][1];
#endif
  return kernels == &kernels_plain || kernels == &kernels_plain_bf16 ? &kernels_plain_bf16 : NULL;
}
static const Kernels *f32_kernels(const Kernels *kernels) {
#ifdef __x86_64__
  if (kernels == &kernels_amx_bf16) return &kernels_amx;
  if (kernels == &kernels_avx512_bf16) return &kernels_avx512;
  if (kernels == &kernels_avx2_bf16) return &kernels_avx2;
#endif
  return kernels == &kernels_plain_bf16 ? &kernels_plain : kernels;
}

const Kernels *kernels_with(const Kernels *kernels, Precision precision, Error *error) {
  if (kernels->precision == precision) return kernels;
  if (precision == PRECISION_F32) return f32_kernels(kernels);
#ifdef __x86_64__
  if (kernels == &kernels_avx512 && amx_granted()) return &kernels_amx_bf16;
#endif
  const Kernels *with = bf16_kernels(kernels);
  if (!with)
    error_set(error, FAIL_USAGE,
              "kernels=%s has no bf16 products; use kernels=own or precision=f32", kernels->name);
  return with;
}

const Kernels *kernels_at(const char *name, Precision precision, Error *error) {
  const Kernels *own = own_kernels();
  int which = names_find(NAMES(names, KERNELS, .what = "kernels"), name, error);
  if (which < 0) return NULL;
  if (which == OWN) return kernels_with(own, precision, error);
  const Kernels *set = set_kernels(which);
  if (set) return precision == PRECISION_BF16 ? bf16_kernels(set) : set;
  if (which == OPENBLAS) {
    const Kernels *blas = blas_kernels(error);
    return blas ? kernels_with(blas, precision, error) : NULL;
  }
  error_set(error, FAIL_USAGE,
            "kernels=%s cannot run on this CPU; expected own, plain%s or openblas", name,
            own == &kernels_plain ? "" : ", avx2");
  return NULL;
}
#endif

const Kernels *kernels_find(const char *name, Error *error) {
  return kernels_at(name, PRECISION_F32, error);
}
