/* test_params.c -- slots in one block: zero padding, growing versions, dense files.  Promises T2
 * and T5 of docs/design.md. */
#include "core/tape/params.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W, B, TEMPERATURE };

static Params *two_layers(Arena *arena, const char *block) {
  Params *p = params_new(arena, block);
  assert_int_equal(params_slot(p, "0/w", 2, 3, 65, 0.5), W);
  assert_int_equal(params_slot(p, "0/b", 2, 1, 65, 0.25), B);
  assert_int_equal(params_slot(p, "temperature", 1, 1, 1, 0), TEMPERATURE);
  params_allocate(p);
  return p;
}

static void rows_are_padded_and_never_a_power_of_two_apart(void **state) {
  (void)state;
  assert_int_equal(row_stride(1), 16);
  assert_int_equal(row_stride(16), 16);
  assert_int_equal(row_stride(17), 32);
  assert_int_equal(row_stride(64), 64);
  assert_int_equal(row_stride(128), 144);
  assert_int_equal(row_stride(256), 272);
}

static void slots_lie_one_after_the_other(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = two_layers(arena, "net");
  assert_int_equal(p->layout->size, 2 * 3 * 80 + 2 * 80 + 16);
  assert_ptr_equal(params_at(p, W), p->values);
  assert_ptr_equal(params_at(p, B), p->values + 2 * 3 * 80);
  assert_ptr_equal(params_at(p, TEMPERATURE), p->values + 2 * 4 * 80);
  arena_free(arena);
}

static void a_network_has_as_many_slots_as_it_declares(void **state) {
  (void)state;
  enum { SLOTS = 5000 };
  Arena *arena = arena_new();
  Params *p = params_new(arena, "net");
  char name[32];
  for (int i = 0; i < SLOTS; i++) {
    snprintf(name, sizeof name, "%d", i);
    assert_int_equal(params_slot(p, name, 1, 1, 1 + i % 20, 0), i);
  }
  for (int i = 0; i < SLOTS; i++) {
    assert_int_equal(atoi(p->layout->slot[i].name), i);
    assert_int_equal(p->layout->slot[i].n, 1 + i % 20);
  }
  arena_free(arena);
}

/* uniform in [-bound, bound]: extremes near the bound, second moment bound^2 / 3; padding zero */
static void initial_values_are_uniform_in_the_bound(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = two_layers(arena, "net");
  params_init(p, 1);
  double most = 0, squares = 0;
  for (int r = 0; r < 6; r++)
    for (int j = 0; j < 80; j++) {
      double v = (double)params_at(p, W)[r * 80 + j];
      if (j >= 65) assert_true(v == 0);
      most = fmax(most, fabs(v)), squares += v * v;
    }
  assert_true(most <= 0.5 && most > 0.49);
  double expected = 0.25 / 3, spread = 0.25 * sqrt(4.0 / 45 / 390); /* of a mean of 390 squares */
  assert_true(fabs(squares / 390 - expected) < 4 * spread);
  assert_true(*params_at(p, TEMPERATURE) == 0);
  assert_true(params_at(p, B)[0] != params_at(p, W)[0] / 2); /* each slot has draws of its own */
  arena_free(arena);
}

static void seed_and_block_name_give_the_numbers(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *a = two_layers(arena, "net"), *b = two_layers(arena, "net");
  Params *c = two_layers(arena, "other");
  params_init(a, 1), params_init(b, 1), params_init(c, 1);
  size_t size = a->layout->size * sizeof(real);
  assert_memory_equal(a->values, b->values, size);
  assert_memory_not_equal(a->values, c->values, size);
  params_init(b, 2);
  assert_memory_not_equal(a->values, b->values, size);
  arena_free(arena);
}

