/* test_finetune.c -- fine-tuning: what it raises, that it resumes in the middle of an epoch, and
 * what it refuses. */
#include "core/json.h"
#include "tests/program.h"

#define TUNED                                                                                      \
  " --set label=none --set samples=64 --set sample_steps=8 --set batch=112 --set group=16"         \
  " --set lane=16 --set eval_samples=256"

/* a small generator of a mixture of Gaussians */
static int enter(void **state) {
  Outcome o;
  if (program_enter(state)) return -1;
  program_run(&o, "train toy --data gmm --set schedule=cosine --set diffusion_steps=20 --set "
                  "predicts=v --set sampler=ddpm --set hidden=32 --set blocks=1 --set "
                  "pictures=false --steps 600 --out toy");
  return o.code;
}

/* the measure of the last line of a run's eval.jsonl */
static double measured(const char *run, const char *key) {
  char path[64], line[4096], last[4096] = "";
  snprintf(path, sizeof path, "%s/eval.jsonl", run);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) strcpy(last, line);
  fclose(file);
  Error error;
  Json *json = json_parse(last, strlen(last), &error);
  assert_non_null(json);
  double value = json_number(json_get(json, key), NAN);
  json_free(json);
  return value;
}

static const struct {
  const char *name, *algo, *set;
} methods[] = {
  { "ddpo", "ddpo", " --set clip_ratio=0.1" },
  { "ddpo-sf", "ddpo-sf", "" },
  { "dpok", "dpok", " --set clip_ratio=0.1" },
  { "diffusion-dpo", "diffusion-dpo", " --set beta=5" },
  { "flow-grpo", "flow-grpo", " --set clip_ratio=0.1 --set passes=2" },
  { "mixgrpo", "flow-grpo",
    " --set clip_ratio=0.1 --set passes=2 --set window=2 "
    "--set window_every=1" },
  { "grpo-guard", "flow-grpo", " --set clip_ratio=0.02 --set guard=true" },
  { "flow-dppo", "flow-grpo", " --set trust=mask --set mask=0.01" },
  { "awm", "awm", "" },
  { "nft", "nft", "" },
  { "draft", "draft", " --set last=2" },
  { "draft-lv", "draft", " --set copies=2" },
  { "refl", "refl", " --set late=3 --set passes=2" },
  { "rwr", "rwr", "" },
  { "rwr-sparse", "rwr", " --set form=sparse --set best=0.3" },
};
enum { METHODS = sizeof methods / sizeof *methods };

/* The reward rises, and the distance to the reference, which is 0 before, with it. */
static void what_is_rewarded_comes_more_often(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "finetune toy --reward near:0,0" TUNED " --steps 1 --set rate=1e-8 --out before");
  program_expect(&o, 0, "");
  assert_true(measured("before", "kl") < 1e-6);
  for (int i = 0; i < METHODS; i++) {
    char run[32];
    snprintf(run, sizeof run, "after-%s", methods[i].name);
    program_run(&o,
                "finetune toy --algo %s --reward near:0,0 --also linear:1,0" TUNED
                "%s --steps 150 --set rate=1e-3 --out %s",
                methods[i].algo, methods[i].set, run);
    program_expect(&o, 0, "");
    assert_true(measured(run, "kl") > 0.1);
    /* half the mean squared distance to the middle at least halves */
    assert_true(measured(run, "reward") > 0.5 * measured("before", "reward"));
    assert_true(measured(run, "diversity") < measured("before", "diversity"));
  }
}

/* four gradient steps an epoch, stopped after the second of the second epoch (rwr: five, one) */
static void a_run_resumes_in_the_middle_of_an_epoch(void **state) {
  (void)state;
  Outcome o;
  for (int i = 0; i < METHODS; i++) {
    char how[512];
    snprintf(how, sizeof how,
             "finetune toy --algo %s --reward near:0,0 --also linear:1,0" TUNED "%s",
             methods[i].algo, methods[i].set);
    (void)!system("rm -rf whole parts");
    program_run(&o, "%s --steps 9 --threads 1 --out whole", how);
    program_expect(&o, 0, "");
    program_run(&o, "%s --steps 6 --threads 3 --out parts", how);
    program_expect(&o, 0, "");
    program_run(&o, "train --resume parts --steps 9 --threads 2");
    program_expect(&o, 0, "");
    assert_int_equal(system("cmp -s whole/last.safetensors parts/last.safetensors"), 0);
  }
  /* what comes of it is a generator like any other */
  program_run(&o, "sample parts --count 10 --out points.csv");
  program_expect(&o, 0, "");
  program_run(&o, "finetune parts --reward linear:0,1" TUNED " --steps 2 --out again");
  program_expect(&o, 0, "");
}

