// The arithmetic of simcc_gaussian_kl_div: that of simcc_encode and of simcc_kl_div.
#pragma once

#include "simcc_encode.h"
#include "simcc_kl_div.h"

namespace edgepose {

inline namespace EDGEPOSE_LEVEL {

// The largest value of a label's row: at its center, or at the end that is nearest to it.
EDGEPOSE_HD float label_peak(const LabelRule& rule, const LabelAxis& axis, float center) {
  const float nearest = ::rintf(center), last = static_cast<float>(axis.bins - 1);
  return label_value(rule, axis, (nearest < 0.0f ? 0.0f : nearest < last ? nearest : last) - center);
}

}  // namespace EDGEPOSE_LEVEL

// The label tables of one axis, on the CPU: at the distances −origin … origin from a label's center the target's
// numerators p; and before each of those distances the sums of p and of the target's own share of the divergence
// (soft: p · log2 p in units of the rule; otherwise t · ln t), so that a row's sums are differences. Null: no tables.
struct KlTable {
  const float* target;            // [2 origin + 1]
  const double *sums, *own_sums;  // [2 origin + 2]
  int64_t origin;
};

struct SimccGaussianKlDiv {
  ArrayView simcc_x;    // [N, K, Wx]
  ArrayView simcc_y;    // [N, K, Wy]
  ArrayView keypoints;  // [N, K, 2] float32 or float64
  ArrayView visible;    // [N, K] float32 or float64
  ArrayView loss;       // [N, K] float32, written
  ArrayView grad_x;     // [N, K, Wx] in the logits' dtype, written; or absent
  ArrayView grad_y;     // [N, K, Wy]
  LabelRule label;
  KlRule rule;
  float factor_x, factor_y;  // on the divergence of each axis
  KlTable table_x, table_y;
};

}  // namespace edgepose
