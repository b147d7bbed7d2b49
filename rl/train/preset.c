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
#define ACTING    "envs=16 decisions=64 gamma=0.995 value_first=16 schedule_rate=cosine "
#define MINUTES   "our own: minutes on two cores, for a first look"
#define NO_SCORE  "our own: for a first look; what it returns was not measured"
#define BC_QUICK  "steps=40000 schedule_rate=cosine eval_every=10000 normalize_obs=true"
#define SMALL(steps) "steps=" steps " hidden=128 schedule_rate=cosine eval_every=5000 " \
  "normalize_obs=true"
#define GYM(algo, settings, source) \
  { algo, "halfcheetah-medium-v2", settings, source }, \
  { algo, "hopper-medium-v2", settings, source }, \
  { algo, "walker2d-medium-v2", settings, source }, \
  { algo, "halfcheetah-medium-replay-v2", settings, source }, \
  { algo, "hopper-medium-replay-v2", settings, source }, \
  { algo, "walker2d-medium-replay-v2", settings, source }, \
  { algo, "halfcheetah-medium-expert-v2", settings, source }, \
  { algo, "hopper-medium-expert-v2", settings, source }, \
  { algo, "walker2d-medium-expert-v2", settings, source }
#define BC_ROW    "steps=1000000 normalize_obs=true"
#define CORL      "CORL (Tarasov et al. 2022, arXiv 2210.07105), released settings"
#define IQL_MAZE(data) { "iql", data, "steps=1000000 expectile=0.9 beta=10 reward=minus-one", \
  IQL_CODE }
#define IQL_CODE  "Kostrikov et al. 2022 (arXiv 2110.06169), released settings"
#define CQL(data, settings) { "cql", data, "steps=1000000 cql_alpha=10 proposals=10 " \
  "actor_rate=3e-5 critic_rate=3e-4 normalize_obs=true" settings, CORL }
#define REBRAC(data, settings) { "rebrac", data, "steps=1000000 batch=1024 actor_rate=1e-3 " \
  "critic_rate=1e-3 " settings, "Tarasov et al. 2023 (arXiv 2305.09836), released settings" }
#define EDAC(data, settings) { "edac", data, "steps=3000000 actor_rate=3e-4 critic_rate=3e-4 " \
  settings, "An et al. 2021 (arXiv 2110.01548), released settings" }