/* Methods that learn from samples alone take any sampler. */
static void samplers_without_noise_will_do(void **state) {
  (void)state;
  Outcome o;
  for (int i = 0; i < 2; i++) {
    const char *algo = i ? "nft" : "awm";
    program_run(&o,
                "finetune toy --algo %s --reward near:0,0" TUNED " --set sampler=dpmpp_2m --set "
                "eta=0 --steps 100 --set rate=1e-3 --out ode-%s",
                algo, algo);
    program_expect(&o, 0, "");
    char run[32];
    snprintf(run, sizeof run, "ode-%s", algo);
    assert_true(measured(run, "reward") > 0.5 * measured("before", "reward"));
  }
}

/* Without its divergence flow-grpo is ddpo, with a window of all steps too, and where nothing is
 * better than anything else nft stays what it was; all to the bit. */
static void what_says_the_same_does_the_same(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "finetune toy --algo ddpo --reward near:0,0" TUNED " --steps 9 --out same");
  program_expect(&o, 0, "");
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0" TUNED
                  " --set beta=0 --steps 9 --out as-ddpo");
  program_expect(&o, 0, "");
  assert_int_equal(system("cmp -s same/eval.jsonl as-ddpo/eval.jsonl"), 0);
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0" TUNED
                  " --set beta=0 --set window=7 --steps 9 --out whole-window");
  program_expect(&o, 0, "");
  assert_int_equal(system("cmp -s same/eval.jsonl whole-window/eval.jsonl"), 0);
  program_run(&o, "finetune toy --algo nft --reward linear:0,0" TUNED " --steps 9 --out still");
  program_expect(&o, 0, "");
  assert_true(measured("still", "kl") == 0);
}

/* the numbers of a block of a file, by `diffrl inspect`; 0: it is not there */
static long numbers(const char *file, const char *block) {
  Outcome o;
  program_run(&o, "inspect %s", file);
  program_expect(&o, 0, "");
  char start[64];
  snprintf(start, sizeof start, "\n%s: ", block);
  const char *at = strstr(o.out, start);
  return at ? strtol(strstr(at, "tensors, ") + 9, NULL, 10) : 0;
}

/* Adapters alone learn, resume to the same bits whatever the threads, and what they make is a
 * generator like any other. */
static void adapters_learn_in_place_of_the_weights(void **state) {
  (void)state;
  Outcome o;
  const char *how = "finetune toy --reward near:0,0 --set lora=2 --set rate=3e-3" TUNED;
  program_run(&o, "%s --steps 150 --set clip_ratio=0.1 --out low", how);
  program_expect(&o, 0, "");
  assert_true(measured("low", "kl") > 0.1);
  assert_true(measured("low", "reward") > 0.75 * measured("before", "reward"));
  program_run(&o, "%s --steps 9 --threads 1 --out low-whole", how);
  program_expect(&o, 0, "");
  program_run(&o, "%s --steps 6 --threads 3 --out low-parts", how);
  program_expect(&o, 0, "");
  program_run(&o, "train --resume low-parts --steps 9 --threads 2");
  program_expect(&o, 0, "");
  assert_int_equal(system("cmp -s low-whole/last.safetensors low-parts/last.safetensors"), 0);
  long factors = numbers("low/last.safetensors", "denoiser_lora");
  assert_true(factors > 0 && 2 * factors < numbers("low/last.safetensors", "denoiser"));
  program_run(&o, "sample low --count 10 --out points.csv");
  program_expect(&o, 0, "");
  program_run(&o, "finetune toy --reward near:0,0 --set lora=1000 --out x");
  program_expect(&o, 2, "lora=1000");
}

