// The arithmetic of SimCC, written once: the CPU kernels, vectorised or not, and the CUDA kernels call these functions.
#pragma once

#include <cstdint>

#include "array.h"
#include "numeric.h"

namespace edgepose {

// ---- decode ----

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

EDGEPOSE_HD void place_point(float x, float y, const float* affine /* [2,3] or null */, float* keypoint /* [2] */) {
  keypoint[0] = affine ? affine[0] * x + affine[1] * y + affine[2] : x;
  keypoint[1] = affine ? affine[3] * x + affine[4] * y + affine[5] : y;
}

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

// The keypoint of the mirrored image that is keypoint k of the image. A table on a GPU cannot be checked at the door:
// an index outside stays inside here.
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

EDGEPOSE_HD void load_affine(const ArrayView& view, int64_t n, float* affine /* [6] */) {
  const char* row = view.at(n);
  for (int i = 0; i < 6; ++i) {
    const char* p = row + (i / 3) * view.strides[1] + (i % 3) * view.strides[2];
    affine[i] = load_real(p, view.dtype);
  }
}

}  // namespace EDGEPOSE_LEVEL

// ---- encode ----

enum class Label : uint8_t { gaussian, laplace, spike };  // spike: one-hot and equally smoothed labels

struct LabelAxis {
  int32_t bins;
  float sigma;  // width in bins; the scale b of a Laplace label
  float reach;  // a label whose centre ± reach lies wholly outside counts as out of range
  float peak;   // value at the centre
  float floor;  // spike: value everywhere else
};

struct LabelRule {
  Label kind;
  bool exact;         // the centre stays where it is instead of moving to the nearest bin
  float split_ratio;  // bins per pixel
  LabelAxis x, y;
};

inline namespace EDGEPOSE_LEVEL {

EDGEPOSE_HD float label_centre(const LabelRule& rule, float coordinate) {
  const float centre = multiply(coordinate, rule.split_ratio);
  return rule.exact ? centre : ::rintf(centre);  // half to even
}

// False for NaN.
EDGEPOSE_HD bool label_in_range(const LabelRule& rule, const LabelAxis& axis, float centre) {
  const float bins = static_cast<float>(axis.bins);
  if (rule.kind == Label::spike) return centre >= 0.0f && centre < bins;
  return centre - axis.reach < bins && centre + axis.reach + 1.0f >= 0.0f;
}

// Where the two labels of one keypoint lie, and what they weigh.
struct LabelPoint {
  float x, y;  // centres in bins
  float weight;
  bool drawn;  // false: both rows are zero
};

EDGEPOSE_HD LabelPoint label_point(const LabelRule& rule, float x, float y, float visible) {
  LabelPoint point{label_centre(rule, x), label_centre(rule, y), visible, visible >= 0.5f};
  if (point.drawn && !(label_in_range(rule, rule.x, point.x) && label_in_range(rule, rule.y, point.y))) {
    point.drawn = false;
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

// The label at distance d from its centre. V is float or vf.
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
}  // namespace edgepose

// ---- KL divergence of a softmax to a target, one row ----
//
// q = softmax(β s); p = softmax(β_t t), or the target as it is. With d = β (s − max s) in base-2 units (times log2 e):
//   Σ p (ln p − ln q) = Σ p ln p − ln 2 · Σ p d + Σ p · ln Σ 2^d,      gradient over s_i: β (Σ p · q_i − p_i)
// Rows are summed in any order and finished here.

namespace edgepose {

struct KlRule {
  float beta;         // on the student
  float target_beta;  // on the target; 0: the target is used as it is
};

inline namespace EDGEPOSE_LEVEL {

struct KlSums {
  float student;  // Σ 2^d
  float target;   // soft target: Σ 2^dt; otherwise Σ t
  float cross;    // soft target: Σ 2^dt (dt − d); otherwise Σ t d
  float entropy;  // Σ t ln t, unused for a soft target
};

struct KlRow {
  float loss;
  float student_scale, target_scale;  // gradient_i = student_scale · 2^d_i − target_scale · (2^dt_i or t_i)
};

constexpr float kLn2 = 0.693147181f;

// The largest value of a label's row: at its centre, or at the end that is nearest to it.
EDGEPOSE_HD float label_peak(const LabelRule& rule, const LabelAxis& axis, float centre) {
  const float nearest = ::rintf(centre), last = static_cast<float>(axis.bins - 1);
  return label_value(rule, axis, (nearest < 0.0f ? 0.0f : nearest < last ? nearest : last) - centre);
}

EDGEPOSE_HD KlRow finish_kl(const KlRule& rule, const KlSums& s, float weight) {
  KlRow row;
  if (rule.target_beta > 0.0f) {
    row.loss = weight * (kLn2 * s.cross / s.target + (::logf(s.student) - ::logf(s.target)));
    row.student_scale = weight * rule.beta / s.student;
    row.target_scale = weight * rule.beta / s.target;
  } else {
    row.loss = weight * (s.entropy - kLn2 * s.cross + s.target * ::logf(s.student));
    row.student_scale = weight * rule.beta * s.target / s.student;
    row.target_scale = weight * rule.beta;
  }
  return row;
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
