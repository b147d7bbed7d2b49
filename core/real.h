/* real.h -- the number type of the tape and the one layout rule for rows of numbers.
 *
 * float, or double in MODE=double, where gradient checks and identities run to 1e-8 and better.
 * A matrix [rows, n] keeps row_stride(n) reals a row: a multiple of 16, the padding zero. */
#ifndef CORE_REAL_H
#define CORE_REAL_H

#ifdef DIFFRL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* A multiple of 16, and not of 64: rows a power of two apart would share cache sets. */
static inline int row_stride(int n) {
  int ld = (n + 15) / 16 * 16;
  return ld % 64 == 0 && ld > 64 ? ld + 16 : ld;
}

#endif
