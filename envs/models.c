/* models.c -- envs/models/ inside the binary, so that one file is all there is to install.
 *
 * C11 has no #embed; the assembler's .incbin does the same.  Paths count from the repository root,
 * where make runs. */
#include "envs/models.h"

#define EMBED(name)                                                                                \
  __asm__(".section .rodata\n"                                                                     \
          ".global model_" #name "\n"                                                              \
          ".type model_" #name ", @object\n"                                                       \
          "model_" #name ": .incbin \"envs/models/" #name ".xml\"\n"                               \
          ".byte 0\n"                                                                              \
          ".size model_" #name ", . - model_" #name "\n"                                           \
          ".previous\n")

EMBED(hopper);
EMBED(halfcheetah);
EMBED(walker2d);
