/* model.h -- a diffusion model: a network, its numbers, and how it is sampled.
 *
 * Points, pictures, plans and actions are kinds of models, rows of one table.  A kind says which
 * settings make its network, and what is special about its files; building, saving, loading, the
 * choice of weights, samplers, and the loop that samples many at once are here, once for all.
 *
 * A kind's struct begins with a Model and holds its settings as members (models/points.h), so that
 * a checkpoint holds the model whole and one file suffices to sample. */
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H
#include "core/progress.h"
#include "core/checkpoint.h"
#include "core/config.h"
#include "diffusion/sampler.h"
#include "policy/blocks.h"

/* What surrounds any network: noise, prediction, time, and how it is sampled by default.  A kind
 * lists those that it has among its own settings, with its own defaults; the others are these. */
#define MODEL_FIELDS(F)                                                                            \
  F(INT, hidden, 256, 1, 4096, "units of a layer, or channels of the first level")                 \
  F(TEXT, schedule, "vp", NULL, NULL, "noise schedule")                                            \
  F(INT, diffusion_steps, 0, 0, 100000, "steps of a discrete schedule")                            \
  F(TEXT, predicts, "eps", NULL, NULL, "what the network's output is")                             \
  F(FLOAT, data_std, 1.0, 0, 100, "predicts edm: standard deviation of the data")                  \
  F(TEXT, embedding, "ddpm", NULL, NULL, "features of the time")                                   \
  F(TEXT, time, "own", NULL, NULL, "the number they are features of")                              \
  F(TEXT, weights, "online", NULL, NULL, "which weights sample")                                   \
  F(TEXT, sampler, "ddpm", NULL, NULL, "how it is sampled")                                        \
  F(INT, sample_steps, 0, 0, 100000, "its steps; 0: all of a discrete schedule")                   \
  F(TEXT, spacing, "linspace", NULL, NULL, "at which times it steps")                              \
  F(FLOAT, eta, 0.0, 0, 100, "noise of ddim, flow_sde and sde_euler")                              \
  F(FLOAT, guidance, 1.0, 0, 100, "towards the label (classifier-free); 1: as trained")
typedef struct {
  CONFIG_MEMBERS(MODEL_FIELDS)
} ModelSettings;

typedef struct ModelDef ModelDef;
typedef struct {
  const ModelDef *def;
  Arena *arena;
  const char *data;       /* the name of what it learned; NULL: of no importance */
  ModelSettings settings; /* copies of the kind's own */
  const Schedule *schedule;
  const Denoiser *denoiser; /* of a sample: dim numbers */
  int cond;                 /* numbers of a condition; 0: none */
  double start;             /* time at which sampling starts; 0: the last */
  Params *online, *average; /* blocks BLOCK and BLOCK_ema; no numbers until they are allocated */
  Blocks blocks;            /* these two, and what a kind adds */
} Model;

struct ModelDef {
  const char *kind;       /* "points" */
  const char *trained_by; /* the algorithm that makes such files */
  const char *use;        /* nullable: what they are good for, though they do not act */
  const char *mark;   /* the text in a file's metadata that says its kind: the data's name, .. */
  const char *text;   /* .. and the one with its settings; it may be the same */
  const char *block;  /* "denoiser": the name in files and of the random stream of its weights */
  const char *stream; /* of the noise when it is sampled */
  const ConfigField *fields; /* its settings, places in its struct of `size` bytes */
  size_t field_count, size;
  const char *network_keys; /* settings that two models must share to share weights; NULL: all */

  /* Declare the network in model->online (FAIL_USAGE if it cannot be), and set denoiser and cond;
   * the schedule is there. */
  bool (*network)(Model *model, Error *error);
  /* nullable: guides beyond the sampler's own; a list that ends with NULL, or NULL */
  const Guide *const *(*guides)(Arena *arena, const Model *model, double guidance);
  /* nullable: what a file holds beside settings and blocks; `load` is called before `network` */
  void (*save)(const Model *model, Checkpoint *checkpoint);
  bool (*load)(Model *model, const Checkpoint *checkpoint, Error *error);
  /* nullable: begin with another model of this kind and network; else by block names */
  void (*begin)(Model *model, const Model *from);

