// The arithmetic of heatmap_decode: DARK in two dimensions. Peaks are those of decode.h.
#pragma once

#include "decode.h"

namespace edgepose {

inline namespace EDGEPOSE_LEVEL {

enum class Refine : uint8_t { none, quarter, dark };

struct Offset {
  float x, y;
};

// A quarter of a cell towards the higher neighbor.
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

}  // namespace EDGEPOSE_LEVEL

struct HeatmapDecode {
  ArrayView heatmaps;      // [N, K, h, w]
  ArrayView affine;        // [N, 2, 3] or absent
  ArrayView keypoints;     // [N, K, 2] float32, written
  ArrayView scores;        // [N, K] float32, written
  float scale_x, scale_y;  // input pixels per cell
  Refine refine;
  BlurKernel blur;
};

}  // namespace edgepose
