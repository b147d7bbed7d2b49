/* test_ranges.c -- every setting of every algorithm at both ends of its printed range, one at a
 * time beside small others: a run of two steps ends with 0 or with a sentence, never by a signal,
 * and what was trained acts or samples, or is exported.
 *
 * Every key and range is tried with the first algorithm that has it; with DIFFRL_SOAK=1 in the
 * environment (make soak), with all of them, and at ends that take long. */
#include "tests/program.h"
#include "core/clock.h"
#include "policy/diffrl.h"
#include "rl/algo.h"
#include "tests/idx.h"
#include <signal.h>
#include <sys/prctl.h>

enum { AT_ONCE = 2, MOST_SEEN = 4096 };
static const double patience = 30, patience_after = 10; /* seconds until SIGTERM, until the next */

/* whose high ends take seconds, or for ever */
static const char *const takes_long[] = { "hidden", "batch",       "steps",     "random_steps",
                                          "grid",   "eval_points", "eval_plans" };

/* ---- small settings and data ----------------------------------------------------------------- */

/* those of the list that an algorithm has */
static const char *const small[][2] = {
  { "hidden", "8" },       { "batch", "8" },         { "group", "8" },
  { "lane", "8" },         { "eval_episodes", "1" }, { "random_steps", "5" },
  { "mults", "1" },        { "groups", "4" },        { "eval_plans", "2" },
  { "eval_points", "16" }, { "blocks", "1" },        { "eval_images", "4" },
  { "grid", "1" },         { "scores", "0" },        { "candidates", "2" },
  { "size", "12" },        { "horizon", "8" },       { "diffusion_steps", "5" },
  { "sample_steps", "1" }, { "pictures", "false" },  { "proposals", "1" },
  { "critics", "2" },
};

static const char *small_value(const char *key) {
  for (size_t i = 0; i < sizeof small / sizeof *small; i++)
    if (!strcmp(small[i][0], key)) return small[i][1];
  return NULL;
}

static void make_pictures(void) {
  static uint8_t pixel[8 * 12 * 12], label[8];
  for (size_t i = 0; i < sizeof pixel; i++) pixel[i] = (uint8_t)(i * i);
  for (size_t i = 0; i < sizeof label; i++) label[i] = i % 3;
  assert_int_equal(mkdir("pictures", 0777), 0);
  const int size[] = { 8, 12, 12 };
  idx_write("pictures/train-images-idx3-ubyte", 3, size, pixel, sizeof pixel);
  idx_write("pictures/t10k-images-idx3-ubyte", 3, size, pixel, sizeof pixel);
  idx_write("pictures/train-labels-idx1-ubyte", 1, size, label, sizeof label);
  idx_write("pictures/t10k-labels-idx1-ubyte", 1, size, label, sizeof label);
}

static const char *data_of(const AlgoDef *algo) {
  if (algo->source->by_env) return "--env point-v0";
  if (!strcmp(algo->source->name, "points")) return "--data moons";
  if (!strcmp(algo->source->name, "pictures")) return "--data pictures";
  return "--data point.hdf5 --env none";
}

static int enter(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 3, 1, NULL);
  make_pictures();
  return 0;
}

/* ---- one run after the other, two at a time -------------------------------------------------- */

typedef struct {
  const char *algo, *key;
  char value[80];
  char run[32];
  pid_t child;
  double start;
  bool endless, asked; /* to end, by SIGTERM */
} Case;

typedef struct {
  Case now[AT_ONCE];
  int cases, trained, refused, stopped, failed;
  bool soak;
  const char *seen[MOST_SEEN];
  int seen_count;
} Walk;

/* diffrl COMMAND in a child, its words in RUN.err */
static pid_t start(const char *run, const char *line) {
  char name[64];
  snprintf(name, sizeof name, "%s.err", run);
  FILE *in = fopen("obs", "r"), *err = fopen(name, "w");
  assert_true(in && err);
  pid_t child = program_start(line, fileno(in), fileno(err), fileno(err), 0);
  fclose(in), fclose(err);
  return child;
}

