// The arithmetic of simcc_kl_div, one row.
//
// q = softmax(β s); p = softmax(β_t t), or the target as it is. With d = β (s − max s) in base-2 units (times log2 e):
//   Σ p (ln p − ln q) = Σ p ln p − ln 2 · Σ p d + Σ p · ln Σ 2^d,      gradient over s_i: β (Σ p · q_i − p_i)
// Rows are summed in any order and finished here. A row with a NaN, with +inf or of −inf alone has d = NaN somewhere,
// and so a loss and gradients of NaN.
#pragma once

#include "numeric.h"

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
  // 2^d may have lost a NaN in its bits (see exp2_normal), and a gradient that looks sound would update the weights.
  if (is_nan(row.loss)) row.student_scale = row.target_scale = row.loss;
  return row;
}

}  // namespace EDGEPOSE_LEVEL

struct SimccKlDiv {
  ArrayView student;  // [N, K, B]
  ArrayView target;   // [N, K, B]
  ArrayView weight;   // [N, K] float32 or absent
  ArrayView loss;     // [N, K] float32, written
  ArrayView grad;     // [N, K, B] in the student's dtype, written; or absent
  KlRule rule;
};

}  // namespace edgepose
