/* test_image_training.c -- `diffrl train image` and `diffrl sample` as their users run them: the
 * same bits however often interrupted, pictures of the label that was asked for, and sentences for
 * what cannot be.
 *
 * The pictures are 8 x 8: bright on the left (label 0) or on the right (label 1), each as bright as
 * it happens to be.  Promise B9 of docs/design.md. */
#include "core/json.h"
#include "core/real.h"
#include "datasets/png.h"
#include "tests/idx.h"
#include "tests/program.h"
#include <math.h>

#define SIZES                                                                                      \
  "--set size=8 --set hidden=8 --set mults=1,2 --set blocks=1 --set groups=4 --set heads=2 "       \
  "--set batch=16 --set group=4 --set lane=2 --set eval_images=16 --set grid=1 "                   \
  "--set eval_every=8 --set log_every=4 --set save_every=4 --set sample_steps=4 "
#define IMAGE "train image --data halves " SIZES

enum { SIDE = 8, TRAIN = 64, TEST = 16 };

static void write_part(const char *name, int count) {
  uint8_t pixel[TRAIN * SIDE * SIDE], label[TRAIN];
  Rng rng = rng_stream(1, name);
  for (int i = 0; i < count; i++) {
    label[i] = (uint8_t)(i % 2);
    int bright = 180 + (int)rng_below(rng, 0, (uint32_t)i, 0, 60);
    for (int j = 0; j < SIDE * SIDE; j++)
      pixel[i * SIDE * SIDE + j] = (uint8_t)(j % SIDE / (SIDE / 2) == label[i] ? bright : 20);
  }
  char path[64];
  snprintf(path, sizeof path, "halves/%s-images-idx3-ubyte", name);
  idx_write(path, 3, (int[]){ count, SIDE, SIDE }, pixel, count * SIDE * SIDE);
  snprintf(path, sizeof path, "halves/%s-labels-idx1-ubyte", name);
  idx_write(path, 1, &count, label, count);
}

static int enter(void **state) {
  if (program_enter(state) || mkdir("halves", 0700)) return -1;
  write_part("train", TRAIN), write_part("t10k", TEST);
  return 0;
}

static void assert_same_run(const char *a, const char *b) {
  assert_same_files(a, b, "last.safetensors best.safetensors eval.jsonl images.png figures.jsonl");
}

static void test_16_steps_are_8_resume_8(void **state) {
  (void)state;
  program_succeed(IMAGE "--steps 16 --threads 1 --out whole");
  program_succeed(IMAGE "--steps 8 --out half");
  program_succeed("train --resume half --steps 16 --threads 3"); /* nor do threads change a bit */
  assert_same_run("whole", "half");
}

/* ---- float16 --------------------------------------------------------------------------------- */

/* Weights of about 0.1 change by at most 2^-11 of themselves, and so do pictures, more or less. */
static void test_a_half_file_samples_and_begins(void **state) {
  (void)state;
  size_t n, m;
  program_succeed(IMAGE "--steps 24 --out trained");
  program_succeed("export trained --half --out . --name small");
  program_succeed("sample trained --count 4 --out full.npy");
  program_succeed("sample small.safetensors --count 4 --out half.npy");
  char *full = file_read("full.npy", &n), *half = file_read("half.npy", &m);
  assert_int_equal(n, m);
  double most = 0, a, b;
  for (size_t at = 128; at < n; at += sizeof a) {
    memcpy(&a, full + at, sizeof a), memcpy(&b, half + at, sizeof b);
    most = fmax(most, fabs(a - b));
  }
  assert_true(most > 0 && most < 0.02);
  free(full), free(half);
  program_succeed(IMAGE "--steps 1 --init small.safetensors --out begun");
  program_succeed("eval small.safetensors --data halves --pictures 4");
}

#define CLASSIFIER                                                                                 \
  "train classifier --data halves --set size=8 --set hidden=8 --set levels=2 --set batch=16 "      \
  "--set group=4 --set lane=2 --set flip=false --set shift=1 --set eval_every=8 --set "            \
  "log_every=4 "                                                                                   \
  "--set save_every=4 "

