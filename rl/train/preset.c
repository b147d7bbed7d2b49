/* preset.c -- the published tables, as they are, and our own quick settings. */
#include "rl/train/preset.h"
#include "core/names.h"
#include <stdio.h>
#include <string.h>

/* clang-format off */
#define PUBLISHED "Wang et al. 2023 (arXiv 2208.06193), released settings"
#define QUICK     "our own: minutes on two cores, for `make demo`"
#define LONG      "our own: half an hour on one core, for results"
#define DQL(data, settings) { "diffusion-ql", data, settings, PUBLISHED }
#define TOY(data) { "toy", data, "steps=9000 schedule_rate=cosine eval_every=3000 " \
  "log_every=100 save_every=3000", "our own: half a minute on two cores" }
#define DIFFUSER(data, settings) { "diffuser", data, "steps=1000000 batch=64 group=16 lane=16 " \
  settings, "Janner et al. 2022 (arXiv 2205.09991), released settings" }
#define CHEETAH   "horizon=4 mults=1,4,8 attention=true"
#define ANTMAZE   "steps=1000000 reward=antmaze "
#define ADROIT    "steps=1000000 reward=standard actor_rate=3e-5 "

static const Preset presets[] = {
  DQL("halfcheetah-medium-v2", "steps=2000000 eta=1 clip=9"),
  DQL("hopper-medium-v2", "steps=2000000 eta=1 clip=9"),
  DQL("walker2d-medium-v2", "steps=2000000 eta=1 clip=1"),
  DQL("halfcheetah-medium-replay-v2", "steps=2000000 eta=1 clip=2"),
  DQL("hopper-medium-replay-v2", "steps=2000000 eta=1 clip=4"),
  DQL("walker2d-medium-replay-v2", "steps=2000000 eta=1 clip=4"),
  DQL("halfcheetah-medium-expert-v2", "steps=2000000 eta=1 clip=7"),
  DQL("hopper-medium-expert-v2", "steps=2000000 eta=1 clip=5"),
  DQL("walker2d-medium-expert-v2", "steps=2000000 eta=1 clip=5"),
  DQL("antmaze-umaze-v0", ANTMAZE "eta=0.5 clip=2"),
  DQL("antmaze-umaze-diverse-v0", ANTMAZE "eta=2 clip=3 max_q_backup=true"),
  DQL("antmaze-medium-play-v0", ANTMAZE "actor_rate=1e-3 eta=2 clip=2 max_q_backup=true"),
  DQL("antmaze-medium-diverse-v0", ANTMAZE "eta=3 clip=1 max_q_backup=true"),
  DQL("antmaze-large-play-v0", ANTMAZE "eta=4.5 clip=10 max_q_backup=true"),
  DQL("antmaze-large-diverse-v0", ANTMAZE "eta=3.5 clip=7 max_q_backup=true"),
  DQL("pen-human-v1", ADROIT "eta=0.15 clip=7"),
  DQL("pen-cloned-v1", ADROIT "eta=0.1 clip=8"),
  DQL("kitchen-complete-v0", "steps=250000 eta=0.005 clip=9"),
  DQL("kitchen-partial-v0", "steps=1000000 eta=0.005 clip=10"),
  DQL("kitchen-mixed-v0", "steps=1000000 eta=0.005 clip=10"),
  { "diffusion-ql", "quick", "steps=40000 hidden=128 eta=0.3 eta_from=20000 gamma=0.997 "
    "critic_rate=1e-3 tau=0.01 nstep=10 normalize_obs=true choice=average temperature=3 "
    "schedule_rate=cosine eval_every=5000", QUICK },
  { "diffusion-ql", "long", "steps=200000 hidden=128 eta=0.3 eta_from=50000 gamma=0.997 "
    "critic_rate=1e-3 tau=0.01 schedule_rate=cosine eval_every=10000", LONG },
  { "diffusion-bc", "quick", "steps=40000 hidden=128 schedule_rate=cosine eval_every=10000",
    QUICK },
  { "diffusion-bc", "long", "steps=200000 hidden=128 schedule_rate=cosine eval_every=10000",
    LONG },
  DIFFUSER("hopper-medium-v2", ""), DIFFUSER("hopper-medium-replay-v2", ""),
  DIFFUSER("hopper-medium-expert-v2", ""), DIFFUSER("walker2d-medium-v2", ""),
  DIFFUSER("walker2d-medium-replay-v2", ""), DIFFUSER("walker2d-medium-expert-v2", ""),
  DIFFUSER("halfcheetah-medium-v2", CHEETAH), DIFFUSER("halfcheetah-medium-replay-v2", CHEETAH),
  DIFFUSER("halfcheetah-medium-expert-v2", CHEETAH),
  { "diffuser", "quick", "batch=32 group=16 lane=16 steps=16000 schedule_rate=cosine rate=1e-3 "
    "hidden=64 mults=1,2,4 pad=false eval_every=2000 log_every=100 save_every=500",
    "our own: about a quarter of an hour on two cores" },
  { "image", "fashion-mnist", "steps=2000 batch=64 group=32 lane=8 schedule_rate=cosine "
    "eval_every=500 log_every=20 save_every=100", "our own: a first model on two cores" },
  TOY("swissroll"), TOY("moons"), TOY("rings"), TOY("checkerboard"), TOY("8gaussians"),
  TOY("2spirals"), TOY("gmm"),
  { "toy", "student", "distill=consistency sampler=consistency sample_steps=2 spacing=karras "
    "steps=3000 rate=5e-4 schedule_rate=cosine eval_every=1000 log_every=100 save_every=1000",
    "our own: two steps from noise to data, with --init RUN" },
};
/* clang-format on */
enum { PRESETS = sizeof presets / sizeof *presets };

const Preset *preset_list(size_t *count) {
  *count = PRESETS;
  return presets;
}

const Preset *preset_find(const char *algo, const char *name, Error *error) {
  struct {
    const char *name;
    const Preset *preset;
  } own[PRESETS];
  char what[64];
  size_t count = 0;
  for (int i = 0; i < PRESETS; i++) {
    if (strcmp(presets[i].algo, algo)) continue;
    own[count].name = presets[i].name, own[count++].preset = &presets[i];
  }
  snprintf(what, sizeof what, "preset of %s", algo);
  int i = names_find(NAMES(own, count, .what = what, .see = "`diffrl list presets`"), name, error);
  return i < 0 ? NULL : own[i].preset;
}

/* "dir/hopper_medium-v2.hdf5", "hopper-medium-v2" and the generated "hopper-medium[-v1]" */
static int same_data(const char *preset, const char *data) {
  const char *slash = strrchr(data, '/');
  data = slash ? slash + 1 : data;
  size_t i = 0;
  for (; preset[i] && data[i]; i++)
    if (preset[i] != (data[i] == '_' ? '-' : data[i])) break;
  const char *rest = preset + i, *tail = data + i;
  if (!*rest) return !*tail || *tail == '.';
  int version = rest[0] == '-' && rest[1] == 'v' && rest[2] && !rest[3];
  return (version && !*tail) || (rest[0] >= '0' && rest[0] <= '9' && !rest[1] && *tail == '1' &&
                                 (!tail[1] || tail[1] == '.'));
}

const Preset *preset_for(const char *algo, const char *data) {
  for (int i = 0; i < PRESETS; i++)
    if (!strcmp(presets[i].algo, algo) && same_data(presets[i].name, data)) return &presets[i];
  return NULL;
}
