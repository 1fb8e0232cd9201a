// One row of a divergence on the CPU: shared by simcc_kl_div and simcc_gaussian_kl_div.
#pragma once

#include "scratch.h"
#include "simcc_gaussian_kl_div.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// The row as float32: itself, or widened into `scratch`.
inline const float* widened(const char* row, DType dtype, int bins, float* scratch) {
  if (dtype == DType::f32) return reinterpret_cast<const float*>(row);
  visit_float(dtype, [&](auto tag) {
    const auto* values = reinterpret_cast<const typename decltype(tag)::type*>(row);
    int i = 0;
    for (; i + kLanes <= bins; i += kLanes) store(scratch + i, load(values + i));
    for (; i < bins; ++i) scratch[i] = to_float(values[i]);
  });
  return scratch;
}

inline float row_max(const float* row, int bins) {
  int i = 0;
  float result = row[0];
  if (bins >= 4 * kLanes) {
    vf m[4];
    for (int j = 0; j < 4; ++j) m[j] = load(row + j * kLanes);
    for (i = 4 * kLanes; i + 4 * kLanes <= bins; i += 4 * kLanes)
      for (int j = 0; j < 4; ++j) m[j] = max(m[j], load(row + i + j * kLanes));
    result = max_lane(max(max(m[0], m[1]), max(m[2], m[3])));
  }
  for (; i < bins; ++i) result = row[i] > result ? row[i] : result;
  return result;
}

struct VectorSums {
  vf student = {}, target = {}, cross = {}, entropy = {};
  EDGEPOSE_INLINE void add(const VectorSums& o) {
    student += o.student, target += o.target, cross += o.cross, entropy += o.entropy;
  }
};

// A long chain of float32 additions loses digits, most of all where lanes are few: sums are taken over stretches of
// this many vectors first.
constexpr int kStretch = 16 * kLanes;

// Calls visit(i, count, sums) for the vectors of a row, `count` lanes of each being inside it, and adds up the sums.
template <class F>
EDGEPOSE_INLINE KlSums sum_stretches(int bins, F&& visit) {
  VectorSums sums;
  int i = 0;
  while (i < bins) {
    VectorSums stretch;
    for (const int end = i + kStretch; i < end && i + kLanes <= bins; i += kLanes) visit(i, kLanes, stretch);
    if (i < bins && i + kLanes > bins) visit(i, bins - i, stretch), i = bins;
    sums.add(stretch);
  }
  return {sum_lanes(sums.student), sum_lanes(sums.target), sum_lanes(sums.cross), sum_lanes(sums.entropy)};
}

EDGEPOSE_INLINE vf load_padded(const float* p, int count, float fill) {
  return count == kLanes ? load(p) : load_first(p, count, fill);
}

EDGEPOSE_INLINE vf only_first(vf values, int count) {
  return count == kLanes ? values : select(lane_numbers() < splat(count), values, splat(0.0f));
}

// Asks for memory while sums are computed, which takes longer than the memory does: for the gradient's row, because a
// store that has to fetch its cache line first waits, and for what follows the row in memory, mostly the next row,
// whose maximum would wait.
class Ahead {
 public:
  EDGEPOSE_INLINE Ahead(const char* grad, DType dtype) : grad_(grad), size_(static_cast<int>(item_size(dtype))) {}
  EDGEPOSE_INLINE void fetch_gradient(int bin) const {
    __builtin_prefetch(grad_ + static_cast<int64_t>(bin) * size_, 1);
  }
  EDGEPOSE_INLINE void fetch_next(const float* row, int bins, int bin) const { __builtin_prefetch(row + bins + bin); }

 private:
  const char* grad_;
  int size_;
};

// The sums of one row; leaves 2^d of the student and, for a soft target, of the target in `es` and `et`.
// `t_peak`: the largest value of a soft target.
template <bool Soft>
KlSums sum_row(const float* s, const float* t, float t_peak, int bins, const KlRule& rule, float* es, float* et,
               const Ahead& ahead) {
  const float s_peak = row_max(s, bins);
  const vf s_scale = splat(rule.beta * kLog2e), t_scale = splat(rule.target_beta * kLog2e);
  return sum_stretches(bins, [&](int i, int count, VectorSums& sums) {
    const vf d = (load_padded(s + i, count, s_peak) - s_peak) * s_scale;
    const vf e = only_first(exp2_nonpositive(d), count), target = load_padded(t + i, count, t_peak);
    const vf dt = (target - t_peak) * t_scale;
    const vf p = only_first(Soft ? exp2_nonpositive(dt) : target, count);
    sums.student += e;
    sums.target += p;
    sums.cross = fma(p, Soft ? dt - d : d, sums.cross);
    if (!Soft) sums.entropy += x_log_x(p);
    if (es) {
      ahead.fetch_gradient(i);
      ahead.fetch_next(s, bins, i);
      ahead.fetch_next(t, bins, i);
      store(es + i, e);
      if (Soft) store(et + i, p);
    }
  });
}

// As sum_row, for a target that lies in tables, from `start` on: what depends on it alone is summed there.
template <bool Soft>
KlSums sum_row_to_table(const float* s, const KlTable& table, int64_t start, int bins, const KlRule& rule, float* es,
                        const Ahead& ahead) {
  const float s_peak = row_max(s, bins), scale = rule.beta * kLog2e;
  const vf s_scale = splat(scale);
  const float* target = table.target + start;
  KlSums sums = sum_stretches(bins, [&](int i, int count, VectorSums& sums) {
    const vf d = load_padded(s + i, count, s_peak) - s_peak;
    const vf e = only_first(exp2_scaled(d, s_scale), count);
    sums.student += e;
    sums.cross = fma(load_padded(target + i, count, 0.0f), d, sums.cross);
    if (es) ahead.fetch_gradient(i), ahead.fetch_next(s, bins, i), store(es + i, e);
  });
  // Of a row behind the center the same stretch before it, tables being symmetric: sums that already hold the peak
  // would have no digits left for the tail.
  const int64_t from = start > table.origin ? 2 * table.origin + 1 - start - bins : start;
  const auto between = [&](const double* upto) { return static_cast<float>(upto[from + bins] - upto[from]); };
  sums.target = between(table.sums);
  sums.entropy = between(table.own_sums);
  sums.cross *= Soft ? -scale : scale;
  if (Soft) sums.cross += sums.entropy;
  return sums;
}

// gradient_i = student_scale · es_i − target_scale · p_i, in the student's dtype.
inline void write_gradient(char* out, DType dtype, const float* es, const float* p, int bins, const KlRow& row) {
  const vf a = splat(row.student_scale), b = splat(-row.target_scale);
  visit_float(dtype, [&](auto tag) {
    auto* grad = reinterpret_cast<typename decltype(tag)::type*>(out);
    int i = 0;
    for (; i + kLanes <= bins; i += kLanes) store(grad + i, fma(a, load(es + i), b * load(p + i)));
    for (; i < bins; ++i) put(grad + i, fma(row.student_scale, es[i], -row.target_scale * p[i]));
  });
}

}  // namespace
}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
