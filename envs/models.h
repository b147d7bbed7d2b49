/* models.h -- the MJCF files of envs/models/, embedded in the program as texts. */
#ifndef ENVS_MODELS_H
#define ENVS_MODELS_H

extern const char model_hopper[], model_halfcheetah[], model_walker2d[];

#endif
