/* command_doctor.c -- diffrl doctor: is everything that the other commands need here, and does it
 * work? */
#include "cli/command.h"
#include "core/arena.h"
#include "core/json.h"
#include "core/kernels/kernels.h"
#include "core/parallel.h"
#include "core/ranks.h"
#include "datasets/cage.h"
#include "datasets/dataset.h"
#include "datasets/hdf5_process.h"
#include "envs/env.h"
#include "rl/rollout/task.h"
#include "rl/version.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

typedef struct {
  Parsed parsed;
  bool json;
} Doctor;

static const Option options[] = {
  OPTION_FLAG_ROW(Doctor, json, "json", "one JSON object a line"),
};

/* What a check found; `fix` is set if something is broken. */
typedef struct {
  char found[512], fix[1280];
} Finding;

/* A check never fails itself: what is broken goes into the finding. */
typedef void Check(Finding *f);

/* Which build this is: version, precision and MPI are fixed when it is compiled. */
static void check_program(Finding *f) {
  snprintf(f->found, sizeof f->found, "diffrl %s, numbers of %zu bytes, %s", DIFFRL_VERSION,
           sizeof(real), ranks_mpi_open ? "with MPI" : "without MPI");
}

/* ---- the processor --------------------------------------------------------------------------- */

static void check_cpus(Finding *f) {
  /* Linux only; elsewhere the model is unknown, which is no fault */
  char line[256], *name = NULL;
  FILE *file = fopen("/proc/cpuinfo", "r");
  while (file && !name && fgets(line, sizeof line, file))
    if (!strncmp(line, "model name", 10) && strchr(line, ':')) name = strchr(line, ':') + 2;
  if (name) name[strcspn(name, "\n")] = '\0';
  if (file) fclose(file);
  snprintf(f->found, sizeof f->found, "%d usable, %s", pool_cpus(), name ? name : "unknown model");
}

/* Finding the kernels asks the processor for the instructions that they need. */
static void check_kernels(Finding *f) {
  Error error;
  const Kernels *own = kernels_find("own", &error);
  const Kernels *half = own ? kernels_with(own, PRECISION_BF16, &error) : NULL;
  snprintf(f->found, sizeof f->found, "%s; products of bf16: %s", own ? own->name : "none",
           !half                                        ? "none"
           : kernels_find("amx", &(Error){ 0 }) != NULL ? "amx, the tile unit"
                                                        : half->name);
  if (!own) snprintf(f->fix, sizeof f->fix, "%s", error.text);
}

/* OpenBLAS is accepted only after a few of its products were compared with plain C. */
static void check_openblas(Finding *f) {
  Error error;
  bool right = kernels_find("openblas", &error) != NULL;
  snprintf(f->found, sizeof f->found, right ? "its products agree with plain C" : "unusable");
  if (!right) snprintf(f->fix, sizeof f->fix, "%s", error.text);
}

/* ---- the simulator and the reader of files --------------------------------------------------- */

/* Every environment is loaded once; the first that fails is what there is to repair. */
static void check_simulator(Finding *f) {
  size_t count, loaded = 0;
  Error error;
  const EnvDef *const *all = env_list(&count);
  for (size_t i = 0; i < count; i++) {
    EnvModel *model = env_load(all[i], &error);
    if (model)
      loaded++;
    else if (!*f->fix)
      snprintf(f->fix, sizeof f->fix, "%s does not load: %s", all[i]->name, error.text);
    env_unload(model);
  }
  snprintf(f->found, sizeof f->found, "%s, %zu of %zu environments load", env_simulator(), loaded,
           count);
}

/* a few rows out, and in again: both are the work of diffrl-hdf5 */
static bool round_trip(const char *file, int cache, Error *error) {
  /* four steps with one array of each kind are enough to use the whole path */
  const float obs[2] = { 0, 1 }, act[1] = { 0.5f };
  DatasetStep step = { obs, act, obs, 1, false, false, NAN, NULL, NULL };
  const char *import[] = { "import", "0", "", file, file, NULL };
  DatasetWriter *writer = dataset_writer_open(file, 2, 1, 0, 0, error);
  for (int i = 0; i < 4 && writer; i++) {
    /* the last step ends the episode, as in a file of real data */
    step.timeout = i == 3;
    if (dataset_writer_add(writer, &step, error)) continue;
    dataset_writer_abandon(writer);
    return false;
  }
  return writer && dataset_writer_close(writer, "{}", error) &&
         hdf5_process_run(import, -1, cache, 30, error);
}

/* Writing and reading run in the helper process, which might be missing or lack its library. */
static void check_hdf5(Finding *f) {
  Error error;
  const char *temporary = getenv("TMPDIR");
  char folder[256], file[288];
  snprintf(folder, sizeof folder, "%.200s/diffrl-doctor-XXXXXX", temporary ? temporary : "/tmp");
  /* a folder of its own, so that nothing of the user's is touched */
  if (!mkdtemp(folder)) {
    snprintf(f->fix, sizeof f->fix, "%s: no temporary folder: %s", folder, strerror(errno));
    return;
  }
  snprintf(file, sizeof file, "%s/a.hdf5", folder);
  int cache = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  bool done = cache >= 0 ? round_trip(file, cache, &error)
                         : error_set(&error, FAIL_RUNNING, "%s: no temporary file: %s", folder,
                                     strerror(errno));
  if (cache >= 0) close(cache);
  unlink(file), rmdir(folder);
  snprintf(f->found, sizeof f->found,
           !done          ? "files cannot be read"
           : cage_there() ? "diffrl-hdf5 wrote a file and read it back, locked in by seccomp"
                          : "diffrl-hdf5 wrote a file and read it back; this kernel has no seccomp "
                            "to lock it in");
  if (!done) snprintf(f->fix, sizeof f->fix, "%s", error.text);
}

