/* source_samples.h -- a generator's own samples: what fine-tuning against rewards learns from. */
#ifndef RL_SOURCE_SAMPLES_H
#define RL_SOURCE_SAMPLES_H
#include "rl/source/source.h"

extern const SourceDef source_samples;

#endif