/* left or right is easily told; what cannot be is told too */
static void test_a_classifier_learns_and_resumes(void **state) {
  (void)state;
  program_succeed(CLASSIFIER "--steps 32 --threads 1 --out knows");
  program_succeed(CLASSIFIER "--steps 16 --out pause");
  program_succeed("train --resume pause --steps 32 --threads 3");
  assert_same_files("knows", "pause", "last.safetensors eval.jsonl");
  size_t n;
  char *lines = file_read("knows/eval.jsonl", &n);
  assert_non_null(strstr(lines, "\"accuracy\":1,"));
  free(lines);
  program_succeed("export knows --half --out . --name classes");
  program_succeed(CLASSIFIER "--steps 1 --init classes.safetensors --out anew");
  program_refuse(3, "sample classes.safetensors --out x.png", "no model that can be sampled");
  program_refuse(2, "export knows --half --format c --out .", "leave out --format c");
  program_refuse(3, "sample fashion-mnist-judge --out x.png", "no model that can be sampled");
}

/* ---- what is learned ------------------------------------------------------------------------- */

/* mean of the left half of picture i minus that of the right, in a file of NumPy's */
static double leaning(const char *npy, int i) {
  enum { HEADER = 128 };
  double pixel[SIDE * SIDE], sum = 0;
  memcpy(pixel, npy + HEADER + (size_t)i * sizeof pixel, sizeof pixel);
  for (int j = 0; j < SIDE * SIDE; j++) sum += j % SIDE < SIDE / 2 ? pixel[j] : -pixel[j];
  return sum / (SIDE * SIDE / 2);
}

static void test_pictures_are_of_their_label(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
  size_t n;
  program_succeed(IMAGE "--steps 240 --set ema=0.9 --set rate=3e-3 --out learned");
  program_succeed("sample learned --count 8 --seed 3 --out turn.npy");
  char *npy = file_read("turn.npy", &n);
  assert_int_equal(n, 128 + 8 * SIDE * SIDE * sizeof(double));
  for (int i = 0; i < 8; i++) {
    if (i < 2) print_message("label %d: left minus right %.2f\n", i, leaning(npy, i));
    assert_true((i % 2 ? -1 : 1) * leaning(npy, i) > 0.8); /* of data: at least 1.25 */
  }
  free(npy);
  program_succeed("sample learned --count 8 --seed 3 --label 1 --guidance 2 --out right.npy");
  npy = file_read("right.npy", &n);
  for (int i = 0; i < 8; i++) assert_true(leaning(npy, i) < -0.8);
  free(npy);
}

static void test_pictures_depend_on_the_seed_and_their_number(void **state) {
  (void)state;
  size_t n, m;
  program_succeed(IMAGE "--steps 4 --out small");
  program_succeed("sample small --count 5 --seed 4 --threads 1 --out a.npy");
  program_succeed("sample small --count 5 --seed 4 --threads 3 --out b.npy");
  assert_same_file("a.npy", "b.npy");
  program_succeed("sample small/last.safetensors --count 3 --seed 4 --out c.npy");
  char *a = file_read("a.npy", &n), *c = file_read("c.npy", &m);
  assert_true(m < n && !memcmp(a + 128, c + 128, m - 128)); /* the first 3 of 5 */
  assert_non_null(strstr(a + 10, "'shape': (5, 8, 8)"));
  free(a), free(c);
  program_succeed("sample small --count 6 --sampler euler --steps 2 --out grid.png");
  char *png = file_read("grid.png", &n); /* two columns, three rows; sizes are big-endian */
  assert_memory_equal(png + 16, "\0\0\0\x22\0\0\0\x34", 8);
  free(png);
}

