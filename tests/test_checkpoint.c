/* test_checkpoint.c -- what is saved comes back; what is damaged does not; saving is atomic. */
#include "core/checkpoint.h"
#include "core/json.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  char folder[64], path[128], other[128];
  Arena *arena;
  Checkpoint set;
} Fixture;

static float weights[15] = { 1, -2, 0.5f, 3e-20f, 7 };
static double moments[2] = { 1e300, -0.0 };
static uint8_t pixels[3] = { 0, 255, 7 };
static int64_t step[1] = { -5000000000 };

/* A set with every type, ranks 0 to 4, an empty tensor and texts that need escaping. */
static int setup(void **state) {
  Fixture *f = *state = calloc(1, sizeof *f);
  strcpy(f->folder, "/tmp/test_checkpoint.XXXXXX");
  if (!mkdtemp(f->folder)) return -1;
  snprintf(f->path, sizeof f->path, "%s/last.safetensors", f->folder);
  snprintf(f->other, sizeof f->other, "%s/other.safetensors", f->folder);
  f->arena = arena_new();
  checkpoint_init(&f->set, f->arena);
  checkpoint_add(&f->set, "online/layer.weight", CHECKPOINT_F32, 2, (int64_t[]){ 3, 5 }, weights);
  checkpoint_add(&f->set, "image", CHECKPOINT_U8, 4, (int64_t[]){ 1, 3, 1, 1 }, pixels);
  checkpoint_add(&f->set, "step", CHECKPOINT_I64, 0, NULL, step);
  checkpoint_add(&f->set, "adam", CHECKPOINT_F64, 1, (int64_t[]){ 2 }, moments);
  checkpoint_add(&f->set, "nothing", CHECKPOINT_F32, 3, (int64_t[]){ 4, 0, 2 }, weights);
  checkpoint_add_text(&f->set, "config", "{\"eta\":1,\"checksum\":\"0000000000000000\"}");
  checkpoint_add_text(&f->set, "act", "line\nline \\ \x01 \xc3\xa9");
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
  arena_free(f->arena);
  free(f);
  return system(command);
}

static char *slurp(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *bytes = calloc(1, 1 << 16);
  *size = fread(bytes, 1, 1 << 16, file);
  fclose(file);
  return bytes;
}

static void spit(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  fclose(file);
}

static bool loads(const Fixture *f, const char *path, bool *verified, Error *error) {
  Checkpoint loaded;
  ArenaMark mark = arena_mark(f->arena);
  checkpoint_init(&loaded, f->arena);
  bool done = checkpoint_load(&loaded, path, verified, error);
  arena_reset(f->arena, mark);
  return done;
}

static void save(const Fixture *f) {
  Error error;
  if (!checkpoint_save(&f->set, f->path, &error)) fail_msg("%s", error.text);
}

static void what_is_saved_comes_back(void **state) {
  Fixture *f = *state;
  Error error;
  Checkpoint loaded;
  bool verified = false;
  save(f);
  checkpoint_init(&loaded, f->arena);
  if (!checkpoint_load(&loaded, f->path, &verified, &error)) fail_msg("%s", error.text);
  assert_true(verified);
  assert_int_equal(loaded.tensors, f->set.tensors);
  assert_int_equal(loaded.texts, f->set.texts);
  for (size_t i = 0; i < f->set.tensors; i++) {
    const CheckpointTensor *a = &f->set.tensor[i], *b = checkpoint_tensor(&loaded, a->name);
    assert_non_null(b);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->rank, b->rank);
    size_t bytes = checkpoint_element_size(a->type);
    for (int d = 0; d < a->rank; d++) bytes *= (size_t)a->shape[d];
    assert_memory_equal(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape);
    if (bytes) assert_memory_equal(a->data, b->data, bytes);
  }
  for (size_t i = 0; i < f->set.texts; i++)
    assert_string_equal(f->set.text[i].value, checkpoint_text(&loaded, f->set.text[i].key));
  assert_null(checkpoint_text(&loaded, "checksum"));
  assert_null(checkpoint_tensor(&loaded, "absent"));
}

