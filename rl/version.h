/* version.h -- of the program. */
#ifndef RL_VERSION_H
#define RL_VERSION_H
#define DIFFRL_VERSION "0.1.0"
#endif
