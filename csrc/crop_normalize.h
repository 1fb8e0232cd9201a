// The arithmetic of crop_normalize: where a crop's pixel lies in the frame, and what is seen there.
#pragma once

#include "numeric.h"

namespace edgepose {

// Crop → frame: x' = a x + b y + c, y' = d x + e y + f.
struct Warp {
  float a, b, c, d, e, f;
};

struct CropRule {
  float scale[3], bias[3];  // per output channel: value · scale + bias = (value − mean) / std
  int32_t channel[3];       // the frame's channel of each output channel
};

inline namespace EDGEPOSE_LEVEL {

// The inverse of frame → crop, in float64. An affine without one looks at nothing: everything is border.
EDGEPOSE_HD Warp invert(const float* m /* [2,3] */) {
  const double det = static_cast<double>(m[0]) * m[4] - static_cast<double>(m[1]) * m[3];
  const double s = 1.0 / det;
  const double a = m[4] * s, b = -m[1] * s, d = -m[3] * s, e = m[0] * s;
  const double c = -(a * m[2] + b * m[5]), f = -(d * m[2] + e * m[5]);
  const Warp warp{static_cast<float>(a), static_cast<float>(b), static_cast<float>(c),
                  static_cast<float>(d), static_cast<float>(e), static_cast<float>(f)};
  const float sum = (warp.a + warp.b) + (warp.c + warp.d) + (warp.e + warp.f);
  return sum - sum == 0.0f ? warp : Warp{0.0f, 0.0f, -2.0f, 0.0f, 0.0f, -2.0f};
}

// Coordinates beyond ±2^22 pixels are all alike outside, and must survive the conversion to int.
template <class V>
EDGEPOSE_HD V clamp_coordinate(V x) {
  const V limit = constant(4194304.0f, x);
  x = select(x < limit, x, limit);  // NaN, which only absurd affines make, becomes the limit
  return select(x > -limit, x, -limit);
}

EDGEPOSE_HD float floor_of(float x) { return ::floorf(x); }
#if !defined(__CUDACC__)
EDGEPOSE_INLINE vf floor_of(vf x) {
  const vf truncated = to_float(__builtin_convertvector(x, vi));
  return select(truncated > x, truncated - 1.0f, truncated);
}
#endif

// Bilinear value of one channel, neighbors outside the frame counting as 0. (x, y): upper left neighbor; u, v: the
// rest.
EDGEPOSE_HD float sample(const ArrayView& frame, int x, int y, float u, float v, int channel) {
  const int width = static_cast<int>(frame.shape[1]), height = static_cast<int>(frame.shape[0]);
  const auto tap = [&](int tx, int ty) {
    if (tx < 0 || ty < 0 || tx >= width || ty >= height) return 0.0f;
    return static_cast<float>(static_cast<uint8_t>(frame.at(ty)[3 * tx + channel]));
  };
  const float top = fma(u, tap(x + 1, y) - tap(x, y), tap(x, y));
  const float bottom = fma(u, tap(x + 1, y + 1) - tap(x, y + 1), tap(x, y + 1));
  return fma(v, bottom - top, top);
}

}  // namespace EDGEPOSE_LEVEL
struct CropNormalize {
  ArrayView frame;   // [H, W, 3] uint8
  ArrayView affine;  // [N, 2, 3] frame → crop, float32 or float64
  ArrayView out;     // [N, 3, h, w], written
  CropRule rule;
};

}  // namespace edgepose
