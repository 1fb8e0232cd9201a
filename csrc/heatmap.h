// The arithmetic of heat maps: labels, DARK in two dimensions. Peaks and scores are those of simcc.h.
#pragma once

#include "simcc.h"

namespace edgepose {

struct HeatmapRule {
  float scale_x, scale_y;  // cells per input pixel
  float sigma, reach;      // cells; a rounded label ends where either axis is farther from its centre than `reach`
  int32_t width, height;
  bool exact;  // the centre stays between the cells, and the label has no end
};

inline namespace EDGEPOSE_LEVEL {

struct HeatmapPoint {
  float x, y;  // centre in cells
  float weight;
  bool drawn;  // false: the map is zero
};

EDGEPOSE_HD float heatmap_centre(const HeatmapRule& rule, float coordinate, float scale) {
  const float centre = multiply(coordinate, scale);
  return rule.exact ? centre : ::truncf(centre + 0.5f);  // as mmpose and HRNet round
}

EDGEPOSE_HD HeatmapPoint heatmap_point(const HeatmapRule& rule, const ArrayView& keypoints, const ArrayView& visible,
                                       int64_t n, int64_t k) {
  const char* p = keypoints.at(n, k);
  const float v = load_real(visible.at(n, k), visible.dtype);
  HeatmapPoint point{heatmap_centre(rule, load_real(p, keypoints.dtype), rule.scale_x),
                     heatmap_centre(rule, load_real(p + keypoints.strides[2], keypoints.dtype), rule.scale_y), v,
                     v >= 0.5f};
  const auto in_range = [&](float centre, int32_t cells) {
    return centre - rule.reach < static_cast<float>(cells) && centre + rule.reach + 1.0f >= 0.0f;
  };
  if (point.drawn && !(in_range(point.x, rule.width) && in_range(point.y, rule.height))) {
    point.drawn = false;
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

// ---- refinement ----

enum class Refine : uint8_t { none, quarter, dark };

struct Offset {
  float x, y;
};

// A quarter of a cell towards the higher neighbour.
EDGEPOSE_HD float quarter_step(float before, float after) {
  return after > before ? 0.25f : after < before ? -0.25f : 0.0f;
}

// Where around its peak DARK looks at the blurred map: itself, then ±1 and ±2 on each axis, then the diagonals.
constexpr int kDarkPoints = 13;
EDGEPOSE_HD Offset dark_point(int i) {
  constexpr signed char x[kDarkPoints] = {0, -1, 1, -2, 2, 0, 0, 0, 0, -1, 1, -1, 1};
  constexpr signed char y[kDarkPoints] = {0, 0, 0, 0, 0, -1, 1, -2, 2, -1, -1, 1, 1};
  return {static_cast<float>(x[i]), static_cast<float>(y[i])};
}

// One Newton step on the logarithm of the blurred map. Where that is no hill, or the step is longer than the blur
// reaches: 0.
EDGEPOSE_HD Offset dark_step(const float* blurred /* [kDarkPoints] */, int half) {
  float l[kDarkPoints];
  for (int i = 0; i < kDarkPoints; ++i) l[i] = ::logf(blurred[i] > 1e-10f ? blurred[i] : 1e-10f);
  const float dx = 0.5f * (l[2] - l[1]), dy = 0.5f * (l[6] - l[5]);
  const float dxx = 0.25f * ((l[4] - 2.0f * l[0]) + l[3]), dyy = 0.25f * ((l[8] - 2.0f * l[0]) + l[7]);
  const float dxy = 0.25f * ((l[12] - l[10]) - (l[11] - l[9]));
  const float det = dxx * dyy - dxy * dxy, reach = static_cast<float>(half);
  const Offset step{(dxy * dy - dyy * dx) / det, (dxy * dx - dxx * dy) / det};
  const bool hill = dxx < 0.0f && det > 0.0f && ::fabsf(step.x) <= reach && ::fabsf(step.y) <= reach;
  return hill ? step : Offset{0.0f, 0.0f};
}

// Whether the map continues two cells beyond (x, y) in every direction.
EDGEPOSE_HD bool dark_fits(int x, int y, int width, int height) {
  return x >= 2 && y >= 2 && x < width - 2 && y < height - 2;
}

// ---- mean squared error ----

struct MseRule {
  float alpha;  // share of the teacher's term
};

struct MseFactors {
  float target, teacher;
};

EDGEPOSE_HD MseFactors mse_factors(const MseRule& rule, float weight, float teacher_weight) {
  return {(1.0f - rule.alpha) * weight, rule.alpha * teacher_weight};
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