static void test_a_grid_comes_with_the_report(void **state) {
  (void)state;
  size_t n;
  char *page = file_read("whole/report.html", &n);
  assert_non_null(strstr(page, "data:image/png;base64,iVBOR"));
  assert_non_null(strstr(page, "image on halves"));
  free(page);
  assert_true(access("whole/images-8.png", F_OK) == 0);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static double number(const Json *object, const char *key) {
  const Json *value = json_get(object, key);
  if (!json_is_number(value)) fail_msg("no number %s", key);
  return json_number(value, NAN);
}

static void test_measures_come_with_the_training(void **state) {
  (void)state;
  Error error;
  Json *scores = json_parse_file("whole/measures.json", &error);
  assert_int_equal(number(scores, "step"), 16);
  assert_int_equal(number(scores, "pictures"), TEST / 2); /* two hands of the test pictures */
  assert_int_equal(number(scores, "features"), SIDE * SIDE);
  assert_true(number(scores, "frechet") > number(scores, "frechet_real"));
  assert_true(number(scores, "nearest") > 0 && number(scores, "nearest_real") > 0);
  json_free(scores);
  assert_same_file("whole/measures.json", "half/measures.json");
}

static void test_eval_measures_pictures(void **state) {
  (void)state;
  Outcome one, three;
  size_t n;
  Error error;
  program_run(&one, "eval whole --pictures 6 --seed 2 --threads 1 --json");
  program_expect(&one, 0, "\"frechet\":");
  program_run(&three, "eval whole --pictures 6 --seed 2 --threads 3 --out six.png --json");
  assert_string_equal(one.out, three.out);
  Json *json = json_parse(one.out, strlen(one.out), &error);
  assert_string_equal(json_text(json_get(json, "which")), "last");
  assert_string_equal(json_text(json_get(json, "data")), "halves");
  assert_string_equal(json_text(json_get(json_get(json, "sampling"), "sampler")), "heun");
  assert_int_equal(number(json, "pictures"), 6);
  assert_int_equal(number(json, "seed"), 2);
  char *kept = file_read("whole/measures.json", &n); /* for the report */
  assert_int_equal(n + 1, strlen(one.out));
  assert_memory_equal(kept, one.out, n);
  free(kept), json_free(json);
  char *png = file_read("six.png", &n); /* a column for each label */
  assert_memory_equal(png + 16, "\0\0\0\x22\0\0\0\x34", 8);
  free(png);
  program_run(&one, "eval whole/last.safetensors --data halves");
  program_expect(&one, 0, "");
  assert_non_null(strstr(one.out, "halves: Frechet distance "));
}

static void test_old_weights_begin_a_run(void **state) {
  (void)state;
  program_succeed(IMAGE "--steps 4 --init whole --out again");
  program_refuse(
      2,
      "train image --data halves --set size=8 --set hidden=8 --set mults=1,1 --set blocks=1 "
      "--steps 4 --init whole --out other",
      "its mults is 1,2; use --set mults=1,2");
}

/* ---- what cannot be -------------------------------------------------------------------------- */

/* ---- what the network and the data may be ---------------------------------------------------- */

/* folders of colours: "red" or "blue", as bright as the number says */
static void write_colours(void) {
  char path[64];
  Error error;
  assert_int_equal(mkdir("colours", 0700), 0);
  for (int label = 0; label < 2; label++) {
    snprintf(path, sizeof path, "colours/%s", label ? "red" : "blue");
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 12; i++) {
      uint8_t pixel[SIDE * SIDE * 3];
      for (int j = 0; j < SIDE * SIDE * 3; j++)
        pixel[j] = j % 3 == (label ? 0 : 2) ? (uint8_t)(180 + 5 * i) : 20;
      snprintf(path, sizeof path, "colours/%s/%d.png", label ? "red" : "blue", i);
      assert_true(png_save(&(Image){ SIDE, SIDE, 3, pixel }, path, &error));
    }
  }
}

/* mean red minus mean blue of picture i, [SIDE, SIDE, 3] in a file of NumPy's */
static double redness(const char *npy, int i) {
  enum { HEADER = 128 };
  double pixel[SIDE * SIDE * 3], sum = 0;
  memcpy(pixel, npy + HEADER + (size_t)i * sizeof pixel, sizeof pixel);
  for (int j = 0; j < SIDE * SIDE; j++) sum += pixel[3 * j] - pixel[3 * j + 2];
  return sum / (SIDE * SIDE);
}

static void test_folders_of_colours_are_learned(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
  size_t n;
  write_colours();
  program_succeed("train image --data colours " SIZES
                  "--steps 160 --set ema=0.9 --set rate=3e-3 --set flip=0.5 "
                  "--out coloured");
  program_succeed("sample coloured --count 6 --label red --out red.npy");
  char *npy = file_read("red.npy", &n);
  assert_int_equal(n, 128 + 6 * SIDE * SIDE * 3 * sizeof(double));
  assert_non_null(strstr(npy + 10, "'shape': (6, 8, 8, 3)"));
  for (int i = 0; i < 6; i++) assert_true(redness(npy, i) > 0.8); /* of data: at least 1.25 */
  free(npy);
  program_succeed("sample coloured --out all.png");
  Image image;
  Error error;
  Arena *arena = arena_new();
  assert_true(png_load(&image, arena, "all.png", &error));
  assert_int_equal(image.channels, 3);
  arena_free(arena);
  program_succeed("sample coloured --count 4 --out some.gif");
  program_refuse(2, "sample coloured --label green --out a.png", "0 to 1, or one of blue, red");
  program_refuse(3, "train --resume coloured --steps 161 --data halves", "its content differs");
}

