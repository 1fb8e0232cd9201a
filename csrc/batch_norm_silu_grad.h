// The arithmetic of batch_norm_silu_grad.
#pragma once

#include "batch_norm_silu.h"

namespace edgepose {

inline namespace EDGEPOSE_LEVEL {

// d silu / dz
template <class V>
EDGEPOSE_HD V silu_slope(V z) {
  const Sigmoid<V> s = sigmoid(z);
  return fma(z * s.value, s.rest, s.value);
}

// The gradient in x is scale · slope + centered · tilt + level; those in weight and bias come out of the same two sums.
struct ChannelSlopes {
  float tilt, level, weight, bias;
};

// `partial` [chunks, 2, C] holds each chunk's Σ slope and Σ slope · (x − mean), slope being the gradient in z.
EDGEPOSE_HD ChannelSlopes join_slopes(const float* partial, int64_t chunks, int64_t M, int64_t C, int64_t c,
                                      float weight, float rstd) {
  double plain = 0.0, centered = 0.0;
  for (int64_t k = 0; k < chunks; ++k) {
    plain += static_cast<double>(partial[2 * k * C + c]);
    centered += static_cast<double>(partial[(2 * k + 1) * C + c]);
  }
  const double r = static_cast<double>(rstd), share = -static_cast<double>(weight) * r / static_cast<double>(M);
  return {static_cast<float>(share * r * r * centered), static_cast<float>(share * plain),
          static_cast<float>(r * centered), static_cast<float>(plain)};
}

}  // namespace EDGEPOSE_LEVEL

struct BatchNormSiluGrad {
  ArrayView x;            // [M, C]
  ArrayView grad_y;       // [M, C] in the dtype of x
  ArrayView weight;       // [C] float32
  ArrayView bias;         // [C] float32
  ArrayView mean;         // [C] float32
  ArrayView var;          // [C] float32
  ArrayView grad_x;       // [M, C] in the dtype of x, written
  ArrayView grad_weight;  // [C] float32, written
  ArrayView grad_bias;    // [C] float32, written
  ArrayView partial;      // [chunks, 2, C] float32, work space
  BatchNormRule rule;
  int32_t pass;
};

}  // namespace edgepose