static void tell(Walk *walk, const Case *c, const char *what) {
  char name[64];
  size_t length;
  snprintf(name, sizeof name, "%s.err", c->run);
  char *words = file_read(name, &length);
  size_t tail = length > 600 ? length - 600 : 0;
  print_error("%s %s=%s: %s\n%s\n", c->algo, c->key, c->value, what, words + tail);
  free(words);
  walk->failed++;
}

/* What was trained answers once. */
static void use(Walk *walk, const Case *c) {
  char line[256];
  bool samples = !strcmp(c->algo, "toy") || !strcmp(c->algo, "image");
  if (!strcmp(c->algo, "world-diffusion"))
    snprintf(line, sizeof line, "inspect %s", c->run); /* neither acts nor is sampled */
  else if (!samples && strcmp(c->algo, "classifier"))
    snprintf(line, sizeof line, "act %s", c->run);
  else if (!strcmp(c->algo, "classifier"))
    snprintf(line, sizeof line, "export %s --half --out %s", c->run, c->run);
  else
    snprintf(line, sizeof line, "sample %s --count 2 --out made.npy", c->run);
  int status;
  pid_t child = start(c->run, line);
  assert_int_equal(waitpid(child, &status, 0), child);
  if (program_code(status)) tell(walk, c, "what was trained does not act");
}

static void judge(Walk *walk, Case *c, int code) {
  char name[64], command[128];
  snprintf(name, sizeof name, "%s.err", c->run);
  if (code == 0) {
    walk->trained++;
    use(walk, c);
  } else if (c->asked && code == 128 + SIGTERM) {
    walk->stopped++;
  } else if (code > FAIL_DIVERGED || file_size(name) <= 0) {
    char what[64];
    snprintf(what, sizeof what, "exit code %d", code);
    tell(walk, c, what);
  } else {
    walk->refused++;
  }
  double took = clock_now() - c->start;
  if (took > 1 || c->asked)
    print_message("%s %s=%s: %.1f s, code %d\n", c->algo, c->key, c->value, took, code);
  snprintf(command, sizeof command, "rm -rf %s %s", c->run, name);
  assert_int_equal(system(command), 0);
  c->child = 0;
}

/* A free place among those that run; -1 at the end of all. */
static int wait_place(Walk *walk, bool all) {
  for (;;) {
    int running = 0;
    for (int i = 0; i < AT_ONCE; i++) {
      Case *c = &walk->now[i];
      int status;
      if (c->child && waitpid(c->child, &status, WNOHANG) == c->child)
        judge(walk, c, program_code(status));
      if (!c->child && !all) return i;
      double waited = clock_now() - c->start, limit = c->endless ? 1 : patience;
      if (c->child && !c->asked && waited > limit) kill(c->child, SIGTERM), c->asked = true;
      /* one step may take longer than that: a second signal does not wait for its end */
      if (c->child && waited > limit + patience_after) kill(c->child, SIGTERM);
      if (c->child && waited > limit + 2 * patience_after) kill(c->child, SIGKILL);
      running += c->child != 0;
    }
    if (!running) return -1;
    nap(0.002);
  }
}

static void try(Walk *walk, const AlgoDef *algo, const ConfigField *field, const char *value) {
  int place = wait_place(walk, false);
  Case *c = &walk->now[place];
  *c = (Case){ .algo = algo->name, .key = field->key, .start = clock_now() };
  c->endless = !strcmp(field->key, "steps") && strlen(value) > 3;
  snprintf(c->value, sizeof c->value, "%s", value);
  snprintf(c->run, sizeof c->run, "run%d", walk->cases++);
  char line[2048];
  int n = snprintf(line, sizeof line, "train %s %s --threads 1 --out %s --set %s=%s", algo->name,
                   data_of(algo), c->run, field->key, value);
  if (strcmp(field->key, "steps")) n += snprintf(line + n, sizeof line - (size_t)n, " --steps 2");
  for (size_t i = 0; i < algo->field_count; i++) {
    const char *key = algo->fields[i].key, *other = small_value(key);
    if (other && strcmp(key, field->key))
      n += snprintf(line + n, sizeof line - (size_t)n, " --set %s=%s", key, other);
  }
  c->child = start(c->run, line);
}