static void equal_content_is_an_equal_file(void **state) {
  Fixture *f = *state;
  Error error;
  Checkpoint loaded, reversed;
  save(f);
  checkpoint_init(&loaded, f->arena);
  checkpoint_init(&reversed, f->arena);
  assert_true(checkpoint_load(&loaded, f->path, NULL, &error));
  for (size_t i = loaded.tensors; i-- > 0;) {
    CheckpointTensor *t = &loaded.tensor[i];
    checkpoint_add(&reversed, t->name, t->type, t->rank, t->shape, t->data);
  }
  for (size_t i = loaded.texts; i-- > 0;)
    checkpoint_add_text(&reversed, loaded.text[i].key, loaded.text[i].value);
  assert_true(checkpoint_save(&reversed, f->other, &error));
  size_t a_size, b_size;
  char *a = slurp(f->path, &a_size), *b = slurp(f->other, &b_size);
  assert_int_equal(a_size, b_size);
  assert_memory_equal(a, b, a_size);
  free(a);
  free(b);
}

/* The format's rules, checked on the bytes: aligned header, JSON, sorted names, aligned data. */
static void the_file_keeps_the_rules_of_safetensors(void **state) {
  Fixture *f = *state;
  Error error;
  size_t size;
  uint64_t header;
  save(f);
  char *file = slurp(f->path, &size);
  memcpy(&header, file, 8);
  assert_int_equal(header % 8, 0);
  Json *json = json_parse(file + 8, header, &error);
  assert_non_null(json);
  const char *last = "";
  size_t data = 0;
  for (const Json *entry = json_first(json); entry; entry = json_next(entry)) {
    assert_true(strcmp(last, json_key(entry)) < 0);
    last = json_key(entry);
    const Json *offset = json_first(json_get(entry, "data_offsets"));
    if (!offset) continue;
    const CheckpointTensor *tensor = checkpoint_tensor(&f->set, last);
    double begin = json_number(offset, -1), end = json_number(json_next(offset), -1);
    assert_int_equal((size_t)begin % checkpoint_element_size(tensor->type), 0);
    data += (size_t)(end - begin);
    if (end > begin)
      assert_memory_equal(file + 8 + header + (size_t)begin, tensor->data, (size_t)(end - begin));
  }
  assert_int_equal(8 + header + data, size);
  last = "";
  const Json *text = json_first(json_get(json, "__metadata__"));
  for (; text; last = json_key(text), text = json_next(text)) {
    assert_true(strcmp(last, json_key(text)) < 0);
    assert_non_null(json_text(text));
  }
  json_free(json);
  free(file);
}

static void a_file_cut_at_any_length_is_refused(void **state) {
  Fixture *f = *state;
  Error error;
  size_t size;
  save(f);
  char *file = slurp(f->path, &size);
  for (size_t cut = 0; cut < size; cut++) {
    spit(f->other, file, cut);
    assert_false(loads(f, f->other, NULL, &error));
    assert_int_equal(error.kind, FAIL_INPUT);
    assert_non_null(strstr(error.text, "other.safetensors: "));
  }
  spit(f->other, file, size + 1); /* one byte too many */
  assert_false(loads(f, f->other, NULL, &error));
  free(file);
}

static void any_flipped_bit_is_refused(void **state) {
  Fixture *f = *state;
  Error error;
  size_t size;
  save(f);
  char *file = slurp(f->path, &size);
  for (size_t bit = 0; bit < 8 * size; bit++) {
    file[bit / 8] ^= (char)(1 << bit % 8);
    spit(f->other, file, size);
    assert_false(loads(f, f->other, NULL, &error));
    file[bit / 8] ^= (char)(1 << bit % 8);
  }
  spit(f->other, file, size);
  assert_true(loads(f, f->other, NULL, &error));
  free(file);
}

/* Any byte of the header replaced by any of a few that mean something in JSON. */
static void any_replaced_header_byte_is_refused(void **state) {
  Fixture *f = *state;
  Error error;
  size_t size;
  uint64_t header;
  save(f);
  char *file = slurp(f->path, &size);
  memcpy(&header, file, 8);
  for (size_t at = 0; at < 8 + header; at++) {
    for (const char *byte = "\"\\{}[],: 09ax/*"; *byte; byte++) {
      char old = file[at];
      if (old == *byte) continue;
      file[at] = *byte;
      spit(f->other, file, size);
      assert_false(loads(f, f->other, NULL, &error));
      file[at] = old;
    }
  }
  free(file);
}

/* A file made of this header and `data` zero bytes; header NULL: nothing but zeros. */
static bool loads_made(Fixture *f, const char *header, size_t data, Error *error) {
  char bytes[4096] = { 0 };
  uint64_t length = strlen(header);
  memcpy(bytes, &length, 8);
  memcpy(bytes + 8, header, length);
  spit(f->other, bytes, 8 + length + data);
  return loads(f, f->other, NULL, error);
}