/* Every kind of output, by both networks, trains and is sampled by ways that fit it. */
static void test_every_prediction_is_trained_and_sampled(void **state) {
  (void)state;
  static const struct {
    const char *settings, *sampler;
  } cases[] = {
    { "--set predicts=eps --set schedule=cosine --set diffusion_steps=20 --set times=uniform",
      "ddim" },
    { "--set predicts=v --set schedule=cosine --set diffusion_steps=20 --set times=uniform",
      "dpmpp_2m" },
    { "--set predicts=x0 --set schedule=linear --set diffusion_steps=20 --set times=uniform",
      "ddpm" },
    { "--set predicts=edm --set schedule=edm --set time=log-sigma --set times=log-normal",
      "edm_heun" },
    { "--set predicts=velocity --set schedule=flow", "euler" },
  };
  char line[1200];
  for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
    const char *net = i % 2 ? "--set net=dit --set hidden=16 --set patch=4" : "";
    const char *mults = i % 2 ? "" : "--set hidden=8 --set mults=1,2 --set groups=4";
    snprintf(line, sizeof line,
             "train image --data halves --set size=8 --set blocks=1 --set heads=2 "
             "--set batch=16 --set group=4 --set lane=2 --set eval_images=16 --set grid=0 "
             "--set eval_every=3 --set scores=0 --set sample_steps=4 %s%s %s "
             "--set sampler=%s --steps 3 --out kind%zu",
             mults, net, cases[i / 2].settings, cases[i / 2].sampler, i);
    program_succeed(line);
    snprintf(line, sizeof line, "sample kind%zu --count 2 --out kind.npy", i);
    program_succeed(line);
  }
}

static void test_a_transformer_learns_labels(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
  size_t n;
  program_succeed("train image --data halves --set size=8 --set net=dit --set hidden=32 "
                  "--set blocks=2 --set heads=2 --set patch=2 --set batch=16 --set group=4 "
                  "--set lane=2 --set eval_images=16 --set grid=1 --set scores=0 "
                  "--set sample_steps=4 --set ema=0.9 --set rate=3e-3 --steps 240 --out dit");
  program_succeed("sample dit --count 8 --label 1 --out dit.npy");
  char *npy = file_read("dit.npy", &n);
  for (int i = 0; i < 8; i++) assert_true(leaning(npy, i) < -0.8);
  free(npy);
  program_refuse(2, "train image --data halves --set net=dit --set mults=1,2", "no effect");
  program_refuse(2, "train image --data halves --set patch=2", "no effect");
  program_refuse(2, "train image --data halves --set size=8 --set net=dit --set patch=3",
                 "patches of 3 do not cover 8 x 8");
}

/* All pictures mirrored: what is learned leans to the other side of its label. */
static void test_flips_mirror_pictures(void **state) {
  (void)state;
  if (sizeof(real) > sizeof(float)) skip(); /* the same, ten times slower */
  size_t n;
  program_succeed(IMAGE "--steps 240 --set ema=0.9 --set rate=3e-3 --set flip=1 --out flipped");
  program_succeed("sample flipped --count 8 --seed 3 --label 1 --out flipped.npy");
  char *npy = file_read("flipped.npy", &n);
  for (int i = 0; i < 8; i++) assert_true(leaning(npy, i) > 0.8);
  free(npy);
}

/* ---- ways to sample -------------------------------------------------------------------------- */

static double largest_difference(const char *a, const char *b) {
  enum { HEADER = 128 };
  size_t n, other;
  char *x = file_read(a, &n), *y = file_read(b, &other);
  assert_int_equal(n, other);
  double most = 0;
  for (size_t at = HEADER; at < n; at += sizeof(double)) {
    double p, q;
    memcpy(&p, x + at, sizeof p), memcpy(&q, y + at, sizeof q);
    most = fmax(most, fabs(p - q));
  }
  free(x), free(y);
  return most;
}

