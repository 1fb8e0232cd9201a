// The arithmetic of heatmap_mse: the weight of each term.
#pragma once

#include "numeric.h"

namespace edgepose {

struct MseRule {
  float alpha;  // share of the teacher's term
};

inline namespace EDGEPOSE_LEVEL {

struct MseFactors {
  float target, teacher;
};

EDGEPOSE_HD MseFactors mse_factors(const MseRule& rule, float weight, float teacher_weight) {
  return {(1.0f - rule.alpha) * weight, rule.alpha * teacher_weight};
}

}  // namespace EDGEPOSE_LEVEL

struct HeatmapMse {
  ArrayView student;         // [N, K, h, w]
  ArrayView target;          // [N, K, h, w]
  ArrayView teacher;         // [N, K, h, w] or absent
  ArrayView weight;          // [N, K] float32 or absent
  ArrayView teacher_weight;  // [N, K] float32 or absent
  ArrayView loss;            // [N, K] float32, written
  ArrayView grad;            // [N, K, h, w] in the student's dtype, written; or absent
  MseRule rule;
};

}  // namespace edgepose
