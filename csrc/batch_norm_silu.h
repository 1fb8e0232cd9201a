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

}  // namespace EDGEPOSE_LEVEL

// The first value of an array without gaps of float32: a channel's each, or the work space.
EDGEPOSE_HD float* channels(const ArrayView& values) { return reinterpret_cast<float*>(values.data); }

struct BatchNormSilu {
  ArrayView x;        // [M, C]
  ArrayView weight;   // [C] float32
  ArrayView bias;     // [C] float32
  ArrayView y;        // [M, C] in the dtype of x, written
  ArrayView mean;     // [C] float32, written
  ArrayView var;      // [C] float32, written
  ArrayView partial;  // [chunks, 2, C] float32, work space
  BatchNormRule rule;
  int32_t pass;  // CPU: 0 fills the work space, 1 writes the results
};

}  // namespace edgepose