static void headers_that_lie_are_refused(void **state) {
  static const struct {
    const char *header, *reason;
    size_t data;
  } wrong[] = {
    { "[]", "JSON object", 0 },
    { "{\"a\":1}", "dtype is missing", 0 },
    { "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", "BF16", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", "list", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,4],\"data_offsets\":[0,4]}}", "list", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}", "impossible", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[0.5],\"data_offsets\":[0,4]}}", "impossible", 4 },
    { "{\"a\":{\"dtype\":\"F64\",\"shape\":[4e9,4e9],\"data_offsets\":[0,4]}}", "impossible", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,0]}}", "data_offsets", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]}}", "data_offsets", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,1e300]}}", "data_offsets", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", "cut short", 4 },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", "needs 8", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", "no tensor", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]}}", "begins at byte 1", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
      "expected 3", 4 },
    { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
      "twice", 4 },
    { "{\"__metadata__\":{\"a\":1}}", "not a text", 0 },
    { "{\"__metadata__\":[]}", "not an object", 0 },
    { "{\"__metadata__\":{\"format\":\"diffrl-1\"}}", "no checksum", 0 },
    { "{\"__metadata__\":{\"format\":\"diffrl-2\"}}", "newer than this diffrl", 0 },
    { "{\"__metadata__\":{\"format\":\"diffrl-x\"}}", "unknown format", 0 },
    { "{\"a\":", "not JSON", 0 },
  };
  Fixture *f = *state;
  Error error;
  assert_true(loads_made(f, "{}", 0, &error));
  assert_true(loads_made(f, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}  ", 4,
                         &error));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_false(loads_made(f, wrong[i].header, wrong[i].data, &error));
    if (!strstr(error.text, wrong[i].reason))
      fail_msg("%s: expected \"%s\", got: %s", wrong[i].header, wrong[i].reason, error.text);
  }
}

static void what_is_no_file_is_refused(void **state) {
  Fixture *f = *state;
  Error error;
  assert_false(loads(f, "/nonexistent/file", NULL, &error));
  assert_false(loads(f, f->folder, NULL, &error));
  assert_false(loads(f, "/dev/zero", NULL, &error));
  uint64_t huge[2] = { UINT64_MAX, 0 };
  spit(f->other, huge, sizeof huge);
  assert_false(loads(f, f->other, NULL, &error));
  assert_int_equal(mkfifo(f->path, 0600), 0);
  assert_false(loads(f, f->path, NULL, &error));
}

/* tests/golden/reference.safetensors was written by Hugging Face's safetensors. */
static void a_file_of_the_reference_writer_loads(void **state) {
  Fixture *f = *state;
  Error error;
  Checkpoint loaded;
  bool verified = true;
  checkpoint_init(&loaded, f->arena);
  if (!checkpoint_load(&loaded, "tests/golden/reference.safetensors", &verified, &error))
    fail_msg("%s", error.text);
  assert_false(verified);
  assert_int_equal(loaded.tensors, 5);
  assert_string_equal(checkpoint_text(&loaded, "note"), "by the reference writer");
  const float *weight = checkpoint_tensor(&loaded, "weight")->data;
  const double *bias = checkpoint_tensor(&loaded, "bias")->data;
  const uint8_t *image = checkpoint_tensor(&loaded, "image")->data;
  const int64_t *scalar = checkpoint_tensor(&loaded, "scalar")->data;
  for (int i = 0; i < 6; i++) assert_true(weight[i] == (float)i / 4 - 1);
  for (int i = 0; i < 3; i++) assert_true(bias[i] == 1.0 / (i + 1));
  for (int i = 0; i < 3; i++) assert_int_equal(image[i], 100 + i);
  assert_int_equal(*scalar, -(INT64_C(1) << 40));
  assert_int_equal(checkpoint_tensor(&loaded, "scalar")->rank, 0);
  assert_int_equal(checkpoint_tensor(&loaded, "empty")->shape[1], 3);
}

/* Save while writes fail after `limit` bytes, as on a full disk. */
static bool save_limited(const Fixture *f, size_t limit, Error *error) {
  struct rlimit old, low;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  low = (struct rlimit){ limit, old.rlim_max };
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
  bool done = checkpoint_save(&f->set, f->path, error);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  return done;
}

