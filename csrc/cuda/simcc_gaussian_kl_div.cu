// simcc_gaussian_kl_div on the GPU: one warp per keypoint; labels are computed where they are needed and stored
// nowhere.
#include "launch.cuh"
#include "simcc_gaussian_kl_div.h"

namespace edgepose {
namespace gpu {
namespace {

template <bool Soft, class T, int Count>
__device__ float diverge(const SimccGaussianKlDiv& a, const ArrayView& logits, const ArrayView& grads,
                         const LabelAxis& axis, int64_t n, int64_t k, bool labeled, float center, float weight,
                         int lane) {
  const T* row = reinterpret_cast<const T*>(logits.at(n, k));
  const auto each = [&](auto&& visit) { each_value<T, Count>(row, axis.bins, lane, visit); };
  const float t_peak = labeled ? label_peak(a.label, axis, center) : 0.0f;
  const float s_scale = a.rule.beta * kLog2e, t_scale = a.rule.target_beta * kLog2e;
  const auto target = [&](int i) {
    return labeled ? label_value(a.label, axis, static_cast<float>(i) - center) : 0.0f;
  };

  float s_peak = -INFINITY;
  each([&](int, float s) { s_peak = fmaxf(s_peak, s); });
  s_peak = warp_max(s_peak);
  KlSums sums{0.0f, 0.0f, 0.0f, 0.0f};
  each([&](int i, float s) {
    const float t = target(i), d = (s - s_peak) * s_scale, dt = (t - t_peak) * t_scale;
    const float p = Soft ? exp2_nonpositive(dt) : t;
    sums.student += exp2_nonpositive(d);
    sums.target += p;
    sums.cross = fmaf(p, Soft ? dt - d : d, sums.cross);
    if (!Soft) sums.entropy += x_log_x(p);
  });
  sums = {warp_sum(sums.student), warp_sum(sums.target), warp_sum(sums.cross), warp_sum(sums.entropy)};
  const KlRow result = finish_kl(a.rule, sums, weight);
  if (grads.ndim) {
    T* grad = reinterpret_cast<T*>(grads.at(n, k));
    for (int i = lane * Count; i < axis.bins; i += kWarp * Count) {
      const auto pack = *reinterpret_cast<const Pack<T, Count>*>(row + i);
      Pack<T, Count> g;
#pragma unroll
      for (int j = 0; j < Count; ++j) {
        const float t = target(i + j), e = exp2_nonpositive((to_float(pack.values[j]) - s_peak) * s_scale);
        const float p = Soft ? exp2_nonpositive((t - t_peak) * t_scale) : t;
        put(&g.values[j], result.student_scale * e - result.target_scale * p);
      }
      *reinterpret_cast<Pack<T, Count>*>(grad + i) = g;
    }
  }
  return result.loss;
}

template <bool Soft, class T, int Count>
__global__ void gaussian_kl_kernel(const __grid_constant__ SimccGaussianKlDiv a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.simcc_x.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp;
  if (n >= a.simcc_x.shape[0]) return;
  const LabelPoint point = label_point(a.label, a.keypoints, a.visible, n, k);
  float loss = 0.0f;
  if (point.weight != 0.0f) {
    loss = diverge<Soft, T, Count>(a, a.simcc_x, a.grad_x, a.label.x, n, k, point.labeled, point.x,
                                   point.weight * a.factor_x, lane) +
           diverge<Soft, T, Count>(a, a.simcc_y, a.grad_y, a.label.y, n, k, point.labeled, point.y,
                                   point.weight * a.factor_y, lane);
  } else if (a.grad_x.ndim) {
    for (int i = lane; i < a.label.x.bins; i += kWarp) put(reinterpret_cast<T*>(a.grad_x.at(n, k)) + i, 0.0f);
    for (int i = lane; i < a.label.y.bins; i += kWarp) put(reinterpret_cast<T*>(a.grad_y.at(n, k)) + i, 0.0f);
  }
  if (lane == 0) *reinterpret_cast<float*>(a.loss.at(n, k)) = loss;
}

}  // namespace

void simcc_gaussian_kl_div(const SimccGaussianKlDiv& a, void* stream) {
  const OnDevice device(a.simcc_x.device.index);
  const int64_t items = a.simcc_x.shape[0] * a.simcc_x.shape[1], Wx = a.label.x.bins, Wy = a.label.y.bins;
  const int threads = threads_for(items);
  const unsigned blocks = blocks_for(items, threads / kWarp);
  bool wide = rows_are_wide(a.simcc_x, Wx) && rows_are_wide(a.simcc_y, Wy);
  if (a.grad_x.ndim) wide = wide && rows_are_wide(a.grad_x, Wx) && rows_are_wide(a.grad_y, Wy);
  const bool soft = a.rule.target_beta > 0;
  visit_float(a.simcc_x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = wide ? (soft ? gaussian_kl_kernel<true, T, kWide<T>> : gaussian_kl_kernel<false, T, kWide<T>>)
                             : (soft ? gaussian_kl_kernel<true, T, 1> : gaussian_kl_kernel<false, T, 1>);
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "simcc_gaussian_kl_div");
}

}  // namespace gpu
}  // namespace edgepose
