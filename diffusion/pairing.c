/* pairing.c -- noise paired with data, piece by piece. */
#include "diffusion/pairing.h"
#include "core/maths/assignment.h"
#include "core/check.h"

struct Pairing {
  int piece, dim;
  Assignment *work;
  int *drawn; /* [piece]: whose noise each row gets */
  float *row; /* [dim] */
  real *eps;  /* [piece, row_stride(dim)]: as drawn */
};

Pairing *pairing_new(Arena *arena, int piece, int dim) {
  CHECK(piece > 0 && dim > 0, "pairing of %d rows of %d numbers", piece, dim);
  Pairing *p = arena_alloc(arena, sizeof *p);
  *p = (Pairing){ .piece = piece, .dim = dim, .work = assignment_new(arena, piece) };
  p->drawn = arena_array(arena, int, piece);
  p->row = arena_array(arena, float, dim);
  p->eps = arena_array(arena, real, piece * row_stride(dim));
  return p;
}

double pairing_draw(Pairing *p, Rng rng, uint64_t step, int rows, const real *x0, real *eps) {
  int ld = row_stride(p->dim);
  double cost = 0;
  for (int from = 0; from < rows; from += p->piece) {
    int n = rows - from < p->piece ? rows - from : p->piece;
    for (int i = 0; i < n; i++) {
      rng_normals(rng, step, (uint32_t)(from + i), p->row, p->dim);
      for (int j = 0; j < p->dim; j++) p->eps[i * ld + j] = (real)p->row[j];
    }
    const real *data = x0 + (ptrdiff_t)from * ld;
    cost += assignment_pair(p->work, n, p->dim, ld, data, p->eps, p->drawn);
    for (int i = 0; i < n; i++)
      for (int j = 0; j < ld; j++)
        eps[(ptrdiff_t)(from + i) * ld + j] = p->eps[p->drawn[i] * ld + j];
  }
  return cost / rows;
}