static void a_full_disk_leaves_the_old_file(void **state) {
  Fixture *f = *state;
  Error error;
  size_t before, after;
  char fresh[160];
  snprintf(fresh, sizeof fresh, "%s.tmp", f->path);
  save(f);
  char *old = slurp(f->path, &before);
  checkpoint_add_text(&f->set, "more", "text");
  for (size_t limit = 0; limit <= before; limit += 37) {
    assert_false(save_limited(f, limit, &error));
    assert_int_equal(error.kind, FAIL_RUNNING);
    assert_int_not_equal(access(fresh, F_OK), 0);
    char *now = slurp(f->path, &after);
    assert_int_equal(after, before);
    assert_memory_equal(now, old, after);
    free(now);
  }
  assert_true(save_limited(f, before + 4096, &error));
  free(old);
}

static void a_folder_that_refuses_is_reported(void **state) {
  Fixture *f = *state;
  Error error;
  assert_false(checkpoint_save(&f->set, "/nonexistent/folder/file", &error));
  assert_int_equal(error.kind, FAIL_RUNNING);
  assert_int_equal(mkdir(f->other, 0700), 0); /* a folder cannot be replaced by a file */
  assert_false(checkpoint_save(&f->set, f->other, &error));
  if (geteuid() == 0) return; /* root may write anywhere */
  assert_int_equal(chmod(f->folder, 0500), 0);
  assert_false(checkpoint_save(&f->set, f->path, &error));
  assert_int_equal(chmod(f->folder, 0700), 0);
}

static void a_header_over_the_limit_is_not_written(void **state) {
  Fixture *f = *state;
  Error error;
  size_t bytes = 1 << 20;
  char *text = memset(arena_alloc(f->arena, bytes + 1), 'x', bytes);
  checkpoint_add_text(&f->set, "long", text);
  assert_false(checkpoint_save(&f->set, f->path, &error));
  assert_int_not_equal(access(f->path, F_OK), 0);
}

#define PAIR_FIELDS(F)                                                                             \
  F(INT, size, 3, 1, 9, "a number")                                                                \
  F(TEXT, word, "a", "a|b", NULL, "a text")
typedef struct {
  CONFIG_MEMBERS(PAIR_FIELDS)
} Pair;
#define CONFIG_STRUCT Pair
static const ConfigField pair_fields[] = { CONFIG_ROWS(PAIR_FIELDS) };
#undef CONFIG_STRUCT

static void refuse_config(Fixture *f, const char *key, const char *text) {
  Pair pair;
  Error error;
  assert_false(checkpoint_read_config(&f->set, key, pair_fields, 2, &pair, "a pair", &error));
  assert_int_equal(error.kind, FAIL_INPUT);
  assert_non_null(strstr(error.text, text));
}

static void settings_come_back_and_others_are_refused(void **state) {
  Fixture *f = *state;
  Pair pair = { .size = 7, .word = { "b" } }, back;
  Error error;
  checkpoint_add_config(&f->set, "pair", pair_fields, 2, &pair);
  assert_string_equal(checkpoint_text(&f->set, "pair"), "{\"size\":7,\"word\":\"b\"}");
  assert_true(checkpoint_read_config(&f->set, "pair", pair_fields, 2, &back, "a pair", &error));
  assert_memory_equal(&back, &pair, sizeof pair);
  refuse_config(f, "none", "no \"none\" in the metadata: not a pair");
  refuse_config(f, "act", "");
  checkpoint_add_text(&f->set, "much", "{\"size\":10}");
  refuse_config(f, "much", "out of range");
  checkpoint_add_text(&f->set, "other", "{\"sice\":1}");
  refuse_config(f, "other", "did you mean size?");
}

int main(void) {
#define FACT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
    FACT(what_is_saved_comes_back),
    FACT(settings_come_back_and_others_are_refused),
    FACT(equal_content_is_an_equal_file),
    FACT(the_file_keeps_the_rules_of_safetensors),
    FACT(a_file_cut_at_any_length_is_refused),
    FACT(any_flipped_bit_is_refused),
    FACT(any_replaced_header_byte_is_refused),
    FACT(headers_that_lie_are_refused),
    FACT(what_is_no_file_is_refused),
    FACT(a_file_of_the_reference_writer_loads),
    FACT(a_full_disk_leaves_the_old_file),
    FACT(a_folder_that_refuses_is_reported),
    FACT(a_header_over_the_limit_is_not_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
