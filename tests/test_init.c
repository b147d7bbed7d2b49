/* test_init.c -- --init RUN: weights keep the units that they were trained in, and it is said which
 * were taken, which begin anew and which were not used. */
#include "core/checkpoint.h"
#include "tests/program.h"

#define SIZE                                                                                       \
  "--set hidden=16 --set batch=16 --set group=8 --threads 1 --set eval_episodes=2 "                \
  "--set eval_every=10 "
#define ON     "--data point.hdf5 --env point-v0 " SIZE
#define WIDE   "--data wide.hdf5 --env point-v0 " SIZE
#define NORMAL "--set normalize_obs=true "

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  file_make_data("wide.hdf5", "point-v0", 12, 3, "{\"env\": \"point-v0\"}");
  program_succeed("train diffusion-bc " ON NORMAL "--steps 10 --out clone");
  program_succeed("train diffusion-ql " ON "--steps 5 --set candidates=2 --out climb");
  program_succeed("train iql " ON "--steps 5 --out iql");
  return 0;
}

static void assert_same_tensor(const char *a, const char *b, const char *name) {
  Arena *arena = arena_new();
  Checkpoint x, y;
  Error error;
  checkpoint_init(&x, arena), checkpoint_init(&y, arena);
  if (!checkpoint_load(&x, a, NULL, &error) || !checkpoint_load(&y, b, NULL, &error))
    fail_msg("%s", error.text);
  const CheckpointTensor *s = checkpoint_tensor(&x, name), *t = checkpoint_tensor(&y, name);
  assert_true(s && t && checkpoint_bytes(s) == checkpoint_bytes(t));
  assert_memory_equal(s->data, t->data, checkpoint_bytes(s));
  arena_free(arena);
}

static void set_bounds(const char *from, const char *to, float low, float high) {
  Arena *arena = arena_new();
  Checkpoint set;
  Error error;
  checkpoint_init(&set, arena);
  assert_true(checkpoint_load(&set, from, NULL, &error));
  *(float *)checkpoint_tensor(&set, "action_low")->data = low;
  *(float *)checkpoint_tensor(&set, "action_high")->data = high;
  assert_true(checkpoint_save(&set, to, &error));
  arena_free(arena);
}

static void a_normaliser_comes_with_its_weights(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "train diffusion-bc " WIDE NORMAL "--init clone --steps 20 --out wide");
  program_expect(&o, 0, "normalised as its policy does");
  static const char *const names[] = { "normalizer/mean", "normalizer/std", "action_low" };
  for (int i = 0; i < 3; i++)
    assert_same_tensor("clone/last.safetensors", "wide/last.safetensors", names[i]);
  /* and stays when the run is interrupted */
  program_succeed("train diffusion-bc " WIDE NORMAL "--init clone --steps 10 --out halves");
  program_succeed("train --resume halves --steps 20");
  assert_same_files("wide", "halves", "last.safetensors eval.jsonl");
  /* on its own data nothing changes and nothing is said */
  program_run(&o, "train diffusion-bc " ON NORMAL "--init clone --steps 1 --out same");
  program_expect(&o, 0, "gives actor, actor_ema; optimisers begin anew");
  assert_null(strstr(o.err, "normalised as"));
  assert_null(strstr(o.err, "bounds of its policy"));
  program_refuse(2, "train diffusion-bc " ON "--init clone --out x", "normalize_obs=true");
}

static void bounds_come_with_their_weights(void **state) {
  (void)state;
  Outcome o;
  set_bounds("clone/last.safetensors", "narrow.safetensors", -1, 0.5f);
  set_bounds("clone/last.safetensors", "broad.safetensors", -1.5f, 2);
  program_refuse(2, "train diffusion-bc " ON NORMAL "--init narrow.safetensors --out x",
                 "which it could not learn");
  program_run(&o, "train diffusion-bc " ON NORMAL "--init broad.safetensors --steps 2 --out broad");
  program_expect(&o, 0, "within the bounds of its policy");
  assert_same_tensor("broad.safetensors", "broad/last.safetensors", "action_low");
  assert_same_tensor("broad.safetensors", "broad/last.safetensors", "action_high");
  /* without an environment the range of the data would bound them */
  program_succeed("train diffusion-bc --data point.hdf5 --env none " SIZE NORMAL
                  "--init clone --steps 2 --out blind");
  assert_same_tensor("clone/last.safetensors", "blind/last.safetensors", "action_high");
  /* who explores needs the environment's own */
  const char *sac = "train sac --env point-v0 " SIZE "--set random_steps=20 --steps 2 --out ";
  program_run(&o, "%ssac", sac);
  program_expect(&o, 0, "run=sac");
  set_bounds("sac/last.safetensors", "other.safetensors", -2, 2);
  program_run(&o, "%sx --init other.safetensors", sac);
  program_expect(&o, 2, "expected weights that were trained for these");
  program_run(&o, "%ssac-again --init sac", sac);
  program_expect(&o, 0, "temperature");
}

static void it_is_said_what_was_taken(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "train diffusion-ql " ON NORMAL "--init clone --set candidates=2 --steps 1 "
                  "--out more");
  program_expect(&o, 0,
                 "gives actor, actor_ema; it does not hold, and begins anew, critic, "
                 "critic_target; optimisers");
  program_run(&o, "train diffusion-bc " ON "--init climb --steps 1 --out less");
  program_expect(&o, 0, "not used of it are critic, critic_target");
  program_run(&o, "train iql " ON "--init iql --steps 1 --out iql-again");
  program_expect(&o, 0, "value");
  assert_null(strstr(o.err, "begins anew,"));
}

static void what_gives_nothing_is_an_error(void **state) {
  (void)state;
  program_succeed("train toy --data moons --set hidden=8 --set pictures=false --set batch=16 "
                  "--set eval_points=64 --steps 2 --out toy");
  program_succeed("train bc " ON "--steps 2 --out bc");
  program_refuse(3, "train diffusion-bc " ON "--init toy --out x", "not a policy");
  program_refuse(2, "train diffusion-bc " ON "--init bc --out x", "a deterministic policy");
  program_refuse(2, "train bc " ON "--init climb --out x", "a diffusion policy");
  program_refuse(2, "train bc " ON "--set policy=gaussian --init bc --out x", "deterministic");
  /* the same shapes, another meaning */
  program_refuse(2, "train diffusion-bc " ON NORMAL "--set predicts=x0 --init clone --out x",
                 "its predicts is eps; use --set predicts=eps");
  program_refuse(2, "train diffusion-bc " ON NORMAL "--set schedule=cosine --init clone --out x",
                 "use --set schedule=vp");
  program_refuse(
      2, "train diffusion-bc --data point.hdf5 --env point-v0 " NORMAL "--init clone --out x",
      "shapes");
  program_refuse(3, "train diffusion-bc " ON "--init nowhere --out x", "nowhere");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_normaliser_comes_with_its_weights),
    cmocka_unit_test(bounds_come_with_their_weights),
    cmocka_unit_test(it_is_said_what_was_taken),
    cmocka_unit_test(what_gives_nothing_is_an_error),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
