// What decoding SimCC rows and decoding heat maps share: peaks, blur kernels, a keypoint's place in the image.
#pragma once

#include "numeric.h"

namespace edgepose {

// Half of a symmetric, odd blur kernel: weights[0] in the middle, weights[half] at the ends.
constexpr int kMaxHalf = 63;
struct BlurKernel {
  int32_t half;
  float weights[kMaxHalf + 1];
};

inline namespace EDGEPOSE_LEVEL {

// The first maximum of one row. A row that holds a NaN has value NaN and bin 0.
struct Peak {
  float value;
  int32_t bin;
};

EDGEPOSE_HD Peak no_peak() { return {-INFINITY, 0x7fffffff}; }

// The larger of two, or the first of two equal ones. Bins come in any order: lanes of a warp hold strided ones.
EDGEPOSE_HD Peak better(Peak a, Peak b) { return b.value > a.value || (b.value == a.value && b.bin < a.bin) ? b : a; }

EDGEPOSE_HD void place_point(float x, float y, const float* affine /* [2,3] or null */, float* keypoint /* [2] */) {
  keypoint[0] = affine ? affine[0] * x + affine[1] * y + affine[2] : x;
  keypoint[1] = affine ? affine[3] * x + affine[4] * y + affine[5] : y;
}

}  // namespace EDGEPOSE_LEVEL

}  // namespace edgepose
