// simcc_kl_div on the GPU: one warp per row; maximum, sums and gradient read it, from memory once and then from the
// cache.
#include "launch.cuh"
#include "simcc_kl_div.h"

namespace edgepose {
namespace gpu {
namespace {

template <class S, class T, int Count>
struct Row {
  const S* student;
  const T* target;
  int bins, lane;

  // Calls visit(i, s, t) for this lane's share of the bins.
  template <class F>
  __device__ void each(F&& visit) const {
    for (int i = lane * Count; i < bins; i += kWarp * Count) {
      const auto s = *reinterpret_cast<const Pack<S, Count>*>(student + i);
      const auto t = *reinterpret_cast<const Pack<T, Count>*>(target + i);
#pragma unroll
      for (int j = 0; j < Count; ++j) visit(i + j, to_float(s.values[j]), to_float(t.values[j]));
    }
  }
};

template <bool Soft, class S, class T, int Count>
__global__ void kl_kernel(const __grid_constant__ SimccKlDiv a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.student.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp, bins = static_cast<int>(a.student.shape[2]);
  if (n >= a.student.shape[0]) return;
  const float weight = a.weight.ndim ? *reinterpret_cast<const float*>(a.weight.at(n, k)) : 1.0f;
  float* loss = reinterpret_cast<float*>(a.loss.at(n, k));
  S* grad = a.grad.ndim ? reinterpret_cast<S*>(a.grad.at(n, k)) : nullptr;
  if (weight == 0.0f) {  // a point without a label costs nothing, whatever its logits are
    if (lane == 0) *loss = 0.0f;
    if (grad)
      for (int i = lane; i < bins; i += kWarp) put(grad + i, 0.0f);
    return;
  }
  const Row<S, T, Count> row{reinterpret_cast<const S*>(a.student.at(n, k)),
                             reinterpret_cast<const T*>(a.target.at(n, k)), bins, lane};
  float s_peak = -INFINITY, t_peak = -INFINITY;
  row.each([&](int, float s, float t) {
    s_peak = fmaxf(s_peak, s);
    t_peak = fmaxf(t_peak, t);
  });
  s_peak = warp_max(s_peak);
  t_peak = warp_max(t_peak);

  const float s_scale = a.rule.beta * kLog2e, t_scale = a.rule.target_beta * kLog2e;
  KlSums sums{0.0f, 0.0f, 0.0f, 0.0f};
  row.each([&](int, float s, float t) {
    const float d = (s - s_peak) * s_scale, dt = (t - t_peak) * t_scale;
    const float p = Soft ? exp2_nonpositive(dt) : t;
    sums.student += exp2_nonpositive(d);
    sums.target += p;
    sums.cross = fmaf(p, Soft ? dt - d : d, sums.cross);
    if (!Soft) sums.entropy += x_log_x(p);
  });
  sums = {warp_sum(sums.student), warp_sum(sums.target), warp_sum(sums.cross), warp_sum(sums.entropy)};
  const KlRow result = finish_kl(a.rule, sums, weight);
  if (lane == 0) *loss = result.loss;
  if (!grad) return;
  for (int i = lane * Count; i < bins; i += kWarp * Count) {
    const auto s = *reinterpret_cast<const Pack<S, Count>*>(row.student + i);
    const auto t = *reinterpret_cast<const Pack<T, Count>*>(row.target + i);
    Pack<S, Count> g;
#pragma unroll
    for (int j = 0; j < Count; ++j) {
      const float e = exp2_nonpositive((to_float(s.values[j]) - s_peak) * s_scale), tv = to_float(t.values[j]);
      const float p = Soft ? exp2_nonpositive((tv - t_peak) * t_scale) : tv;
      put(&g.values[j], result.student_scale * e - result.target_scale * p);
    }
    *reinterpret_cast<Pack<S, Count>*>(grad + i) = g;
  }
}

template <bool Soft, class S, class T>
void launch(const SimccKlDiv& a, cudaStream_t stream) {
  const int64_t items = a.student.shape[0] * a.student.shape[1], bins = a.student.shape[2];
  const int threads = threads_for(items);
  const unsigned blocks = blocks_for(items, threads / kWarp);
  // Both rows advance by the same number of values, the wider type's share of sixteen bytes.
  constexpr int kCount = kWide<S> < kWide<T> ? kWide<S> : kWide<T>;
  const bool wide =
      rows_are_wide(a.student, bins) && rows_are_wide(a.target, bins) && (!a.grad.ndim || rows_are_wide(a.grad, bins));
  const auto kernel = wide ? kl_kernel<Soft, S, T, kCount> : kl_kernel<Soft, S, T, 1>;
  kernel<<<blocks, threads, 0, stream>>>(a);
}

}  // namespace

void simcc_kl_div(const SimccKlDiv& a, void* stream) {
  const OnDevice device(a.student.device.index);
  visit_float(a.student.dtype, [&](auto s) {
    visit_float(a.target.dtype, [&](auto t) {
      using S = typename decltype(s)::type;
      using T = typename decltype(t)::type;
      (a.rule.target_beta > 0 ? launch<true, S, T> : launch<false, S, T>)(a, static_cast<cudaStream_t>(stream));
    });
  });
  check(cudaGetLastError(), "simcc_kl_div");
}

}  // namespace gpu
}  // namespace edgepose