/* guidance 0 is output(null) for any label (Ho & Salimans 2022, eq. 6), and 1 is output(label) */
static void test_no_label_is_guidance_0(void **state) {
  (void)state;
  program_succeed("sample whole --count 6 --label none --out none.npy");
  program_succeed("sample whole --count 6 --label 1 --guidance 0 --out zero.npy");
  program_succeed("sample whole --count 6 --label 1 --guidance 1 --out one.npy");
  program_succeed("sample whole --count 6 --label 1 --out label.npy");
  assert_true(largest_difference("none.npy", "zero.npy") < 1e-4);
  assert_true(largest_difference("none.npy", "label.npy") > 1e-3);
  assert_true(largest_difference("one.npy", "label.npy") == 0);
}

/* A chain of ddim that ends at clean data ends at its last x_0, which a threshold holds in [-1, 1]
 * (Saharia et al. 2022, section 2.3); the network predicts noise and has hardly learned. */
static void test_a_threshold_keeps_the_range(void **state) {
  (void)state;
  size_t n;
  double free_most = 0, held_most = 0;
  program_succeed("sample kind0 --count 8 --guidance 8 --sampler ddim --out free.npy");
  program_succeed("sample kind0 --count 8 --guidance 8 --sampler ddim --threshold 0.9 "
                  "--out held.npy");
  for (int k = 0; k < 2; k++) {
    char *npy = file_read(k ? "held.npy" : "free.npy", &n);
    for (size_t at = 128; at < n; at += sizeof(double)) {
      double x;
      memcpy(&x, npy + at, sizeof x);
      *(k ? &held_most : &free_most) = fmax(k ? held_most : free_most, fabs(x));
    }
    free(npy);
  }
  print_message("greatest pixel %.2f, with a threshold %.6f\n", free_most, held_most);
  assert_true(free_most > 1.5);
  assert_true(held_most <= 1 + 1e-5);
}

/* every picture of a sheet is that of the same noise alone */
static void test_sheets_compare(void **state) {
  (void)state;
  static const char *const lines[] = {
    "sample whole --sheet labels --count 3 --out sheet.png",
    "sample whole --sheet labels --rows 1,none --count 3 --out sheet.png",
    "sample whole --sheet guidance --out sheet.png",
    "sample whole --sheet samplers --label 1 --count 2 --out sheet.png",
    "sample whole --sheet steps --rows 1,3 --out sheet.png",
  };
  static const int rows[] = { 2, 2, 4, 0, 2 }, columns[] = { 3, 3, 2, 2, 2 };
  enum { ZOOM = 12, CELL = ZOOM * SIDE + 4 };
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    Image image;
    Error error;
    program_succeed(lines[i]);
    assert_true(png_load(&image, arena, "sheet.png", &error));
    assert_true(image.width > columns[i] * CELL && image.width < columns[i] * CELL + 200);
    if (rows[i]) assert_true(image.height >= rows[i] * CELL && image.height < rows[i] * CELL + 50);
  }
  arena_free(arena);
  program_refuse(2, "sample whole --sheet guidance --guidance 2 --out s.png",
                 "name them by --rows");
  program_refuse(2, "sample whole --sheet labels --label 1 --out s.png", "name them by --rows");
  program_refuse(2, "sample whole --sheet lables --out s.png", "did you mean labels");
  program_refuse(2, "sample whole --sheet labels --out s.npy", "a sheet goes to FILE.png");
  program_refuse(2, "sample whole --rows 1,2 --out s.png", "give --sheet too");
  program_refuse(2, "sample whole --sheet labels --rows 1,5 --out s.png", "expected 0 to 1");
  program_refuse(2, "sample whole --sheet steps --rows x --out s.png", "expected steps from 1");
  program_refuse(2, "sample whole --sheet samplers --rows dimm --out s.png", "did you mean");
}

