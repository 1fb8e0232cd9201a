// The arithmetic of batch_norm_silu: silu((x − mean) · scale + bias) with statistics of the batch, and its gradient.
// Sums run over chunks of rows, and the chunks' results are joined in order: how many threads there are changes
// nothing.
#pragma once

#include "numeric.h"

namespace edgepose {

struct BatchNormRule {
  float eps;           // added to the variance
  int64_t chunk_rows;  // of every chunk but the last, a multiple of 16: there a period of channels and lanes begins
};

inline namespace EDGEPOSE_LEVEL {

// σ(z) and 1 − σ(z), both to their last digits down to 2^-125. V is float or vf.
template <class V>
struct Sigmoid {
  V value, rest;
};

template <class V>
EDGEPOSE_HD Sigmoid<V> sigmoid(V z) {
  const V e = exp2_bounded(z * -kLog2e);
  const V value = reciprocal(1.0f + e);
  return {value, e * value};
}

template <class V>
EDGEPOSE_HD V silu(V z) {
  return z * sigmoid(z).value;
}

// d silu / dz
template <class V>
EDGEPOSE_HD V silu_slope(V z) {
  const Sigmoid<V> s = sigmoid(z);
  return fma(z * s.value, s.rest, s.value);
}

// What a channel's statistics come to. `partial` [chunks, 2, C] holds each chunk's mean and sum of squared deviations.
struct Moments {
  float mean, var;  // var: of the batch, the mean square
};

EDGEPOSE_HD Moments join_moments(const float* partial, int64_t chunk_rows, int64_t M, int64_t C, int64_t c) {
  const int64_t chunks = (M + chunk_rows - 1) / chunk_rows;
  const auto rows = [=](int64_t k) { return static_cast<double>(k + 1 < chunks ? chunk_rows : M - k * chunk_rows); };
  double sum = 0.0, squares = 0.0;
  for (int64_t k = 0; k < chunks; ++k) sum += rows(k) * static_cast<double>(partial[2 * k * C + c]);
  const double mean = sum / static_cast<double>(M);
  for (int64_t k = 0; k < chunks; ++k) {
    const double apart = static_cast<double>(partial[2 * k * C + c]) - mean;
    squares += static_cast<double>(partial[(2 * k + 1) * C + c]) + rows(k) * apart * apart;
  }
  return {static_cast<float>(mean), static_cast<float>(squares / static_cast<double>(M))};
}

EDGEPOSE_HD float inverse_std(float var, float eps) { return 1.0f / ::sqrtf(var + eps); }

// The gradient in x is scale · slope + centred · tilt + level; those in weight and bias come out of the same two sums.
struct ChannelSlopes {
  float tilt, level, weight, bias;
};

// `partial` [chunks, 2, C] holds each chunk's Σ slope and Σ slope · (x − mean), slope being the gradient in z.
EDGEPOSE_HD ChannelSlopes join_slopes(const float* partial, int64_t chunks, int64_t M, int64_t C, int64_t c,
                                      float weight, float rstd) {
  double plain = 0.0, centred = 0.0;
  for (int64_t k = 0; k < chunks; ++k) {
    plain += static_cast<double>(partial[2 * k * C + c]);
    centred += static_cast<double>(partial[(2 * k + 1) * C + c]);
  }
  const double r = static_cast<double>(rstd), share = -static_cast<double>(weight) * r / static_cast<double>(M);
  return {static_cast<float>(share * r * r * centred), static_cast<float>(share * plain),
          static_cast<float>(r * centred), static_cast<float>(plain)};
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