/* ---- the ends -------------------------------------------------------------------------------- */

static bool is_long(const ConfigField *field) {
  for (size_t i = 0; i < sizeof takes_long / sizeof *takes_long; i++)
    if (!strcmp(takes_long[i], field->key)) return true;
  return false;
}

static bool limited(const char *end) { return strcmp(end, "NULL") != 0; }

/* has this key with this range been tried? */
static bool seen_before(Walk *walk, const ConfigField *field) {
  char name[256];
  snprintf(name, sizeof name, "%s %s %s", field->key, field->low, field->high);
  for (int i = 0; i < walk->seen_count; i++)
    if (!strcmp(walk->seen[i], name)) return true;
  assert_true(walk->seen_count < MOST_SEEN);
  walk->seen[walk->seen_count++] = strdup(name);
  return false;
}

static void try_choices(Walk *walk, const AlgoDef *algo, const ConfigField *field) {
  char list[256], *rest = list;
  snprintf(list, sizeof list, "%s", field->low + 1); /* as written, in quotes */
  list[strcspn(list, "\"")] = '\0';
  for (const char *choice; (choice = strsep(&rest, "|"));) try(walk, algo, field, choice);
}

static void try_names(Walk *walk, const AlgoDef *algo, const ConfigField *field) {
  static const char *const channels[] = { "1,2", "16", "1,1,1,1,1,1", "0", "1,2,4,8,16,32,64" };
  const char *name;
  if (!strcmp(field->key, "sampler"))
    for (size_t i = 0; (name = diffrl_name(DIFFRL_SAMPLERS, i)); i++) try(walk, algo, field, name);
  else if (!strcmp(field->key, "schedule"))
    for (size_t i = 0; (name = diffrl_name(DIFFRL_SCHEDULES, i)); i++) try(walk, algo, field, name);
  else if (!strcmp(field->key, "mults"))
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
      try(walk, algo, field, channels[i]);
  else
    try(walk, algo, field, "nonesuch");
}

static void try_field(Walk *walk, const AlgoDef *algo, const ConfigField *field) {
  bool number = field->type == CONFIG_INT || field->type == CONFIG_FLOAT;
  if (!walk->soak && seen_before(walk, field)) return;
  if (number) {
    try(walk, algo, field, limited(field->low) ? field->low : "-1e9");
    const char *most = field->type == CONFIG_INT ? "1000000000" : "1e300";
    if (walk->soak || !is_long(field))
      try(walk, algo, field, limited(field->high) ? field->high : most);
  } else if (field->type == CONFIG_BOOL) {
    try(walk, algo, field, strcmp(field->initial, "true") ? "true" : "false");
  } else if (limited(field->low)) {
    try_choices(walk, algo, field);
  } else {
    try_names(walk, algo, field);
  }
}

static void ends_of_ranges_train_or_are_refused(void **state) {
  (void)state;
  Walk walk = { .soak = getenv("DIFFRL_SOAK") != NULL };
  const char *only = getenv("DIFFRL_ALGO");
  file_write("obs", "0 0 0 0\n", 8);
  size_t algos;
  const AlgoDef *const *algo = algo_list(&algos);
  for (size_t a = 0; a < algos; a++)
    for (size_t f = 0; f < algo[a]->field_count; f++)
      if (!only || !strcmp(only, algo[a]->name)) try_field(&walk, algo[a], &algo[a]->fields[f]);
  wait_place(&walk, true);
  for (int i = 0; i < walk.seen_count; i++) free((char *)walk.seen[i]);
  print_message("%d ends: %d trained, %d refused, %d stopped\n", walk.cases, walk.trained,
                walk.refused, walk.stopped);
  assert_int_equal(walk.failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(ends_of_ranges_train_or_are_refused, enter, program_leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
