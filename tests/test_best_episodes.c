/* test_best_episodes.c -- the rows of the best episodes, against a loop that ranks every episode
 * for every row. */
#include "datasets/best_episodes.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

enum { EPISODES = 20, ROWS = 99 };

typedef struct {
  Arena *arena;
  Dataset data;
  float reward[ROWS];
  int64_t start[EPISODES + 1], transition[ROWS];
  RowSampler sampler;
} File;

/* Episodes of 1 to 9 steps without successors of their last; two of the same rewards. */
static void file_open(File *f) {
  *f = (File){ .arena = arena_new() };
  Rng rng = rng_stream(3, "episodes");
  for (int e = 0; e < EPISODES; e++) f->start[e + 1] = f->start[e] + 1 + e * 7 % 9;
  assert_int_equal(f->start[EPISODES], ROWS);
  for (int i = 0; i < ROWS; i++) f->reward[i] = (float)rng_normal(rng, 0, (uint32_t)i, 0);
  for (int i = 0; i < f->start[2] - f->start[1]; i++)
    f->reward[f->start[10] + i] = f->reward[f->start[1] + i];
  f->data = (Dataset){ .rows = ROWS,
                       .episodes = EPISODES,
                       .rewards = f->reward,
                       .episode_start = f->start,
                       .transition = f->transition };
  for (int e = 0; e < EPISODES; e++)
    for (int64_t i = f->start[e]; i < f->start[e + 1] - 1; i++)
      f->transition[f->data.transitions++] = i;
  f->sampler = (RowSampler){ .data = &f->data };
}
static void file_close(File *f) { arena_free(f->arena); }

static int64_t episode_of(const File *f, int64_t row) {
  int64_t e = 0;
  while (f->start[e + 1] <= row) e++;
  return e;
}

static double return_of(const File *f, int64_t e, double gamma) {
  double sum = 0;
  for (int64_t i = f->start[e]; i < f->start[e + 1]; i++)
    sum += pow(gamma, (double)(i - f->start[e])) * (double)f->reward[i];
  return sum;
}

/* has the sampler a row of it? */
static bool is_drawn(const int64_t *rows, int64_t count, const File *f, int64_t e) {
  for (int64_t i = 0; i < count; i++)
    if (episode_of(f, rows[i]) == e) return true;
  return false;
}

/* Is the row's episode among the best of those drawn?  The earlier of equals is the better. */
static bool is_kept(const File *f, const int64_t *rows, int64_t n, int64_t row, double share,
                    double gamma) {
  int64_t own = episode_of(f, row), better = 0, episodes = 0;
  for (int64_t e = 0; e < EPISODES; e++) {
    if (!is_drawn(rows, n, f, e)) continue;
    double gap = return_of(f, e, gamma) - return_of(f, own, gamma);
    bool equal = fabs(gap) < 1e-9;
    better += equal ? e < own : gap > 0;
    episodes++;
  }
  return better < fmax(1, ceil(share * (double)episodes));
}

static void compare(const File *f, const int64_t *rows, int64_t n) {
  static const double shares[] = { 0, 0.05, 0.1, 0.3, 0.5, 0.99, 1 }, gammas[] = { 1, 0.9, 0 };
  for (int i = 0; i < 7; i++)
    for (int j = 0; j < 3; j++) {
      int64_t count, at = 0;
      int64_t *best = best_episodes(f->arena, &f->sampler, shares[i], gammas[j], &count);
      assert_true(count > 0 && count <= n);
      for (int64_t r = 0; r < n; r++)
        if (is_kept(f, rows, n, rows[r], shares[i], gammas[j])) {
          assert_true(at < count);
          assert_int_equal(best[at++], rows[r]);
        }
      assert_int_equal(at, count);
      if (i == 6) assert_int_equal(count, n);
    }
}

static void rows_are_those_of_a_slow_loop(void **state) {
  (void)state;
  File f;
  file_open(&f);
  compare(&f, f.transition, f.data.transitions);
  file_close(&f);
}

/* Episodes that the sampler does not draw from are not counted. */
static void a_choice_of_rows_is_respected(void **state) {
  (void)state;
  File f;
  file_open(&f);
  int64_t rows[ROWS], n = 0;
  for (int64_t i = 0; i < f.data.transitions; i++)
    if (episode_of(&f, f.transition[i]) % 3 == 1) rows[n++] = f.transition[i];
  f.sampler.rows = rows, f.sampler.row_count = n;
  compare(&f, rows, n);
  file_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_those_of_a_slow_loop),
    cmocka_unit_test(a_choice_of_rows_is_respected),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
