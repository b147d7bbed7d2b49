/* kernels_plain.c -- C alone: the reference for the others, and the kernels of MODE=double. */
#include "core/kernels/kernels_body.h"
const Kernels kernels_plain = KERNEL_TABLE("plain", 1, gemm);
#ifndef DIFFRL_DOUBLE
const Kernels kernels_plain_bf16 = KERNEL_TABLE_AT("plain", 1, gemm, BF16, gemm_bf16);
#endif
