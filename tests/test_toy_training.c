/* test_toy_training.c -- `diffrl train toy` and `diffrl sample` as their users run them: the same
 * bits however often interrupted, samples that are near the data, a student that needs two steps,
 * and sentences for what cannot be.  Promises B1 and B9 of docs/design.md. */
#include "core/json.h"
#include "core/real.h"
#include "diffusion/sampler.h"
#include "tests/program.h"

#define TOY                                                                                        \
  "train toy --data gmm --set hidden=16 --set batch=64 --set group=16 --set lane=16 "              \
  "--set eval_points=256 --set eval_draws=1 --set eval_every=40 --set log_every=20 "               \
  "--set save_every=20 --set sample_steps=4 --set pictures=false "                                 \
  "--set schedule_rate=constant"

static void assert_same_run(const char *a, const char *b) {
  assert_same_files(a, b, "last.safetensors best.safetensors eval.jsonl");
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void test_80_steps_are_40_resume_40(void **state) {
  (void)state;
  static const char *const more[] = { "", "--set pairing=ot", "--set net=mlp",
                                      "--set embedding=fourier" };
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
    char line[1024];
    snprintf(line, sizeof line, TOY " --steps 80 --out whole%zu %s", i, more[i]),
        program_succeed(line);
    snprintf(line, sizeof line, TOY " --steps 40 --out half%zu %s", i, more[i]),
        program_succeed(line);
    snprintf(line, sizeof line, "train --resume half%zu --steps 80", i), program_succeed(line);
    char whole[32], half[32];
    snprintf(whole, sizeof whole, "whole%zu", i), snprintf(half, sizeof half, "half%zu", i);
    assert_same_run(whole, half);
  }
}

static void test_a_student_resumes_without_its_teacher(void **state) {
  (void)state;
#define STUDENT TOY " --set distill=consistency --set sampler=consistency --set teacher_steps=8"
  program_succeed(TOY " --steps 40 --out teacher");
  program_succeed(STUDENT " --init teacher --steps 80 --out student");
  program_succeed(STUDENT " --init teacher --steps 40 --out pupil");
  assert_int_equal(rename("teacher", "gone"), 0);
  program_succeed("train --resume pupil --steps 80");
  assert_same_run("student", "pupil");
}

static void test_threads_change_no_bit(void **state) {
  (void)state;
  program_succeed(TOY " --steps 40 --threads 1 --out one");
  program_succeed(TOY " --steps 40 --threads 3 --out three");
  assert_same_run("one", "three");
}

/* ---- what is learned ------------------------------------------------------------------------- */

/* distance / floor of the last line of eval.jsonl */
static double last_ratio(const char *path) {
  size_t n;
  Error error;
  char *text = file_read(path, &n);
  while (n && text[n - 1] == '\n') text[--n] = '\0';
  char *line = strrchr(text, '\n');
  line = line ? line + 1 : text;
  Json *json = json_parse(line, strlen(line), &error);
  double ratio =
      json_number(json_get(json, "distance"), NAN) / json_number(json_get(json, "floor"), NAN);
  json_free(json), free(text);
  return ratio;
}

/* A network that knows nothing is ten times as far from the data as data are; after a second it
 * is nearly as near, and its student of two steps too. */
static void test_samples_come_near_the_data(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
#define LEARN                                                                                      \
  "train toy --data gmm --set batch=128 --set schedule_rate=cosine --set eval_every=0 "            \
  "--set net=mlp --set hidden=64 --set octaves=1 --set ema=0.99 --set eval_points=1024 --set "     \
  "pictures=false"
  program_succeed(LEARN " --steps 1 --out nothing");
  program_succeed(LEARN " --steps 3000 --out model");
  program_succeed(LEARN " --steps 250 --preset student --init model --out pair");
  double nothing = last_ratio("nothing/eval.jsonl"), model = last_ratio("model/eval.jsonl"),
         pair = last_ratio("pair/eval.jsonl");
  print_message("distance to data / between data: at first %.2f, trained %.2f, student %.2f\n",
                nothing, model, pair);
  assert_true(nothing > 4);
  assert_true(model < 2.3);
  assert_true(pair < 2.3);
}

/* ---- sample ---------------------------------------------------------------------------------- */

static void test_points_depend_on_the_seed_and_their_number(void **state) {
  (void)state;
  size_t n, m;
  program_succeed(TOY " --steps 20 --out small");
  program_succeed("sample small --count 300 --seed 4 --threads 1 --out a.csv");
  program_succeed("sample small --count 300 --seed 4 --threads 3 --out b.csv");
  assert_same_file("a.csv", "b.csv");
  program_succeed("sample small --count 300 --seed 5 --out c.csv");
  program_succeed("sample small --count 200 --seed 4 --out d.csv");
  char *a = file_read("a.csv", &n), *c = file_read("c.csv", &m);
  assert_true(n != m || memcmp(a, c, n) != 0);
  free(c);
  char *d = file_read("d.csv", &m);
  assert_true(m < n && !memcmp(a, d, m)); /* the first 200 of 300 */
  free(a), free(d);
  program_succeed("sample small/last.safetensors --count 300 --seed 4 --out e.csv");
  assert_same_file("a.csv", "e.csv");
}

