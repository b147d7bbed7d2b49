/* ops.c -- the list of every op, for the tests that walk it. */
#include "core/ops/ops.h"

/* clang-format off */
#define OPS(X)                                                                                     \
  X(input) X(table) X(given) X(param) X(number) X(slot_add)                                        \
  X(map) X(curve) X(add) X(sub) X(mul) X(div) X(mix) X(scale) X(detach) X(clip) X(blend)           \
  X(pack) X(product) X(weight_grad)                                                                \
  X(filter) X(conv_down) X(conv_up) X(conv_weights) X(sum_places) X(conv_tiles) X(conv_points)     \
  X(filter_back) X(filter_slot) X(conv_line) X(conv_line_weights)                                  \
  X(fold) X(unfold) X(min_last) X(quantile) X(max_k) X(slice) X(into_slice) X(row) X(into_row)     \
  X(gather) X(scatter)                                                                             \
  X(stack) X(part) X(into_part) X(concat)                                                          \
  X(log_softmax_k) X(log_softmax_last) X(standardize) X(standardize_back)                          \
  X(channel_add) X(channel_mul) X(channel_sum) X(channel_spread)                                   \
  X(upsample) X(downsample) X(group_norm) X(group_norm_back)                                       \
  X(attention) X(attention_back) X(linear_attention) X(linear_attention_back)                      \
  X(mean) X(spread) X(sum_to) X(sum_rows)                                                          \
  X(timeembed) X(call)                                                                             \
  X(normal) X(uniform) X(index) X(coin) X(pick) X(average)
/* clang-format on */

#define DECLARE_OP(name) extern const Op op_##name;
OPS(DECLARE_OP)
#define LIST_OP(name) &op_##name,
static const Op *const ops[] = { OPS(LIST_OP) };

const Op *const *op_list(size_t *count) {
  *count = sizeof ops / sizeof *ops;
  return ops;
}
