/* test_tilted_density.c -- how near fine-tuning comes to the density that it should, of a trained
 * generator of a mixture: p(x) e^{r(x) / T} / Z, whose mean reward is known from samples of p. */
#include "core/json.h"
#include "tests/program.h"

static int enter(void **state) {
  Outcome o;
  if (program_enter(state)) return -1;
  program_run(&o, "train toy --data gmm --set schedule=cosine --set diffusion_steps=20 --set "
                  "predicts=v --set sampler=ddpm --set sample_steps=8 --set hidden=32 --set "
                  "blocks=1 --set pictures=false --steps 600 --out toy");
  if (!o.code) program_run(&o, "sample toy --count 20000 --out toy.csv");
  return o.code;
}

static double reward_of(const char *name, double x, double y) {
  return *name == 'l' ? x : -0.5 * (x * x + y * y);
}

/* mean reward of the generator, and of its density times e^{r / T} */
static void tilt(const char *reward, double temperature, double *before, double *tilted) {
  FILE *file = fopen("toy.csv", "r");
  assert_non_null(file);
  double x, y, weights = 0, sum = 0, plain = 0;
  int n = 0;
  (void)!fscanf(file, "x,y\n");
  for (; fscanf(file, "%lf,%lf\n", &x, &y) == 2; n++) {
    double r = reward_of(reward, x, y), w = exp(r / temperature);
    plain += r, weights += w, sum += w * r;
  }
  fclose(file);
  assert_int_equal(n, 20000);
  *before = plain / n, *tilted = sum / weights;
}

static double mean_reward(const char *run) {
  char path[64];
  size_t length;
  Error error;
  snprintf(path, sizeof path, "%s/eval.jsonl", run);
  char *text = file_read(path, &length);
  Json *json = json_parse(text, strlen(text), &error); /* of one evaluation, at the end */
  assert_non_null(json);
  double value = json_number(json_get(json, "reward"), NAN);
  json_free(json), free(text);
  return value;
}

/* It must come `from` to `to` of the way from the generator's mean reward to the tilted one. */
static void expect_way(const char *how, const char *reward, double temperature, double from,
                       double to) {
  Outcome o;
  double before, tilted;
  (void)!system("rm -rf tuned");
  program_run(&o,
              "finetune toy --reward %s --set label=none --set sample_steps=8 --set group=32 --set "
              "lane=32 --set eval_samples=4096 --set eval_every=0 --set deviation=none --set "
              "baseline=epoch --set advantage_clip=0 --set rate=1e-3 --set schedule_rate=cosine "
              "--out tuned %s",
              reward, how);
  program_expect(&o, 0, "");
  tilt(reward, temperature, &before, &tilted);
  double way = (mean_reward("tuned") - before) / (tilted - before);
  if (!(way > from && way < to))
    fail_msg("%s, %s: %.3f of the way, expected %g to %g", how, reward, way, from, to);
}

/* It falls short: as published, the gradient of a step's divergence leaves out that its followers
 * will pay for where it leads (with one normal distribution they pay the same everywhere, and it
 * comes all the way: test_policy_gradient.c).  Measured: .92 of the way with the linear reward,
 * .75 with the quadratic one. */
static void flow_grpo_with_kl(void **state) {
  (void)state;
  const char *how = "--algo flow-grpo --set samples=512 --set batch=448 --set clip_ratio=0.2 --set "
                    "beta=0.3 --steps 300";
  expect_way(how, "linear:1,0", 0.3, 0.82, 1.02);
  expect_way(how, "near:0,0", 0.3, 0.65, 1.02);
}

/* One epoch, trained to its end: T = Z b.  The best network is the tilted density's but for the
 * second order of r / T, and r spreads by 0.4 T here: measured, 1.07 of the way. */
static void an_epoch_of_nft(void **state) {
  (void)state;
  const char *how = "--algo nft --set samples=4096 --set batch=512 --set passes=10 --set beta=0 "
                    "--set adaptive=false --set spread=4 --set mix=0.5 --steps 640";
  expect_way(how, "linear:1,0", 2, 0.92, 1.2);
  expect_way(how, "near:0,0", 2, 0.92, 1.2);
}

/* The same gradient as that of flow-grpo's divergence, and as short. */
static void dpok_of_a_mixture(void **state) {
  (void)state;
  expect_way("--algo dpok --set samples=512 --set batch=448 --set clip_ratio=0.2 --set kl=0.3 "
             "--steps 300",
             "linear:1,0", 0.3, 0.82, 1.02);
}

/* Samples of the generator as it came, weighted: the tilted density is the aim.  What the eight
 * steps of the sampler lose is learned, and lost again when it is sampled: measured, 1.09 of the
 * way. */
static void rwr_of_a_mixture(void **state) {
  (void)state;
  expect_way("--algo rwr --set draws=reference --set beta=1 --set samples=2048 --set levels=8 "
             "--set batch=1024 --steps 250",
             "linear:1,0", 1, 0.92, 1.2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(flow_grpo_with_kl),
    cmocka_unit_test(an_epoch_of_nft),
    cmocka_unit_test(dpok_of_a_mixture),
    cmocka_unit_test(rwr_of_a_mixture),
  };
  return cmocka_run_group_tests(tests, enter, program_leave);
}
