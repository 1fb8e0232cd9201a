// The arithmetic of simcc_decode, written once: the CPU kernels, vectorized or not, and the CUDA kernels call these
// functions.
#pragma once

#include "decode.h"

namespace edgepose {

enum class Score : uint8_t { min, mean, max, softmax, entropy };  // the last two are of the softmax

struct DecodeRule {
  float split_ratio;  // bins per pixel
  Score score;
  float beta;              // softmax temperature multiplier
  float scale_x, scale_y;  // 1 / what the ideal label scores; 1 when the score is not calibrated
  bool calibrated;
  bool dark;             // DARK refinement
  int32_t mirror_shift;  // bins by which the reversed x row of the mirrored pass is moved down
  float mirror_offset;   // pixels taken off x instead, where that shift is no whole number
};

inline namespace EDGEPOSE_LEVEL {

// x − peak, with 0 for the peak itself: an infinite peak leaves no NaN behind.
template <class V>
EDGEPOSE_HD V below_peak(V x, V peak) {
  return select(x == peak, constant(0.0f, x), x - peak);
}

EDGEPOSE_HD bool of_softmax(Score score) { return score == Score::softmax || score == Score::entropy; }

// What the softmax of one row scores, from sums over its bins with t = β(x − peak), in base-2 units: its height at the
// peak, or e to the minus entropy, one over the number of bins that it spreads over.
struct SoftmaxSums {
  float mass;   // Σ 2^t
  float cross;  // Σ 2^t t, used by the entropy alone
};

EDGEPOSE_HD float softmax_score(Score score, const SoftmaxSums& sums) {
  const float peak = 1.0f / sums.mass;
  return score == Score::entropy ? peak * ::exp2f(sums.cross * peak) : peak;
}

// 2^t t, which is 0 far down, where t may be −∞.
template <class V>
EDGEPOSE_HD V times_exponent(V exp2_t, V t) {
  return exp2_t * select(t < -126.0f, constant(0.0f, t), t);
}

EDGEPOSE_HD float combine_scores(const DecodeRule& rule, float x, float y) {
  if (is_nan(x) || is_nan(y)) return 0.0f;
  float score = 0.0f;
  switch (rule.score) {
    case Score::min: score = x < y ? x : y; break;
    case Score::mean: score = 0.5f * (x + y); break;
    case Score::max: score = x > y ? x : y; break;
    case Score::softmax:
    case Score::entropy: {
      const float a = x * rule.scale_x, b = y * rule.scale_y;
      score = a < b ? a : b;
      if (rule.calibrated && score > 1.0f) score = 1.0f;
    }
  }
  return score > 0.0f ? score : 0.0f;  // also turns the NaN of ∞ − ∞ into 0
}

// What one axis says: where, in bins and parts of them, and how surely.
struct AxisResult {
  float position;
  float value;
};

// Two axes → image coordinates (crop pixels without an affine) and a score.
EDGEPOSE_HD void decode_point(const DecodeRule& rule, AxisResult x, AxisResult y, const float* affine, float* keypoint,
                              float* score) {
  place_point(x.position / rule.split_ratio - rule.mirror_offset, y.position / rule.split_ratio, affine, keypoint);
  *score = combine_scores(rule, x.value, y.value);
}

// Where the mirrored pass sees bin i of an x row.
EDGEPOSE_HD int mirrored_bin(const DecodeRule& rule, int i, int bins) {
  const int j = bins - 1 - i - rule.mirror_shift;
  return j > 0 ? j : 0;
}

// The keypoint of the mirrored image that is keypoint k of the image. The binding cannot check a table that
// lies on a GPU: indices are clamped here.
EDGEPOSE_HD int64_t swapped(const ArrayView& swap, int64_t k, int64_t K) {
  const int64_t other = *reinterpret_cast<const int64_t*>(swap.at(k));
  return other < 0 ? 0 : other < K ? other : K - 1;
}

EDGEPOSE_HD float average(float a, float b) { return 0.5f * (a + b); }

// DARK: one Newton step on the logarithm of the blurred row. After mmpose the row is scaled back to its old peak and
// clipped to [0.001, 50] before the logarithm; where nothing would be clipped the scale cancels and need not be known.
EDGEPOSE_HD bool dark_needs_scale(float peak, const float* blurred /* [5] */) {
  float lowest = blurred[0];
  for (int i = 1; i < 5; ++i) lowest = blurred[i] < lowest ? blurred[i] : lowest;
  return !(lowest >= 1e-3f && peak <= 50.0f);  // blurring lowers a peak, so the scale is at least 1
}

// Offset in bins. `blurred`: the peak's bin in the middle, the row's ends repeated. A step uphill, or one beyond the
// kernel's reach, refines nothing: 0.
EDGEPOSE_HD float dark_offset(const float* blurred /* [5] */, float scale, int half) {
  float l[5];
  for (int i = 0; i < 5; ++i) {
    const float x = blurred[i] * scale;
    l[i] = ::logf(x > 1e-3f ? (x < 50.0f ? x : 50.0f) : 1e-3f);
  }
  const float slope = 0.5f * (l[3] - l[1]);
  const float curvature = 1e-9f + 0.25f * ((l[4] - 2.0f * l[2]) + l[0]);
  const float offset = -slope / curvature;
  return curvature < 0.0f && ::fabsf(offset) <= static_cast<float>(half) ? offset : 0.0f;
}

}  // namespace EDGEPOSE_LEVEL

struct SimccDecode {
  ArrayView simcc_x;    // [N, K, Wx]
  ArrayView simcc_y;    // [N, K, Wy]
  ArrayView flipped_x;  // [N, K, Wx] of the mirrored image, or absent
  ArrayView flipped_y;  // [N, K, Wy]
  ArrayView swap;       // [K] int64: which keypoint of the mirrored image is which
  ArrayView affine;     // [N, 2, 3] or absent
  ArrayView keypoints;  // [N, K, 2] float32, written
  ArrayView scores;     // [N, K] float32, written
  DecodeRule rule;
  BlurKernel blur_x, blur_y;  // for DARK
};

}  // namespace edgepose