static void clones_are_their_own_numbers(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = two_layers(arena, "net");
  params_init(p, 1);
  Params *clone = params_clone(p, "target");
  size_t size = p->layout->size * sizeof(real);
  assert_ptr_equal(clone->layout, p->layout);
  assert_memory_equal(clone->values, p->values, size);
  params_init(p, 2);
  assert_memory_not_equal(clone->values, p->values, size);
  params_copy(clone, p);
  assert_memory_equal(clone->values, p->values, size);
  arena_free(arena);
}

static void lerp_moves_a_part_of_the_way(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *a = two_layers(arena, "a"), *b = two_layers(arena, "b");
  params_init(a, 1), params_init(b, 1);
  Params *to = params_clone(a, "to");
  params_lerp(to, b, 0.25);
  for (size_t i = 0; i < a->layout->size; i++)
    assert_true(fabs((double)(to->values[i] - (3 * a->values[i] + b->values[i]) / 4)) < 1e-7);
  params_lerp(to, b, 1);
  for (size_t i = 0; i < a->layout->size; i++)
    assert_true(fabs((double)(to->values[i] - b->values[i])) < 1e-7);
  arena_free(arena);
}

static void every_change_grows_the_version(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *a = two_layers(arena, "a"), *b = two_layers(arena, "b");
  Checkpoint file;
  checkpoint_init(&file, arena);
  params_save(a, &file);
  Error error;
  uint64_t version = a->version;
  assert_true(version > 0);
  for (int change = 0; change < 5; change++, version = a->version) {
    if (change == 0) params_init(a, 1);
    if (change == 1) params_copy(a, b);
    if (change == 2) params_lerp(a, b, 0.1);
    if (change == 3) params_touch(a);
    if (change == 4) assert_true(params_load(a, &file, &error));
    assert_true(a->version > version);
  }
  arena_free(arena);
}

static void files_hold_the_dense_numbers_and_give_them_back(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = two_layers(arena, "net");
  params_init(p, 1);
  Checkpoint file;
  checkpoint_init(&file, arena);
  params_save(p, &file);
  const CheckpointTensor *w = checkpoint_tensor(&file, "net/0/w");
  assert_true(w->rank == 3 && w->shape[0] == 2 && w->shape[1] == 3 && w->shape[2] == 65);
  const CheckpointTensor *b = checkpoint_tensor(&file, "net/0/b");
  assert_true(b->rank == 2 && b->shape[0] == 2 && b->shape[1] == 65);
  assert_int_equal(checkpoint_tensor(&file, "net/temperature")->rank, 1);
  assert_memory_equal((real *)w->data + 65, params_at(p, W) + 80, 65 * sizeof(real));
  Params *again = two_layers(arena, "net");
  Error error;
  assert_true(params_load(again, &file, &error));
  assert_memory_equal(again->values, p->values, p->layout->size * sizeof(real));
  arena_free(arena);
}

static void what_does_not_fit_is_refused(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Params *p = two_layers(arena, "net"), *other = two_layers(arena, "other");
  Checkpoint file;
  Error error;
  checkpoint_init(&file, arena);
  params_save(p, &file);
  assert_false(params_load(other, &file, &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, "other/0/w"));
  Params *wider = params_new(arena, "net");
  params_slot(wider, "0/w", 2, 4, 65, 1);
  params_allocate(wider);
  assert_false(params_load(wider, &file, &error));
  assert_non_null(strstr(error.text, "[2, 4, 65]"));
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_padded_and_never_a_power_of_two_apart),
    cmocka_unit_test(slots_lie_one_after_the_other),
    cmocka_unit_test(a_network_has_as_many_slots_as_it_declares),
    cmocka_unit_test(initial_values_are_uniform_in_the_bound),
    cmocka_unit_test(seed_and_block_name_give_the_numbers),
    cmocka_unit_test(clones_are_their_own_numbers),
    cmocka_unit_test(lerp_moves_a_part_of_the_way),
    cmocka_unit_test(every_change_grows_the_version),
    cmocka_unit_test(files_hold_the_dense_numbers_and_give_them_back),
    cmocka_unit_test(what_does_not_fit_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