/* ---- disks ----------------------------------------------------------------------------------- */

/* Can a file be made in this folder, or in the nearest one above it that exists? */
/* climb to the folder that exists, for the missing ones are made when they are needed */
static bool writable(const char *folder) {
  char path[PATH_MAX + 32];
  snprintf(path, PATH_MAX, "%s", folder);
  /* up to the root, whose name is empty before a slash, or to where one stands */
  while (*path && access(path, F_OK)) {
    char *slash = strrchr(path, '/');
    if (slash)
      *slash = '\0';
    else
      strcpy(path, ".");
  }
  strcat(path, "/diffrl-doctor-XXXXXX");
  /* making a file is the one sure test of whether files can be made here */
  int file = mkstemp(path);
  if (file >= 0) unlink(path), close(file);
  return file >= 0;
}

/* Where XDG says, if it names an absolute path, else below the home folder. */
static void report_folder(Finding *f, const char *folder, const char *variable, const char *what) {
  snprintf(f->found, sizeof f->found, "%.500s", folder);
  if (!writable(folder))
    snprintf(f->fix, sizeof f->fix, "%.500s cannot be written (%s): make it writable, or set %s",
             folder, what, variable);
}

/* where datasets/dataset.c keeps what it has converted: relative paths count for it as none */
/* The caches of data files lie here. */
static void check_cache(Finding *f) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  char folder[PATH_MAX];
  bool own = base && *base == '/';
  if (own || (home && *home == '/')) {
    snprintf(folder, sizeof folder, "%s%s/diffrl", own ? base : home, own ? "" : "/.cache");
    report_folder(f, folder, "XDG_CACHE_HOME", "without it every start converts the data again");
    return;
  }
  snprintf(f->found, sizeof f->found, "none");
  snprintf(f->fix, sizeof f->fix,
           "every start converts the data again: set HOME or XDG_CACHE_HOME "
           "to a path that begins with /");
}

/* where `data make` writes and --data looks */
/* Generated data sets lie here. */
static void check_made(Finding *f) {
  Arena *arena = arena_new();
  char *folder = arena_text(arena, "%s", task_made_path(arena, "a"));
  *strrchr(folder, '/') = '\0';
  report_folder(f, folder, "XDG_DATA_HOME", "`data make` writes there");
  arena_free(arena);
}

/* Runs are written below the folder one stands in. */
static void check_space(Finding *f) {
  struct statvfs disk;
  if (statvfs(".", &disk)) {
    snprintf(f->fix, sizeof f->fix, "this folder cannot be asked: %s", strerror(errno));
    return;
  }
  double gib = (double)disk.f_bavail * (double)disk.f_frsize / (1024.0 * 1024.0 * 1024.0);
  snprintf(f->found, sizeof f->found, "%.1f GiB free in this folder", gib);
  if (gib < 0.5) snprintf(f->fix, sizeof f->fix, "free some space: runs and data need about 1 GiB");
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct {
  const char *name;
  Check *check;
} checks[] = {
  { "program", check_program },    { "cpus", check_cpus },           { "kernels", check_kernels },
  { "openblas", check_openblas },  { "simulator", check_simulator }, { "hdf5", check_hdf5 },
  { "cache folder", check_cache }, { "data folder", check_made },    { "disk", check_space },
};
enum { CHECKS = sizeof checks / sizeof *checks };

/* A line for each check, and a second one with the remedy if something is broken. */
static void print(const char *name, const Finding *f, bool json) {
  if (!json) {
    printf("%-5s %-14s %s\n", *f->fix ? "BAD" : "ok", name, f->found);
    if (*f->fix) printf("      %-14s %s\n", "to do:", f->fix);
    return;
  }
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "check", name);
  json_put_bool(&out, "ok", !*f->fix);
  json_put_text(&out, "found", f->found);
  json_put_text(&out, "fix", *f->fix ? f->fix : NULL);
  json_close(&out, '}');
  command_print(out.text);
  json_text_free(&out);
}

static int run(const void *request, Error *error) {
  const Doctor *c = request;
  int broken = 0;
  for (int i = 0; i < CHECKS; i++) {
    Finding finding = { 0 };
    /* every check runs whatever the others found, so that one call shows all that is broken */
    checks[i].check(&finding);
    print(checks[i].name, &finding, c->json);
    broken += *finding.fix != '\0';
  }
  if (broken)
    error_set(error, FAIL_RUNNING, "doctor: %d of %d checks failed; see above", broken, CHECKS);
  return broken ? (int)error->kind : 0;
}

const Command command_doctor = {
  .name = "doctor",
  .usage = "[--json]",
  .about = "check what diffrl needs from this machine",
  .examples = "  diffrl doctor\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .size = sizeof(Doctor),
  .run = run,
};