/* Whatever the method: the optimiser keeps moments of the factors, and none of the weights. */
static void every_method_trains_adapters(void **state) {
  (void)state;
  static const char *const algos[] = { "ddpo", "ddpo-sf", "dpok",      "rwr", "draft",
                                       "refl", "nft",     "flow-grpo", "awm", "diffusion-dpo" };
  for (size_t i = 0; i < sizeof algos / sizeof *algos; i++) {
    Outcome o;
    char file[64];
    program_run(
        &o, "finetune toy --algo %s --reward near:0,0 --set lora=2" TUNED " --steps 3 --out low-%s",
        algos[i], algos[i]);
    program_expect(&o, 0, "");
    snprintf(file, sizeof file, "low-%s/last.safetensors", algos[i]);
    assert_int_equal(numbers(file, "denoiser_lora_adam_m (optimiser)"),
                     numbers(file, "denoiser_lora"));
    assert_true(numbers(file, "denoiser_lora") > 0);
    assert_int_equal(numbers(file, "denoiser_adam_m (optimiser)"), 0);
  }
}

/* A policy's, online: the same, and what it began with stays in the file beside them. */
static void policies_train_adapters(void **state) {
  (void)state;
  Outcome o;
  const char *online =
      "--env point-v0 --set envs=2 --set decisions=8 --set passes=2 --set batch=16 "
      "--set group=8 --set eval_episodes=1 --set value_hidden=8 --set rate_steps=5 --set lora=2";
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  for (int flow = 0; flow < 2; flow++) {
    program_run(&o,
                "train diffusion-bc --data point.hdf5 --env point-v0 --steps 2 --set hidden=8 "
                "--set batch=8 --set group=8 --set eval_episodes=1 %s --out bc%d",
                flow ? "--set schedule=flow --set predicts=velocity --set sampler=euler "
                       "--set sample_steps=4"
                     : "--set diffusion_steps=3",
                flow);
    program_expect(&o, 0, "");
  }
  static const char *const algos[] = { "dppo", "fpo", "reinflow" };
  for (int i = 0; i < 3; i++) {
    char file[64];
    program_run(&o, "train %s --init bc%d %s --steps 5 --threads 1 --out act-%s", algos[i], i == 2,
                online, algos[i]);
    program_expect(&o, 0, "");
    snprintf(file, sizeof file, "act-%s/last.safetensors", algos[i]);
    assert_int_equal(numbers(file, "actor_lora_adam_m (optimiser)"), numbers(file, "actor_lora"));
    assert_true(numbers(file, "actor_lora") > 0);
    assert_int_equal(numbers(file, "actor_adam_m (optimiser)"), 0);
    assert_int_equal(numbers(file, "reference"), numbers(file, "actor"));
    program_run(&o, "eval act-%s --episodes 1", algos[i]);
    program_expect(&o, 0, "");
    program_run(&o, "train %s --init bc%d %s --steps 3 --threads 2 --out part-%s", algos[i], i == 2,
                online, algos[i]);
    program_expect(&o, 0, "");
    program_run(&o, "train --resume part-%s --steps 5 --threads 3", algos[i]);
    program_expect(&o, 0, "");
    char command[128];
    snprintf(command, sizeof command, "cmp -s act-%s/last.safetensors part-%s/last.safetensors",
             algos[i], algos[i]);
    assert_int_equal(system(command), 0);
  }
}

/* What is exported has the merged weights, and no factors. */
static void adapters_are_merged_in_what_is_exported(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "finetune fashion-mnist --reward ink --set lora=4 --set samples=4 --set batch=8 "
                  "--set sample_steps=2 --set eval_samples=4 --set grid=0 --steps 1 --out clothes");
  program_expect(&o, 0, "");
  /* pictures of a shipped set are seen by its gauge */
  assert_true(measured("clothes", "classifier_frechet_before") > 0);
  assert_true(measured("clothes", "classifier_frechet") > 0);
  program_run(&o, "export clothes --half --out exported");
  program_expect(&o, 0, "");
  long whole = numbers("clothes/last.safetensors", "denoiser");
  assert_true(10 * numbers("clothes/last.safetensors", "denoiser_lora") < whole);
  assert_int_equal(numbers("exported/model.safetensors", "denoiser_lora"), 0);
  assert_int_equal(numbers("exported/model.safetensors", "denoiser"), whole);
  program_run(&o, "sample exported/model.safetensors --count 1 --out boot.png --label boot");
  program_expect(&o, 0, "");
}