  bool bounded;           /* samples lie in [-1, 1] */
  int most_stages;        /* that a tape of a whole chain has room for */
  int chunk, group, lane; /* samples at once, to a thread, that pass through the cache together */
};

/* ---- building -------------------------------------------------------------------------------- */

/* A model of a kind with its default settings; data (nullable) is copied.  Then model_set and the
 * members of its struct say what it is to be, and model_build declares schedule and network; its
 * blocks have no numbers yet (blocks_allocate). */
Model *model_start(Arena *arena, const ModelDef *def, const char *data);
void model_set(Model *model, const ConfigField *fields, size_t count, const void *values);
bool model_set_all(Model *model, const char *pairs, Error *error); /* "hidden=32 blocks=2" */

/* FAIL_USAGE for a network, schedule or sampler that cannot be. */
bool model_build(Model *model, Error *error);

/* How a built model is sampled, in place of its own settings: "sampler", "sample_steps", "spacing",
 * "guidance".  origin: what error messages call it ("--steps").  FAIL_USAGE for what is no value of
 * the setting, and for guidance without labels; model_sampling's user finds what does not fit. */
bool model_resample(Model *model, const char *key, const char *value, const char *origin,
                    Error *error);

/* Both blocks at the initial weights of this seed; they are allocated. */
void model_init(Model *model, uint64_t seed);

/* ---- files ----------------------------------------------------------------------------------- */

void model_save_shape(const Model *model, Checkpoint *checkpoint); /* all but the blocks */
void model_save(const Model *model, Checkpoint *checkpoint);

/* What sampling needs and nothing else: the shape and, as float16, the block that samples.
 * FAIL_INPUT if float16 cannot hold it. */
bool model_save_half(const Model *model, Checkpoint *checkpoint, Error *error);

/* The kind of model that a file holds; NULL: none. */
const ModelDef *model_saved(const Checkpoint *checkpoint);

/* The model in a file, of this kind; first as built from its settings, without numbers, to know
 * what it will take (FAIL_INPUT).  Where a file holds one of the two blocks, the other is its
 * copy. */
Model *model_load_shape(Arena *arena, const ModelDef *def, const Checkpoint *checkpoint,
                        Error *error);
Model *model_load(Arena *arena, const ModelDef *def, const Checkpoint *checkpoint, Error *error);

/* To continue training: blocks and what else the file holds, into a model that is there. */
bool model_read(Model *model, const Checkpoint *checkpoint, Error *error);

/* Begin with the weights of another model.  FAIL_USAGE if its network is another one. */
bool model_begin(Model *model, const Checkpoint *from, Error *error);

/* ---- sampling -------------------------------------------------------------------------------- */

const Params *model_weights(const Model *model); /* those that sample */

typedef struct {
  SamplerSpec sampler; /* its guides come after those of the kind */
  double guidance;
  uint64_t seed;
  Pool *pool;
  const Kernels *kernels;
  ConvMethod conv;
  SamplerWatch *watch; /* nullable: sees every state of a part */
  void *watch_user;
  Progress *progress;                 /* nullable: told before every part */
  bool (*going)(int done, int count); /* nullable: asked before every part; false stops */
} ModelSampling;
ModelSampling model_sampling(const Model *model); /* as its settings say */

/* What is known about sample i before, and what becomes of it. */
typedef struct {
  void (*given)(void *user, int i, real *cond);   /* -> [cond]; nullable where there is none */
  void (*take)(void *user, int i, const real *x); /* [dim] */
  void *user;
} ModelRows;

/* count samples; sample i depends on the seed, i and its condition alone.  FAIL_RUNNING if it was
 * stopped, FAIL_USAGE for a sampler that this model cannot have. */
bool model_sample(const Model *model, const ModelSampling *how, int count, const ModelRows *rows,
                  Error *error);

/* The sampler of these settings for this model, bounds and guides included; in the arena. */
Sampler *model_sampler(Arena *arena, const Model *model, const SamplerSpec *spec, double guidance,
                       Error *error);

/* ---- what kinds share ------------------------------------------------------------------------ */

/* "own", "thousands", "log-sigma" */
TimeInput model_time_input(const char *name);

/* "1,2,4" -> 1 to `most` whole numbers up to `greatest`; returns how many, 0 and an error if the
 * text is no such list. */
int model_read_mults(const char *text, int *mults, int most, int greatest, Error *error);

#endif
