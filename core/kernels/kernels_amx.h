/* kernels_amx.h -- the tile unit, for kernels.c and the table of AVX-512, whose other functions a
 * processor with the unit runs too. */
#ifndef CORE_KERNELS_AMX_H
#define CORE_KERNELS_AMX_H
#include "core/kernels/kernels.h"

/* Is there a tile unit, and may this process use it?  Asks the system, for good: the whole process
 * keeps the permission, and signal frames on alternate stacks become 8 KB larger. */
bool amx_granted(void);
void amx_gemm_bf16(const Bf16Gemm *product); /* only where granted */

#endif
