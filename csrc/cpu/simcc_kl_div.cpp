// simcc_kl_div on the CPU: a row comes from memory once; its maximum, its sums and its gradient find it in the L1 cache.
#include "kernels.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// The row as float32: itself, or widened into `scratch`.
const float* widened(const char* row, DType dtype, int bins, float* scratch) {
  if (dtype == DType::f32) return reinterpret_cast<const float*>(row);
  visit_float(dtype, [&](auto tag) {
    const auto* values = reinterpret_cast<const typename decltype(tag)::type*>(row);
    int i = 0;
    for (; i + kLanes <= bins; i += kLanes) store(scratch + i, load(values + i));
    for (; i < bins; ++i) scratch[i] = to_float(values[i]);
  });
  return scratch;
}

float row_max(const float* row, int bins) {
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

// A long chain of float32 additions loses digits, most of all where lanes are few: sums are taken over stretches of this
// many vectors first.
constexpr int kStretch = 16 * kLanes;

// The sums of one row; leaves 2^d of the student and, for a soft target, of the target in `es` and `et`.
template <bool Soft>
KlSums sum_row(const float* s, const float* t, int bins, const KlRule& rule, float* es, float* et) {
  const vf s_peak = splat(row_max(s, bins)), t_peak = splat(Soft ? row_max(t, bins) : 0.0f);
  const vf s_scale = splat(rule.beta * kLog2e), t_scale = splat(rule.target_beta * kLog2e);
  VectorSums sums, stretch;
  const auto visit = [&](vf s_values, vf t_values, int i, int count) {
    const vf d = (s_values - s_peak) * s_scale;
    vf e = exp2_nonpositive(d), p = t_values, distance = d;
    if (Soft) {
      const vf dt = (t_values - t_peak) * t_scale;
      p = exp2_nonpositive(dt);
      distance = dt - d;
    }
    if (count < kLanes) {  // the padding of the last vector holds the peaks
      const vi inside = lane_numbers() < splat(count);
      e = select(inside, e, splat(0.0f));
      p = select(inside, p, splat(0.0f));
    }
    stretch.student += e;
    stretch.target += p;
    stretch.cross = fma(p, distance, stretch.cross);
    if (!Soft) stretch.entropy += x_log_x(p);
    if (es) {
      store(es + i, e);
      if (Soft) store(et + i, p);
    }
  };
  int i = 0;
  while (i + kLanes <= bins) {
    stretch = {};
    for (const int end = i + kStretch; i < end && i + kLanes <= bins; i += kLanes) visit(load(s + i), load(t + i), i, kLanes);
    sums.add(stretch);
  }
  if (i < bins) {
    stretch = {};
    visit(load_first(s + i, bins - i, s_peak[0]), load_first(t + i, bins - i, t_peak[0]), i, bins - i);
    sums.add(stretch);
  }
  return {sum_lanes(sums.student), sum_lanes(sums.target), sum_lanes(sums.cross), sum_lanes(sums.entropy)};
}

template <class T>
void write_gradient(T* grad, const float* es, const float* p, int bins, const KlRow& row) {
  const vf a = splat(row.student_scale), b = splat(-row.target_scale);
  int i = 0;
  for (; i + kLanes <= bins; i += kLanes) store(grad + i, fma(a, load(es + i), b * load(p + i)));
  for (; i < bins; ++i) put(grad + i, fma(row.student_scale, es[i], -row.target_scale * p[i]));
}

template <bool Soft>
void kl_range(const SimccKlDiv& a, int64_t begin, int64_t end) {
  const int64_t K = a.student.shape[1];
  const int bins = static_cast<int>(a.student.shape[2]);
  const int64_t room = bins + kLanes;
  Scratch scratch(4 * room);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    const float weight = a.weight ? *reinterpret_cast<const float*>(a.weight.at(n, k)) : 1.0f;
    float* loss = reinterpret_cast<float*>(a.loss.at(n, k));
    if (weight == 0.0f) {  // a point without a label costs nothing, whatever its logits are
      *loss = 0.0f;
      if (a.grad) std::memset(a.grad.at(n, k), 0, bins * item_size(a.grad.dtype));
      continue;
    }
    const float* s = widened(a.student.at(n, k), a.student.dtype, bins, scratch.at(0));
    const float* t = widened(a.target.at(n, k), a.target.dtype, bins, scratch.at(room));
    float *es = a.grad ? scratch.at(2 * room) : nullptr, *et = scratch.at(3 * room);
    const KlRow row = finish_kl(a.rule, sum_row<Soft>(s, t, bins, a.rule, es, et), weight);
    *loss = row.loss;
    if (a.grad)
      visit_float(a.grad.dtype, [&](auto tag) {
        write_gradient(reinterpret_cast<typename decltype(tag)::type*>(a.grad.at(n, k)), es, Soft ? et : t, bins, row);
      });
  }
}

}  // namespace

void simcc_kl_div(const SimccKlDiv& args, int64_t begin, int64_t end) {
  (args.rule.target_beta > 0 ? kl_range<true> : kl_range<false>)(args, begin, end);
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
