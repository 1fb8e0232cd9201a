// heatmap_decode on the GPU: one warp per map finds the peak; its lanes blur the points that DARK looks at.
#include "heatmap_decode.h"
#include "launch.cuh"

namespace edgepose {
namespace gpu {
namespace {

template <class T>
struct Map {
  const T* values;
  int width, height;

  __device__ float at(int x, int y) const { return to_float(values[y * width + x]); }

  // Outside the map is zero.
  __device__ float blurred(int x, int y, const BlurKernel& kernel) const {
    float sum = 0.0f;
    for (int v = -kernel.half; v <= kernel.half; ++v) {
      if (y + v < 0 || y + v >= height) continue;
      float row = 0.0f;
      for (int u = -kernel.half; u <= kernel.half; ++u)
        if (x + u >= 0 && x + u < width) row += kernel.weights[u < 0 ? -u : u] * at(x + u, y + v);
      sum += kernel.weights[v < 0 ? -v : v] * row;
    }
    return sum;
  }

  __device__ Offset refine(int x, int y, const HeatmapDecode& a, int lane) const {
    Offset offset{0.0f, 0.0f};
    if (a.refine == Refine::quarter) {
      if (x > 0 && x < width - 1) offset.x = quarter_step(at(x - 1, y), at(x + 1, y));
      if (y > 0 && y < height - 1) offset.y = quarter_step(at(x, y - 1), at(x, y + 1));
    } else if (a.refine == Refine::dark && dark_fits(x, y, width, height)) {
      const Offset mine = dark_point(lane < kDarkPoints ? lane : 0);
      const float value = blurred(x + static_cast<int>(mine.x), y + static_cast<int>(mine.y), a.blur);
      float around[kDarkPoints];
      for (int i = 0; i < kDarkPoints; ++i) around[i] = __shfl_sync(kAll, value, i);
      offset = dark_step(around, a.blur.half);
    }
    return offset;
  }
};

template <class T, int Count>
__global__ void decode_kernel(const __grid_constant__ HeatmapDecode a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.heatmaps.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp;
  if (n >= a.heatmaps.shape[0]) return;
  const int height = static_cast<int>(a.heatmaps.shape[2]), width = static_cast<int>(a.heatmaps.shape[3]);
  const Map<T> map{reinterpret_cast<const T*>(a.heatmaps.at(n, k)), width, height};
  const Peak peak = warp_peak<T, Count>(map.values, width * height, lane);
  const int x = peak.bin % width, y = peak.bin / width;
  const Offset offset = is_nan(peak.value) ? Offset{0.0f, 0.0f} : map.refine(x, y, a, lane);
  if (lane != 0) return;
  float affine[6];
  if (a.affine.ndim) load_affine(a.affine, n, affine);
  place_point((static_cast<float>(x) + offset.x) * a.scale_x, (static_cast<float>(y) + offset.y) * a.scale_y,
              a.affine.ndim ? affine : nullptr, reinterpret_cast<float*>(a.keypoints.at(n, k)));
  *reinterpret_cast<float*>(a.scores.at(n, k)) = peak.value > 0.0f ? peak.value : 0.0f;
}

}  // namespace

void heatmap_decode(const HeatmapDecode& a, void* stream) {
  const OnDevice device(a.heatmaps.device.index);
  const int64_t items = a.heatmaps.shape[0] * a.heatmaps.shape[1];
  const int threads = threads_for(items);
  const unsigned blocks = blocks_for(items, threads / kWarp);
  const bool wide = rows_are_wide(a.heatmaps, a.heatmaps.shape[2] * a.heatmaps.shape[3]);
  visit_float(a.heatmaps.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = wide ? decode_kernel<T, kWide<T>> : decode_kernel<T, 1>;
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "heatmap_decode");
}

}  // namespace gpu
}  // namespace edgepose
