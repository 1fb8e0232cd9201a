// simcc_decode on the GPU: one warp per keypoint reads both of its rows once, sixteen bytes a lane where it can.
#include "launch.cuh"

namespace edgepose {
namespace gpu {
namespace {

template <class T, int Count>
__device__ Peak find_peak(const T* row, int bins, int lane) {
  Peak peak = no_peak();
  bool broken = false;
#pragma unroll 4
  for (int i = lane * Count; i < bins; i += kWarp * Count) {
    const auto pack = *reinterpret_cast<const Pack<T, Count>*>(row + i);
#pragma unroll
    for (int j = 0; j < Count; ++j) {
      const float x = to_float(pack.values[j]);
      broken |= is_nan(x);
      peak = better(peak, Peak{x, i + j});
    }
  }
  if (__any_sync(kAll, broken)) return {nanf(""), 0};
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Peak other{__shfl_xor_sync(kAll, peak.value, offset), __shfl_xor_sync(kAll, peak.bin, offset)};
    peak = better(peak, other);
  }
  return peak;
}

template <class T, int Count>
__device__ float softmax_peak(const T* row, int bins, float peak, float beta, int lane) {
  float sum = 0.0f;
  for (int i = lane * Count; i < bins; i += kWarp * Count) {
    const auto pack = *reinterpret_cast<const Pack<T, Count>*>(row + i);  // a second read, from the cache
#pragma unroll
    for (int j = 0; j < Count; ++j) sum += exp2_nonpositive(beta * kLog2e * below_peak(to_float(pack.values[j]), peak));
  }
  return 1.0f / warp_sum(sum);
}

template <class T, int Count>
__device__ Peak decode_axis(const ArrayView& logits, int64_t n, int64_t k, const DecodeRule& rule, int lane) {
  const T* row = reinterpret_cast<const T*>(logits.at(n, k));
  const int bins = static_cast<int>(logits.shape[2]);
  Peak peak = find_peak<T, Count>(row, bins, lane);
  if (rule.score == Score::softmax && !is_nan(peak.value))
    peak.value = softmax_peak<T, Count>(row, bins, peak.value, rule.beta, lane);
  return peak;
}

template <class T, int Count>
__global__ void decode_kernel(const __grid_constant__ SimccDecode a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.simcc_x.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp;
  if (n >= a.simcc_x.shape[0]) return;
  const Peak x = decode_axis<T, Count>(a.simcc_x, n, k, a.rule, lane);
  const Peak y = decode_axis<T, Count>(a.simcc_y, n, k, a.rule, lane);
  if (lane != 0) return;
  float affine[6];
  if (a.affine.ndim) load_affine(a.affine, n, affine);
  decode_point(a.rule, x, y, a.affine.ndim ? affine : nullptr, reinterpret_cast<float*>(a.keypoints.at(n, k)),
               reinterpret_cast<float*>(a.scores.at(n, k)));
}

}  // namespace

void simcc_decode(const SimccDecode& a, void* stream) {
  const OnDevice device(a.simcc_x.device.index);
  const int64_t items = a.simcc_x.shape[0] * a.simcc_x.shape[1];
  const int threads = threads_for(items);
  const unsigned blocks = blocks_for(items, threads / kWarp);
  const bool wide = rows_are_wide(a.simcc_x, a.simcc_x.shape[2]) && rows_are_wide(a.simcc_y, a.simcc_y.shape[2]);
  visit_float(a.simcc_x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = wide ? decode_kernel<T, kWide<T>> : decode_kernel<T, 1>;
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "simcc_decode");
}

}  // namespace gpu
}  // namespace edgepose
