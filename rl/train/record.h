/* record.h -- config.json, the record of a run: algorithm, data, seed, settings, versions. */
#ifndef RL_RECORD_H
#define RL_RECORD_H
#include "rl/train/trainer.h"

/* Write it, and an empty metrics.jsonl beside that of a new run; FAIL_RUNNING.  With it the folder
 * becomes a run, so what resuming needs is there before. */
/* Write it, and an empty metrics.jsonl beside that of a new run; FAIL_RUNNING. */
bool record_write(Trainer *t, Error *error);

/* Write it again if warnings have changed: what fails is noted and ends nothing. */
void record_refresh(Trainer *t);

/* What a resumed run takes from it.  Texts belong to json, which the caller frees. */
typedef struct {
  Json *json;
  const char *algo;                   /* never NULL if read */
  const char *env, *data, *data_hash; /* NULL: none */
  const char *init;                   /* NULL: it began from its seed */
} Record;

/* The record of the run that t->request resumes; sets t->seed too.  record is zero before, and its
 * json is to be freed whatever comes of it.  FAIL_INPUT if it is missing or damaged. */
bool record_read(Trainer *t, Record *record, Error *error);

#endif