static void test_other_files_of_samples(void **state) {
  (void)state;
  size_t n;
  program_succeed("sample whole --count 4 --out some.npz");
  char *npz = file_read("some.npz", &n);
  assert_memory_equal(npz, "PK\3\4", 4);
  /* the labels stand after the pictures: 0, 1, 0, 1 */
  const int64_t labels[] = { 0, 1, 0, 1 };
  size_t at = 30 + strlen("pictures.npy") + 128 + 4 * SIDE * SIDE * sizeof(double) + 30 +
              strlen("labels.npy") + 128;
  assert_true(at + sizeof labels < n);
  assert_memory_equal(npz + at, labels, sizeof labels);
  free(npz);
  program_succeed("sample whole --count 4 --out some.gif");
  char *gif = file_read("some.gif", &n);
  assert_memory_equal(gif, "GIF89a", 6);
  free(gif);
  program_refuse(2, "sample whole --count 65 --out some.gif", "expected at most 64");
}

static void test_labels_that_are_not_there_are_refused(void **state) {
  (void)state;
  program_succeed(IMAGE "--steps 1 --set labels=false --set scores=0 --out bare");
  program_refuse(2, "sample bare --label none --out a.png", "not conditioned on labels");
  program_refuse(2, "sample bare --guidance 2 --out a.png", "not conditioned on labels");
  program_refuse(2, "sample bare --sheet guidance --out a.png", "not conditioned on labels");
  program_refuse(2, "sample bare --sheet labels --out a.png", "not conditioned on labels");
  program_refuse(2, "sample whole --label none --guidance 2 --out a.png", "has no effect");
  program_refuse(2, "sample whole --threshold 1.5 --out a.png", "a number from 0.5 to 1");
  program_succeed("sample bare --out bare.png");
}

static void test_bad_input_is_told(void **state) {
  (void)state;
  program_refuse(2, "train image", "give --data fashion-mnist");
  program_refuse(3, "train image --data nowhere", "a folder with IDX, PNG or JPEG files");
  program_refuse(2, IMAGE "--env hopper-v2", "omit --env");
  program_refuse(2, "train image --data halves --set size=4",
                 "pictures of 8 x 8 do not fit in size=4");
  program_refuse(2, "train image --data halves --set size=10", "cannot be halved 2 times");
  program_refuse(2, "train image --data halves --set groups=5", "cannot be normalised in 5 groups");
  program_refuse(2, "train image --data halves --set heads=3", "cannot be shared by 3 heads");
  program_refuse(2, "train image --data halves --set mults=1,x", "mults=1,x: expected");
  program_refuse(2, "train image --data halves --set schedule=cosin", "did you mean cosine");
  program_refuse(2, "sample whole --label 2 --out a.png", "expected 0 to 1");
  program_refuse(2, "sample whole --guidance much --out a.png", "expected a number");
  program_refuse(2, "sample whole --out a.csv", "FILE.png or FILE.npy");
  program_refuse(2, "eval whole --episodes 3", "omit --episodes: whole samples pictures");
  program_refuse(3, "eval whole --data nowhere", "a folder with IDX, PNG or JPEG files");
  program_refuse(2, "eval whole --pictures 1", "--pictures: 1 is out of range");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_16_steps_are_8_resume_8),
    cmocka_unit_test(test_a_half_file_samples_and_begins),
    cmocka_unit_test(test_a_classifier_learns_and_resumes),
    cmocka_unit_test(test_pictures_are_of_their_label),
    cmocka_unit_test(test_pictures_depend_on_the_seed_and_their_number),
    cmocka_unit_test(test_a_grid_comes_with_the_report),
    cmocka_unit_test(test_measures_come_with_the_training),
    cmocka_unit_test(test_eval_measures_pictures),
    cmocka_unit_test(test_old_weights_begin_a_run),
    cmocka_unit_test(test_folders_of_colours_are_learned),
    cmocka_unit_test(test_every_prediction_is_trained_and_sampled),
    cmocka_unit_test(test_a_transformer_learns_labels),
    cmocka_unit_test(test_flips_mirror_pictures),
    cmocka_unit_test(test_no_label_is_guidance_0),
    cmocka_unit_test(test_a_threshold_keeps_the_range),
    cmocka_unit_test(test_sheets_compare),
    cmocka_unit_test(test_other_files_of_samples),
    cmocka_unit_test(test_labels_that_are_not_there_are_refused),
    cmocka_unit_test(test_bad_input_is_told),
  };
  return cmocka_run_group_tests(tests, enter, program_leave);
}
