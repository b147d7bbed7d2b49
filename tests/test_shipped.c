/* test_shipped.c -- what is inside the program can be loaded, and is what its name says. */
#include "policy/classifier.h"
#include "policy/models/pictures.h"
#include "rl/shipped.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const Classifier *load(Arena *arena, const char *name) {
  Checkpoint c;
  Error error;
  checkpoint_init(&c, arena);
  const Shipped *shipped = shipped_find(name);
  assert_non_null(shipped);
  assert_true(shipped_load(&c, shipped, &error));
  const Classifier *classifier = classifier_load(arena, &c, &error);
  assert_non_null(classifier);
  return classifier;
}

/* The network that gives a reward is never the one that measures. */
static void the_judge_is_not_the_gauge(void **state) {
  (void)state;
  Arena *arena = arena_new();
  const Classifier *judge = load(arena, "fashion-mnist-judge");
  const Classifier *gauge = load(arena, "fashion-mnist-gauge");
  const Classifier *both[] = { judge, gauge };
  for (int i = 0; i < 2; i++) {
    assert_int_equal(both[i]->classes, 10);
    assert_string_equal(both[i]->data, "fashion-mnist");
    assert_string_equal(both[i]->name[7], "sneaker");
    assert_true(both[i]->accuracy > 0.91);
  }
  assert_true(judge->params->layout->size != gauge->params->layout->size);
  arena_free(arena);
}

static void other_names_are_files(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Checkpoint c;
  Error error;
  checkpoint_init(&c, arena);
  assert_null(shipped_find("fashion-mnist-judge.safetensors"));
  assert_false(shipped_or_file(&c, "no such file", &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_true(shipped_or_file(&c, "fashion-mnist-gauge", &error));
  arena_free(arena);
}

/* Every tensor of every file agrees with its checksum. */
static void whole(void **state) {
  (void)state;
  size_t count;
  const Shipped *list = shipped_list(&count);
  for (size_t i = 0; i < count; i++) {
    Arena *arena = arena_new();
    Checkpoint c;
    Error error;
    bool verified = false;
    checkpoint_init(&c, arena);
    assert_true(shipped_inspect(&c, &list[i], &verified, &error));
    assert_true(verified && c.tensors > 0);
    for (size_t k = 0; k < c.tensors; k++) assert_int_equal(c.tensor[k].verdict, CHECKSUM_GOOD);
    arena_free(arena);
  }
}

/* The way of sampling can be changed where it is one of the model's own settings, within range. */
static void sampled_otherwise(void **state) {
  (void)state;
  Arena *arena = arena_new();
  Checkpoint c;
  Error error;
  checkpoint_init(&c, arena);
  assert_true(shipped_load(&c, shipped_find("fashion-mnist"), &error));
  Model *m = model_load_shape(arena, &model_pictures, &c, &error);
  assert_non_null(m);
  assert_true(model_resample(m, "guidance", "1.75", "--guidance", &error));
  assert_true(model_resample(m, "sample_steps", "7", "--steps", &error));
  ModelSampling how = model_sampling(m);
  assert_true(how.guidance == 1.75 && how.sampler.steps == 7);
  /* and a file that is written now says so */
  assert_true(((PicturesModel *)m)->guidance == 1.75);
  assert_false(model_resample(m, "guidance", "101", "--guidance", &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  m->cond = 0;
  assert_false(model_resample(m, "guidance", "1.5", "--guidance", &error));
  assert_int_equal(error.kind, FAIL_USAGE);
  assert_true(model_sampling(m).guidance == 1.75);
  arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_judge_is_not_the_gauge),
    cmocka_unit_test(other_names_are_files),
    cmocka_unit_test(whole),
    cmocka_unit_test(sampled_otherwise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