static void what_cannot_be_is_refused_in_words(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "finetune toy --out x");
  program_expect(&o, 2, "--reward");
  program_run(&o, "finetune toy --reward nera:0,0 --out x");
  program_expect(&o, 2, "near");
  program_run(&o, "finetune toy --reward near:0 --out x");
  program_expect(&o, 2, "2 numbers");
  program_run(&o, "finetune toy --reward jpeg-small --out x");
  program_expect(&o, 2, "pictures");
  program_run(&o, "finetune toy --reward near:0,0 --set eta=0 --out x");
  program_expect(&o, 2, "no random step");
  program_run(&o, "finetune toy --reward near:0,0 --set sampler=dpmpp_2m --set eta=0 --out x");
  program_expect(&o, 2, "log-probability");
  program_run(&o, "finetune toy --algo bc --reward near:0,0 --out x");
  program_expect(&o, 2, "does not fine-tune");
  program_run(&o, "finetune toy --reward near:0,0 --set label=3 --out x");
  program_expect(&o, 2, "labels");
  program_run(&o, "finetune toy --reward near:0,0 --algo draft --set sample_steps=3 --set last=4 "
                  "--out x");
  program_expect(&o, 2, "3 steps");
  program_run(&o, "finetune toy --reward near:0,0 --algo draft --set sampler=dpmpp_2m --set eta=0 "
                  "--set copies=2 --out x");
  program_expect(&o, 2, "older stages");
  program_run(&o,
              "finetune toy --reward near:0,0 --algo draft --set copies=2 --set last=2 --out x");
  program_expect(&o, 2, "omit one");
  program_run(&o, "finetune fashion-mnist --reward jpeg-small --algo draft --out x");
  program_expect(&o, 2, "no gradient");
  program_run(&o, "finetune fashion-mnist --reward jpeg-small --algo refl --out x");
  program_expect(&o, 2, "no gradient");
  program_run(&o, "finetune fashion-mnist --reward ink --algo refl --set sampler=sde_dpm_1 --set "
                  "eta=0 --out x");
  program_expect(&o, 2, "ddim");
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0 --set window=20 --out x");
  program_expect(&o, 2, "19 steps");
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0 --set window=2 --set "
                  "sampler=ddpm --set eta=0 --out x");
  program_expect(&o, 2, "no form without noise");
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0 --set trust=mask --set "
                  "clip_ratio=1e-3 --out x");
  program_expect(&o, 2, "clip_ratio");
  program_run(&o, "finetune toy --algo flow-grpo --reward near:0,0 --set sampler=flow_sde --out x");
  program_expect(&o, 2, "flow");
  program_run(&o, "finetune fashion-mnist-judge --reward ink --out x");
  program_expect(&o, 3, "no generator");
  program_run(&o, "train ddpo --set reward=near:0,0 --out x");
  program_expect(&o, 2, "--init");
  assert_int_not_equal(access("x/config.json", F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_rewarded_comes_more_often),
    cmocka_unit_test(a_run_resumes_in_the_middle_of_an_epoch),
    cmocka_unit_test(samplers_without_noise_will_do),
    cmocka_unit_test(what_says_the_same_does_the_same),
    cmocka_unit_test(adapters_learn_in_place_of_the_weights),
    cmocka_unit_test(every_method_trains_adapters),
    cmocka_unit_test(policies_train_adapters),
    cmocka_unit_test(adapters_are_merged_in_what_is_exported),
    cmocka_unit_test(what_cannot_be_is_refused_in_words),
  };
  return cmocka_run_group_tests(tests, enter, program_leave);
}
