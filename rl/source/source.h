/* source.h -- where the rows come from that an algorithm learns from: one SourceDef a kind.
 *
 * An algorithm names its source, and perhaps an environment beside it.  What differs between kinds
 * (how it is opened, what is said when it is missing, what a run's record tells about it) is asked
 * of the SourceDef; what only one kind has, the algorithms of that kind get from its own header:
 * transitions_of, environment_of, points_of, images_of. */
#ifndef RL_SOURCE_H
#define RL_SOURCE_H
#include "core/arena.h"
#include "core/config.h"
#include "core/maths/units.h"
#include "core/parallel.h"
#include "envs/env.h"

typedef struct SourceDef SourceDef;

/* The first member of every kind's own struct. */
typedef struct {
  const SourceDef *def;
  const char *name,
      *hash;      /* of what --data opened, and of its content; NULL: nothing, or no file */
  int64_t rows;   /* transitions of a file; else 0 */
  size_t bytes;   /* of a file that is mapped, shared with the page cache; else 0 */
  bool generated; /* made by `diffrl data make` */
  /* what a policy sees and does; the dimensions are 0 where nothing acts */
  Units units;
} Source;

typedef struct Environment Environment;

/* What a source is opened by.  All that is pointed to must outlive it. */
typedef struct {
  Arena *arena;
  const char *algo;  /* its name, for messages */
  const char *data;  /* --data; NULL: not given */
  const char *init;  /* --init; NULL: not given */
  const EnvDef *env; /* what source_choose has found; NULL: none */
  bool reference;    /* normalised scores are shown of env */
  bool allow_env_mismatch;
  bool resumes;
  const char *hash; /* of what a resumed run was started on; NULL: any content will do */
  /* the algorithm's settings, among which a source finds its own by their keys */
  const ConfigField *fields;
  size_t field_count;
  const void *config;
  uint64_t seed;
  Pool *pool;
  const Environment *beside; /* opened before the data; NULL: none */
} SourceRequest;

struct SourceDef {
  const char *name;  /* what it gives, in the plural */
  const char *about; /* of its algorithms, in `diffrl list algos` */
  const char *asks;  /* what to say, behind the algorithm's name, if --data (or --env) is missing */
  const char *alone; /* nullable: likewise, why ranks cannot share it */
  bool by_env;       /* opened by --env; else by --data */
  bool by_init;      /* opened by --init: what the run that is fine-tuned makes */
  bool beside_env;   /* may there be an environment? */
  /* nullable: the environment that a name of data speaks of, NULL if of none; false and an error
   * if the data are there and cannot be opened */
  bool (*env_of)(const char *data, const char **env, Error *error);
  /* NULL and an error if it is not there, or not what the algorithm can learn from */
  Source *(*open)(const SourceRequest *request, Error *error);
  /* nullable: can a policy that acts within these bounds [act_dim] learn from it?  FAIL_USAGE */
  bool (*fits)(const Source *source, const float *low, const float *high, Error *error);
  void (*announce)(const Source *source);                 /* nullable: a few lines of progress */
  void (*describe)(const Source *source, JsonText *json); /* nullable: members of "dataset" */
  void (*close)(Source *source);                          /* nullable: what is not in the arena */
};

/* Before anything is opened: is all given that `def` and `also` (NULL: nothing beside it) need?
 * env is --env, or NULL.  Sets request->env.  FAIL_USAGE with what to give instead. */
bool source_choose(const SourceDef *def, const SourceDef *also, SourceRequest *request,
                   const char *env, Error *error);

Source *source_open(const SourceDef *def, const SourceRequest *request, Error *error);
void source_close(Source *source); /* may be NULL */

/* For `open`: is this the content that the run was started on?  FAIL_INPUT. */
bool source_same(const SourceRequest *request, const char *name, const char *hash, Error *error);

#endif