static void test_the_file_says_what_it_is(void **state) {
  (void)state;
  size_t n;
  program_succeed("sample small --count 10 --sampler ddim --steps 3 --out p.npy");
  char *npy = file_read("p.npy", &n);
  assert_int_equal(n, 128 + 10 * 2 * 8);
  assert_memory_equal(npy, "\x93NUMPY\x01\x00\x76\x00", 10);
  assert_non_null(strstr(npy + 10, "'shape': (10, 2)"));
  free(npy);
  program_succeed("sample small --count 10 --out p.csv");
  char *csv = file_read("p.csv", &n);
  int lines = 0;
  for (size_t i = 0; i < n; i++) lines += csv[i] == '\n';
  assert_int_equal(lines, 11);
  assert_memory_equal(csv, "x,y\n", 4);
  free(csv);
  program_succeed("sample small --count 10 --out p.png");
  char *png = file_read("p.png", &n);
  assert_memory_equal(png, "\x89PNG\r\n", 6);
  free(png);
}

static void test_pictures_come_with_the_report(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
  program_succeed(
      "train toy --data gmm --set net=mlp --set hidden=8 --set batch=32 --set eval_points=64 --set "
      "eval_draws=1 "
      "--steps 2 --out shown");
  size_t n;
  char *page = file_read("shown/report.html", &n);
  int pictures = 0;
  for (char *at = page; (at = strstr(at, "data:image/png;base64,iVBOR")); at++) pictures++;
  assert_int_equal(pictures, 3);
  assert_non_null(strstr(page, "Error against evaluations"));
  assert_non_null(strstr(page, "With the exact score"));
  free(page);
}

/* ---- what cannot be -------------------------------------------------------------------------- */

static void test_bad_input_is_told(void **state) {
  (void)state;
  program_refuse(2, "train toy", "give --data swissroll");
  program_refuse(2, "train toy --data mons", "did you mean moons");
  program_refuse(2, "train toy --data gmm --env hopper-v2", "omit --env");
  program_refuse(2, "train toy --data gmm --set net=resnet", "residual");
  program_refuse(2, "train toy --data gmm --set schedule=cosin", "did you mean cosine");
  program_refuse(2, "train toy --data gmm --set sampler=hein", "heun");
  program_refuse(2, "train toy --data gmm --set weighting=simpel", "did you mean simple");
  program_refuse(2, "train toy --data gmm --set schedule=vp --set sampler=heun", "continuous");
  program_refuse(2, "train toy --data gmm --set distill=consistency", "give --init RUN");
  program_refuse(2, "train toy --data gmm --set distill=consistency --init small",
                 "its hidden is 16");
  program_refuse(2, "train toy --data moons --set hidden=16 --init small", "use --data gmm");
  program_refuse(2, "sample small", "--out");
  program_refuse(2, "sample small --out a.jpg", "expected FILE.png, FILE.csv or FILE.npy");
  program_refuse(2, "sample small --sampler nosuch --out a.csv", "unknown sampler");
  program_refuse(2, "sample small --count 0 --out a.csv", "count");
  program_refuse(3, "sample nowhere --out a.csv", "no such run");
  file_write("junk.safetensors", "junk", 4);
  program_refuse(3, "sample junk.safetensors --out a.csv", "junk.safetensors");
  program_refuse(1, "sample small --out nowhere/a.csv", "cannot be written");
  static const char *const acts[] = { "eval small", "act small", "export small --out exported" };
  for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
    program_refuse(2, acts[i], "is a model of points, made by `diffrl train toy`: it does not act");
  /* the advice about spacings leads to one that can be had */
  program_refuse(2, "sample small --spacing trailing --out a.csv", "use linspace or quadratic");
  program_succeed("sample small --spacing quadratic --count 8 --out a.csv");
}

/* What the report plots can be had: every listed sampler, but one that needs another network. */
static void test_every_sampler_of_the_report_samples(void **state) {
  (void)state;
  Outcome o;
  for (size_t i = 0; sampler_name(i); i++) {
    bool learned = !strcmp(sampler_name(i), "ddpm_learned");
    program_run(&o, "sample small --count 16 --steps 6 --sampler %s --out each.csv",
                sampler_name(i));
    program_expect(&o, learned ? 2 : 0, learned ? "does not learn one" : "16 points of gmm");
  }
  program_run(&o, TOY " --steps 2 --set sampler=unipc --out own");
  program_expect(&o, 0, "samples begin at time 0.9877");
  program_run(&o, "sample own --count 16 --out own.csv");
  program_expect(&o, 0, "16 points of gmm by unipc");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_80_steps_are_40_resume_40),
    cmocka_unit_test(test_a_student_resumes_without_its_teacher),
    cmocka_unit_test(test_threads_change_no_bit),
    cmocka_unit_test(test_samples_come_near_the_data),
    cmocka_unit_test(test_points_depend_on_the_seed_and_their_number),
    cmocka_unit_test(test_the_file_says_what_it_is),
    cmocka_unit_test(test_pictures_come_with_the_report),
    cmocka_unit_test(test_every_sampler_of_the_report_samples),
    cmocka_unit_test(test_bad_input_is_told),
  };
  return cmocka_run_group_tests(tests, program_enter, program_leave);
}
