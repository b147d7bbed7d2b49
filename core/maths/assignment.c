/* assignment.c -- shortest augmenting paths (Jonker and Volgenant 1987, Computing 38, 325-340).
 *
 * Every column has a price.  Throughout, each row that has a column has one of those that are
 * cheapest for it, cost minus price.  A row without one asks for the cheapest way to move others
 * along until a free column is reached: a shortest path, found as Dijkstra does. */
#include "core/maths/assignment.h"
#include "core/check.h"

enum { NONE = -1 };

struct Assignment {
  int most;
  double *cost;     /* [most, most], of assignment_pair */
  double *price;    /* per column */
  double *distance; /* per column: the shortest way there from the row that asks */
  int *from;        /* per column: the row before it on that way */
  int *row_of;      /* per column: its row, or NONE */
  int *order;       /* columns; those whose way is settled come first */
};

Assignment *assignment_new(Arena *arena, int most) {
  CHECK(most > 0, "assignment_new: %d rows", most);
  Assignment *work = arena_alloc(arena, sizeof *work);
  work->most = most;
  work->cost = arena_array(arena, double, (size_t)most *(size_t)most);
  work->price = arena_array(arena, double, most);
  work->distance = arena_array(arena, double, most);
  work->from = arena_array(arena, int, most);
  work->row_of = arena_array(arena, int, most);
  work->order = arena_array(arena, int, most);
  return work;
}

/* Every column costs its cheapest row nothing, and gets that row if nobody took it before. */
static void start(Assignment *work, int n, const double *cost, int *col_of_row) {
  for (int i = 0; i < n; i++) col_of_row[i] = NONE;
  for (int j = 0; j < n; j++) {
    int best = 0;
    for (int i = 1; i < n; i++)
      if (cost[i * n + j] < cost[best * n + j]) best = i;
    work->price[j] = cost[best * n + j];
    work->row_of[j] = col_of_row[best] == NONE ? best : NONE;
    if (col_of_row[best] == NONE) col_of_row[best] = j;
    work->order[j] = j;
  }
}

/* Settle the nearest column not settled yet: it becomes number `settled` of the order. */
static int settle(Assignment *work, int n, int settled) {
  int *order = work->order, best = settled;
  for (int k = settled + 1; k < n; k++)
    if (work->distance[order[k]] < work->distance[order[best]]) best = k;
  int column = order[best];
  order[best] = order[settled];
  return order[settled] = column;
}

/* The free column that is nearest to the row; *settled columns are at most as far. */
static int search(Assignment *work, int n, const double *cost, int row, int *settled) {
  for (int j = 0; j < n; j++) {
    work->distance[j] = cost[row * n + j] - work->price[j];
    work->from[j] = row;
  }
  for (*settled = 0;; ++*settled) {
    int column = settle(work, n, *settled), owner = work->row_of[column];
    if (owner == NONE) return column;
    const double *own = cost + owner * n;
    double base = work->distance[column] - (own[column] - work->price[column]);
    for (int k = *settled + 1; k < n; k++) {
      int j = work->order[k];
      double distance = base + own[j] - work->price[j];
      if (distance < work->distance[j]) work->distance[j] = distance, work->from[j] = owner;
    }
  }
}

/* Give the row a column, moving others along the shortest way to a free one. */
static void augment(Assignment *work, int n, const double *cost, int row, int *col_of_row) {
  int settled, column = search(work, n, cost, row, &settled);
  double reach = work->distance[column];
  for (int k = 0; k < settled; k++)
    work->price[work->order[k]] += work->distance[work->order[k]] - reach;
  for (int owner = NONE; owner != row;) {
    owner = work->from[column];
    int left = col_of_row[owner];
    work->row_of[column] = owner, col_of_row[owner] = column;
    column = left;
  }
}

double assignment_solve(Assignment *work, int n, const double *cost, int *col_of_row) {
  CHECK(0 < n && n <= work->most, "assignment of %d rows, room for %d", n, work->most);
  double sum = 0;
  start(work, n, cost, col_of_row);
  for (int i = 0; i < n; i++)
    if (col_of_row[i] == NONE) augment(work, n, cost, i, col_of_row);
  for (int i = 0; i < n; i++) sum += cost[i * n + col_of_row[i]];
  return sum;
}

double assignment_pair(Assignment *work, int n, int dim, int ld, const real *a, const real *b,
                       int *b_of_a) {
  CHECK(0 < n && n <= work->most, "assignment of %d points, room for %d", n, work->most);
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int d = 0; d < dim; d++) {
        double apart = (double)a[i * ld + d] - (double)b[j * ld + d];
        sum += apart * apart;
      }
      work->cost[i * n + j] = sum;
    }
  }
  return assignment_solve(work, n, work->cost, b_of_a);
}
