// The arithmetic of simcc_encode: the place of a label, its value at a bin, the weight of its keypoint.
#pragma once

#include "numeric.h"

namespace edgepose {

enum class Label : uint8_t { gaussian, laplace, spike };  // spike: one-hot and equally smoothed labels

struct LabelAxis {
  int32_t bins;
  float sigma;  // width in bins; the scale b of a Laplace label
  float reach;  // a label whose center ± reach lies wholly outside counts as out of range
  float peak;   // value at the center
  float floor;  // spike: value everywhere else
};

struct LabelRule {
  Label kind;
  bool exact;         // the center stays where it is instead of moving to the nearest bin
  float split_ratio;  // bins per pixel
  LabelAxis x, y;
};

inline namespace EDGEPOSE_LEVEL {

EDGEPOSE_HD float label_center(const LabelRule& rule, float coordinate) {
  const float center = multiply(coordinate, rule.split_ratio);
  return rule.exact ? center : ::rintf(center);  // half to even
}

// False for NaN.
EDGEPOSE_HD bool label_in_range(const LabelRule& rule, const LabelAxis& axis, float center) {
  const float bins = static_cast<float>(axis.bins);
  if (rule.kind == Label::spike) return center >= 0.0f && center < bins;
  return center - axis.reach < bins && center + axis.reach + 1.0f >= 0.0f;
}

// Where the two labels of one keypoint lie, and what they weigh.
struct LabelPoint {
  float x, y;  // centers in bins
  float weight;
  bool labeled;  // false: both rows are zero
};

EDGEPOSE_HD LabelPoint label_point(const LabelRule& rule, float x, float y, float visible) {
  LabelPoint point{label_center(rule, x), label_center(rule, y), visible, visible >= 0.5f};
  if (point.labeled && !(label_in_range(rule, rule.x, point.x) && label_in_range(rule, rule.y, point.y))) {
    point.labeled = false;
    point.weight = 0.0f;
  }
  return point;
}

EDGEPOSE_HD LabelPoint label_point(const LabelRule& rule, const ArrayView& keypoints, const ArrayView& visible,
                                   int64_t n, int64_t k) {
  const char* p = keypoints.at(n, k);
  return label_point(rule, load_real(p, keypoints.dtype), load_real(p + keypoints.strides[2], keypoints.dtype),
                     load_real(visible.at(n, k), visible.dtype));
}

// The label at distance d from its center. V is float or vf.
template <class V>
EDGEPOSE_HD V label_value(const LabelRule& rule, const LabelAxis& axis, V d) {
  const auto c = [d](float value) { return constant(value, d); };
  switch (rule.kind) {
    case Label::gaussian: {
      const V z = d / axis.sigma;
      return axis.peak * exp_nonpositive(-0.5f * (z * z));
    }
    case Label::laplace: return axis.peak * exp_nonpositive(select(d < 0.0f, d, -d) / axis.sigma);
    default: return select(d == 0.0f, c(axis.peak), c(axis.floor));
  }
}

}  // namespace EDGEPOSE_LEVEL

struct SimccEncode {
  ArrayView keypoints;      // [N, K, 2] float32 or float64
  ArrayView visible;        // [N, K] float32 or float64
  ArrayView simcc_x;        // [N, K, Wx], written
  ArrayView simcc_y;        // [N, K, Wy], written
  ArrayView target_weight;  // [N, K] float32, written
  LabelRule rule;
  // CPU: label values at the distances −origin … origin, in the dtype of the labels; null: compute every label.
  const void *table_x, *table_y;
  int64_t origin_x, origin_y;
  bool around_caches;  // CPU: the labels are more than a cache holds
};

}  // namespace edgepose
