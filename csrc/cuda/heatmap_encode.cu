// heatmap_encode on the GPU: one block per map, neighboring threads write neighboring cells.
#include "heatmap_encode.h"
#include "launch.cuh"

namespace edgepose {
namespace gpu {
namespace {

template <class T>
__global__ void encode_kernel(const __grid_constant__ HeatmapEncode a) {
  const int64_t K = a.keypoints.shape[1], n = blockIdx.x / K, k = blockIdx.x % K;
  const HeatmapPoint point = heatmap_point(a.rule, a.keypoints, a.visible, n, k);
  T* map = reinterpret_cast<T*>(a.heatmaps.at(n, k));
  const int cells = a.rule.width * a.rule.height;
  for (int i = threadIdx.x; i < cells; i += blockDim.x) {
    const float x = static_cast<float>(i % a.rule.width), y = static_cast<float>(i / a.rule.width);
    put(map + i, point.labeled ? heatmap_factor(a.rule, x - point.x) * heatmap_factor(a.rule, y - point.y) : 0.0f);
  }
  if (threadIdx.x == 0) *reinterpret_cast<float*>(a.target_weight.at(n, k)) = point.weight;
}

}  // namespace

void heatmap_encode(const HeatmapEncode& a, void* stream) {
  const OnDevice device(a.keypoints.device.index);
  const unsigned blocks = blocks_for(a.keypoints.shape[0] * a.keypoints.shape[1], 1);
  visit_float(a.heatmaps.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    encode_kernel<T><<<blocks, 256, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "heatmap_encode");
}

}  // namespace gpu
}  // namespace edgepose