static const Preset presets[] = {
  /* Diffusion-QL: published settings */
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
  /* our own settings of Diffusion-QL and of cloning, for demonstrations and for results */
  { "diffusion-ql", "quick", "steps=40000 hidden=128 eta=0.3 eta_from=20000 gamma=0.997 "
    "critic_rate=1e-3 tau=0.01 nstep=10 normalize_obs=true choice=average temperature=3 "
    "schedule_rate=cosine eval_every=5000", QUICK },
  { "diffusion-ql", "long", "steps=200000 hidden=128 eta=0.3 eta_from=50000 gamma=0.997 "
    "critic_rate=1e-3 tau=0.01 schedule_rate=cosine eval_every=10000", LONG },
  { "diffusion-bc", "quick", "steps=40000 hidden=128 schedule_rate=cosine eval_every=10000",
    QUICK },
  { "diffusion-bc", "long", "steps=200000 hidden=128 schedule_rate=cosine eval_every=10000",
    LONG },
  /* baselines: published settings, one algorithm after the other */
  GYM("bc", BC_ROW, CORL), GYM("bc-10", BC_ROW, CORL),
  GYM("td3-bc", "steps=1000000 alpha=2.5 normalize_obs=true",
      "Fujimoto & Gu 2021 (arXiv 2106.06860), released settings"),
  GYM("iql", "steps=1000000 expectile=0.7 beta=3 reward=return-range", IQL_CODE),
  IQL_MAZE("antmaze-umaze-v0"), IQL_MAZE("antmaze-umaze-diverse-v0"),
  IQL_MAZE("antmaze-medium-play-v0"), IQL_MAZE("antmaze-medium-diverse-v0"),
  IQL_MAZE("antmaze-large-play-v0"), IQL_MAZE("antmaze-large-diverse-v0"),
  CQL("halfcheetah-medium-v2", ""), CQL("hopper-medium-v2", " reward=return-range"),
  CQL("walker2d-medium-v2", ""), CQL("halfcheetah-medium-replay-v2", ""),
  CQL("hopper-medium-replay-v2", ""), CQL("walker2d-medium-replay-v2", ""),
  CQL("halfcheetah-medium-expert-v2", ""), CQL("hopper-medium-expert-v2", ""),
  CQL("walker2d-medium-expert-v2", ""),
  REBRAC("halfcheetah-medium-v2", "actor_penalty=0.001 critic_penalty=0.01"),
  REBRAC("hopper-medium-v2", "actor_penalty=0.01 critic_penalty=0.01"),
  REBRAC("walker2d-medium-v2", "actor_penalty=0.05 critic_penalty=0.1"),
  REBRAC("halfcheetah-medium-replay-v2", "actor_penalty=0.01 critic_penalty=0.001"),
  REBRAC("hopper-medium-replay-v2", "actor_penalty=0.05 critic_penalty=0.5"),
  REBRAC("walker2d-medium-replay-v2", "actor_penalty=0.05 critic_penalty=0.01"),
  REBRAC("halfcheetah-medium-expert-v2", "actor_penalty=0.01 critic_penalty=0.1"),
  REBRAC("hopper-medium-expert-v2", "actor_penalty=0.1 critic_penalty=0.01"),
  REBRAC("walker2d-medium-expert-v2", "actor_penalty=0.01 critic_penalty=0.01"),
  EDAC("halfcheetah-medium-v2", "critics=10 eta=1"),
  EDAC("hopper-medium-v2", "critics=50 eta=1"),
  EDAC("walker2d-medium-v2", "critics=10 eta=1"),
  EDAC("halfcheetah-medium-replay-v2", "critics=10 eta=1"),
  EDAC("hopper-medium-replay-v2", "critics=50 eta=1"),
  EDAC("walker2d-medium-replay-v2", "critics=10 eta=1"),
  EDAC("halfcheetah-medium-expert-v2", "critics=10 eta=5"),
  EDAC("hopper-medium-expert-v2", "critics=50 eta=1"),
  EDAC("walker2d-medium-expert-v2", "critics=10 eta=5"),
  /* baselines: our own settings for a first look, and TD3, online */
  { "bc", "quick", BC_QUICK, MINUTES }, { "bc-10", "quick", BC_QUICK, MINUTES },
  { "td3-bc", "quick", SMALL("40000") " nstep=10 gamma=0.997 actor_rate=1e-3 critic_rate=1e-3 "
    "layernorm=after", MINUTES },
  { "iql", "quick", SMALL("40000") " nstep=10 gamma=0.997 reward=return-range beta=6", MINUTES },
  { "idql", "quick", SMALL("40000") " nstep=10 gamma=0.997 reward=return-range candidates=16 "
    "choice=average", NO_SCORE },
  { "ifql", "quick", SMALL("40000") " nstep=10 gamma=0.997 reward=return-range critic_layers=2 "
    "candidates=16 choice=average", NO_SCORE },
  { "fql", "quick", SMALL("40000") " nstep=10 gamma=0.997 normalize_q=true alpha=1 "
    "critic_layers=2 actor_layers=2", NO_SCORE },
  { "fql", "paper", "steps=500000 hidden=512",
    "Park, Li & Levine 2025 (arXiv 2502.02538), released settings" },
  { "idql", "paper", "steps=3000000 batch=512 reward=return-range",
    "Hansen-Estruch et al. 2023 (arXiv 2304.10573), released settings" },
  { "ifql", "paper", "steps=500000 hidden=512",
    "Park, Li & Levine 2025 (arXiv 2502.02538), released settings" },
  { "qgpo", "quick", SMALL("60000") " nstep=10 gamma=0.997 reward=return-range behaviour=0.4 "
    "critics_end=1 behaviour_rate=1e-3 support=8 sample_steps=6 "
    "guidance=0.3", MINUTES },
  { "world-diffusion", "quick", "steps=20000 hidden=128 schedule_rate=cosine eval_every=5000",
    MINUTES },
  { "qgpo", "paper", "steps=1600000 reward=return-range behaviour=0.375 critics_end=0.6875",
    "Lu et al. 2023 (arXiv 2304.12824), released settings but for the batch of the behaviour" },
  { "rebrac", "quick", SMALL("40000") " nstep=10 gamma=0.997 actor_penalty=0.1", MINUTES },
  { "cql", "quick", SMALL("20000") " nstep=10 gamma=0.997 proposals=4 actor_rate=3e-4",
    NO_SCORE },
  { "edac", "quick", SMALL("20000") " nstep=10 gamma=0.997 critics=5", NO_SCORE },
  { "td3", "quick", "steps=100000 hidden=128 random_steps=10000", NO_SCORE },
  { "td3", "published", "steps=1000000",
    "Fujimoto et al. 2018 (arXiv 1802.09477), the authors' later code" },
  /* fine-tuning by acting: 300,000 steps in the environment, in iterations of 1,024 */
  { "dppo", "quick", ACTING "steps=5840 eval_every=584 batch=512 finetune_steps=2 "
    "actor_rate=1e-4 clip_ratio=0.05 clip_base=0.05", MINUTES },
  { "reinflow", "quick", ACTING "steps=5840 eval_every=584 batch=256 actor_rate=1e-4 "
    "clip_ratio=0.02 entropy=0 least_std=0.05 most_std=0.12 noise_end=0.4", MINUTES },
  { "fpo", "quick", ACTING "steps=3504 eval_every=350 passes=3 batch=256 levels=32 "
    "actor_rate=3e-5 clip_ratio=0.005", MINUTES },
  /* models of plans, pictures and points */
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
  { "image", "generator", "size=28 hidden=32 mults=1,2,2 blocks=1 schedule=cosine predicts=v "
    "times=uniform ema=0.9995 sampler=dpmpp_2m sample_steps=20 guidance=1.2 batch=64 group=32 "
    "lane=8 schedule_rate=cosine steps=12000 eval_every=3000 grid=4 scores=0 log_every=100 "
    "save_every=500", "our own: a generator to fine-tune, about an hour on two cores" },
  { "classifier", "fashion-mnist", "steps=15000 batch=64 group=32 lane=8 rate=4e-3 "
    "shift=1 schedule_rate=cosine eval_every=1000 log_every=50 save_every=1000",
    "our own: a few minutes on two cores" },
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
  /* names repeat across algorithms, so a wrong one is compared with those of this one alone */
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
  /* a file's underscores stand for the dashes of the set's name */
  size_t i = 0;
  for (; preset[i] && data[i]; i++)
    if (preset[i] != (data[i] == '_' ? '-' : data[i])) break;
  /* what is left of both names, from where they differ */
  const char *rest = preset + i, *tail = data + i;
  /* the whole name fits: the data's name must end here too, or its file extension begin */
  if (!*rest) return !*tail || *tail == '.';
  /* generated sets, unversioned or of version 1, take the settings of D4RL's of any version */
  int version = rest[0] == '-' && rest[1] == 'v' && rest[2] && !rest[3];
  return (version && !*tail) || (rest[0] >= '0' && rest[0] <= '9' && !rest[1] && *tail == '1' &&
                                 (!tail[1] || tail[1] == '.'));
}

const Preset *preset_for(const char *algo, const char *data) {
  for (int i = 0; i < PRESETS; i++)
    if (!strcmp(presets[i].algo, algo) && same_data(presets[i].name, data)) return &presets[i];
  return NULL;
}
