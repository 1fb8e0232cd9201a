// heatmap_mse on the CPU: one pass over the maps gives the loss and, where it is wanted, the gradient.
#include "heatmap_mse.h"

#include "kernels.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

float weight_at(const ArrayView& weight, int64_t n, int64_t k) {
  return weight ? *reinterpret_cast<const float*>(weight.at(n, k)) : 1.0f;
}

// Widened vectors of any of the three dtypes; the lanes beyond `count` are 0.
EDGEPOSE_INLINE vf load_as(const char* row, DType dtype, int64_t i, int count) {
  vf values = {};
  visit_float(dtype, [&](auto tag) {
    const auto* p = reinterpret_cast<const typename decltype(tag)::type*>(row) + i;
    values = count == kLanes ? load(p) : load_first(p, count, 0.0f);
  });
  return values;
}

EDGEPOSE_INLINE void store_as(char* row, DType dtype, int64_t i, vf values, int count) {
  visit_float(dtype, [&](auto tag) {
    auto* p = reinterpret_cast<typename decltype(tag)::type*>(row) + i;
    if (count == kLanes) {
      store(p, values);
    } else {
      store_first(p, values, count);
    }
  });
}

}  // namespace

void heatmap_mse(const HeatmapMse& a, int64_t begin, int64_t end) {
  const int64_t K = a.student.shape[1], cells = a.student.shape[2] * a.student.shape[3];
  constexpr int kStretch = 16 * kLanes;  // long chains of float32 additions lose digits
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    const MseFactors f = mse_factors(a.rule, weight_at(a.weight, n, k), weight_at(a.teacher_weight, n, k));
    const char *student = a.student.at(n, k), *target = a.target.at(n, k);
    const char* teacher = a.teacher ? a.teacher.at(n, k) : nullptr;
    char* grad = a.grad ? a.grad.at(n, k) : nullptr;
    const bool with_target = f.target != 0.0f, with_teacher = teacher && f.teacher != 0.0f;
    vf total = {};
    for (int64_t i = 0; i < cells;) {
      vf sum = {};
      for (const int64_t stop = i + kStretch; i < stop && i < cells; i += kLanes) {
        const int count = cells - i < kLanes ? static_cast<int>(cells - i) : kLanes;
        const vf s = load_as(student, a.student.dtype, i, count);
        vf slope = {};
        const auto add = [&](const char* row, DType dtype, float factor) {
          const vf difference = s - load_as(row, dtype, i, count), scaled = difference * factor;
          sum = fma(difference, scaled, sum);
          slope += scaled;
        };
        if (with_target) add(target, a.target.dtype, f.target);
        if (with_teacher) add(teacher, a.teacher.dtype, f.teacher);
        if (grad) store_as(grad, a.grad.dtype, i, 2.0f * slope, count);
      }
      total += sum;
    }
    *reinterpret_cast<float*>(a.loss.at(n, k)) = sum_lanes(total);
  }
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
