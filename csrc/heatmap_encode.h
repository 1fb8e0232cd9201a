// The arithmetic of heatmap_encode: the place of a label and its factor on each axis.
#pragma once

#include "numeric.h"

namespace edgepose {

struct HeatmapRule {
  float scale_x, scale_y;  // cells per input pixel
  float sigma, reach;      // cells; a rounded label ends where either axis is farther from its center than `reach`
  int32_t width, height;
  bool exact;  // the center stays between the cells, and the label has no end
};

inline namespace EDGEPOSE_LEVEL {

struct HeatmapPoint {
  float x, y;  // center in cells
  float weight;
  bool labeled;  // false: the map is zero
};

EDGEPOSE_HD float heatmap_center(const HeatmapRule& rule, float coordinate, float scale) {
  const float center = multiply(coordinate, scale);
  return rule.exact ? center : ::truncf(center + 0.5f);  // as mmpose and HRNet round
}

EDGEPOSE_HD HeatmapPoint heatmap_point(const HeatmapRule& rule, const ArrayView& keypoints, const ArrayView& visible,
                                       int64_t n, int64_t k) {
  const char* p = keypoints.at(n, k);
  const float v = load_real(visible.at(n, k), visible.dtype);
  HeatmapPoint point{heatmap_center(rule, load_real(p, keypoints.dtype), rule.scale_x),
                     heatmap_center(rule, load_real(p + keypoints.strides[2], keypoints.dtype), rule.scale_y), v,
                     v >= 0.5f};
  const auto in_range = [&](float center, int32_t cells) {
    return center - rule.reach < static_cast<float>(cells) && center + rule.reach + 1.0f >= 0.0f;
  };
  if (point.labeled && !(in_range(point.x, rule.width) && in_range(point.y, rule.height))) {
    point.labeled = false;
    point.weight = 0.0f;
  }
  return point;
}

// One axis' factor of the label, at distance d. V is float or vf.
template <class V>
EDGEPOSE_HD V heatmap_factor(const HeatmapRule& rule, V d) {
  const V z = d / rule.sigma;
  const V value = exp_nonpositive(-0.5f * (z * z));
  return rule.exact ? value : select(select(d < 0.0f, -d, d) > rule.reach, constant(0.0f, d), value);
}

}  // namespace EDGEPOSE_LEVEL

struct HeatmapEncode {
  ArrayView keypoints;      // [N, K, 2] float32 or float64
  ArrayView visible;        // [N, K] float32 or float64
  ArrayView heatmaps;       // [N, K, h, w], written
  ArrayView target_weight;  // [N, K] float32, written
  HeatmapRule rule;
};

}  // namespace edgepose
