/* test_average.c -- an average of weights that has not begun is a random start, and nothing acts by
 * it: not an evaluation, not `act`, not what is exported. */
#include "core/checkpoint.h"
#include "tests/program.h"

#define CLONE                                                                                      \
  "train diffusion-bc --data point.hdf5 --env point-v0 --set hidden=16 --set batch=16 --set "      \
  "group=8 --set diffusion_steps=3 --set eval_episodes=2 --set eval_every=10 --threads 1 "

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

static bool says(const char *path, const char *what) {
  size_t n;
  char *text = file_read(path, &n);
  bool found = memmem(text, n, what, strlen(what));
  free(text);
  return found;
}

/* the same evaluation, word for word */
static void assert_same_evaluation(const char *a, const char *b) {
  Outcome x, y;
  program_run(&x, "eval %s --episodes 3 --json", a);
  program_run(&y, "eval %s --episodes 3 --json", b);
  program_expect(&x, 0, "\"returns\""), program_expect(&y, 0, "\"returns\"");
  assert_string_equal(strtok(strstr(x.out, "\"returns\""), "]"),
                      strtok(strstr(y.out, "\"returns\""), "]"));
}

static void what_has_not_begun_does_not_act(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, CLONE "--steps 20 --out online");
  program_expect(&o, 0, "steps");
  program_run(&o, CLONE "--steps 20 --set weights=ema --out waits");
  program_expect(&o, 0, "begins after step 1000");
  assert_true(says("waits/eval.jsonl", "\"weights\":\"online\""));
  assert_false(says("waits/eval.jsonl", "\"weights\":\"ema\""));
  assert_same_file("online/eval.jsonl", "waits/eval.jsonl");
  assert_same_evaluation("online", "waits");
  program_run(&o, "act waits");
  program_expect(&o, 0, "the average of the weights had not begun at step 20");
  program_refuse(2, "eval waits --act weights=ema", "random start");
  program_refuse(2, "eval online --act weights=ema", "random start");
  program_succeed("export waits --out alone");
  assert_same_evaluation("online", "alone/policy.safetensors");
}

static void what_has_begun_acts(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, CLONE "--steps 30 --set weights=ema --set ema_start=13 --out begins");
  program_expect(&o, 0, "steps");
  assert_null(strstr(o.err, "begins after step"));
  assert_true(says("begins/eval.jsonl", "\"weights\":\"online\""));
  assert_true(says("begins/eval.jsonl", "\"weights\":\"ema\""));
  assert_false(says("begins/last.safetensors", "has not begun"));
  program_run(&o, "act begins");
  program_expect(&o, 0, "");
  assert_null(strstr(o.err, "note"));
}

/* Interrupted before it begins, too. */
static void when_it_begins_changes_no_bit_of_a_resumed_run(void **state) {
  (void)state;
  program_succeed(CLONE "--steps 30 --set weights=ema --set ema_start=13 --out whole");
  program_succeed(CLONE "--steps 10 --set weights=ema --set ema_start=13 --out halves");
  assert_true(says("halves/last.safetensors", "has not begun"));
  program_succeed("train --resume halves --steps 30");
  assert_same_files("whole", "halves", "last.safetensors");
}

/* Release 0.1 wrote what was asked: such a file does what it did, and that is said. */
static void older_files_are_known_by_their_seed(void **state) {
  (void)state;
  Outcome o;
  Arena *arena = arena_new();
  Checkpoint old;
  Error error;
  checkpoint_init(&old, arena);
  assert_true(checkpoint_load(&old, "online/last.safetensors", NULL, &error));
  for (size_t i = 0; i < old.texts; i++) {
    char *at = strcmp(old.text[i].key, "act") ? NULL : strstr(old.text[i].value, "online");
    if (at)
      old.text[i].value = arena_text(arena, "%.*sema%s", (int)(at - old.text[i].value),
                                     old.text[i].value, at + strlen("online"));
  }
  assert_true(checkpoint_save(&old, "old.safetensors", &error));
  arena_free(arena);
  assert_true(says("old.safetensors", "\\\"weights\\\":\\\"ema\\\""));
  program_run(&o, "act old.safetensors");
  program_expect(&o, 0, "random start, as release 0.1 acted; use --act weights=online");
  Outcome online;
  program_run(&o, "eval old.safetensors --act weights=online --episodes 3 --json");
  program_run(&online, "eval online --episodes 3 --json");
  assert_string_equal(strtok(strstr(o.out, "\"returns\""), "]"),
                      strtok(strstr(online.out, "\"returns\""), "]"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_has_not_begun_does_not_act),
    cmocka_unit_test(what_has_begun_acts),
    cmocka_unit_test(when_it_begins_changes_no_bit_of_a_resumed_run),
    cmocka_unit_test(older_files_are_known_by_their_seed),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
