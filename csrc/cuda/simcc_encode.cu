// simcc_encode on the GPU: one warp per keypoint writes both of its rows, sixteen bytes a lane where it can.
#include "launch.cuh"
#include "simcc_encode.h"

namespace edgepose {
namespace gpu {
namespace {

template <class T, int Count>
__device__ void write_row(char* out, bool labeled, const LabelRule& rule, const LabelAxis& axis, float center,
                          int lane) {
  T* row = reinterpret_cast<T*>(out);
  for (int i = lane * Count; i < axis.bins; i += kWarp * Count) {
    Pack<T, Count> pack;
#pragma unroll
    for (int j = 0; j < Count; ++j)
      put(&pack.values[j], labeled ? label_value(rule, axis, static_cast<float>(i + j) - center) : 0.0f);
    *reinterpret_cast<Pack<T, Count>*>(row + i) = pack;
  }
}

template <class T, int Count>
__global__ void encode_kernel(const __grid_constant__ SimccEncode a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.keypoints.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp;
  if (n >= a.keypoints.shape[0]) return;
  const LabelPoint point = label_point(a.rule, a.keypoints, a.visible, n, k);
  write_row<T, Count>(a.simcc_x.at(n, k), point.labeled, a.rule, a.rule.x, point.x, lane);
  write_row<T, Count>(a.simcc_y.at(n, k), point.labeled, a.rule, a.rule.y, point.y, lane);
  if (lane == 0) *reinterpret_cast<float*>(a.target_weight.at(n, k)) = point.weight;
}

}  // namespace

void simcc_encode(const SimccEncode& a, void* stream) {
  const OnDevice device(a.keypoints.device.index);
  const int64_t items = a.keypoints.shape[0] * a.keypoints.shape[1];
  const int threads = threads_for(items);
  const unsigned blocks = blocks_for(items, threads / kWarp);
  const bool wide = rows_are_wide(a.simcc_x, a.rule.x.bins) && rows_are_wide(a.simcc_y, a.rule.y.bins);
  visit_float(a.simcc_x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = wide ? encode_kernel<T, kWide<T>> : encode_kernel<T, 1>;
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "simcc_encode");
}

}  // namespace gpu
}  // namespace edgepose
