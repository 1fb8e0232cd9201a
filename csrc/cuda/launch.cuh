// What every CUDA schedule shares: the right device for the duration of a launch, a checked launch, warp reductions.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "decode.h"
#include "kernels.h"

namespace edgepose {
namespace gpu {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

// Launches go to the current device: make it the arrays' and put it back.
class OnDevice {
 public:
  explicit OnDevice(int index) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    if (index != previous_) check(cudaSetDevice(index), "cudaSetDevice");
    changed_ = index != previous_;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(previous_);
  }
  OnDevice(const OnDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;

// Few items: small blocks, so that they spread over the multiprocessors. Many: large ones.
inline int threads_for(int64_t warps) { return warps <= 2048 ? 64 : 256; }

// A grid's first dimension, the only one in use: the others end at 65,535 blocks.
inline unsigned blocks_for(int64_t items, int64_t per_block) {
  const int64_t blocks = (items + per_block - 1) / per_block;
  if (blocks > INT32_MAX) throw std::runtime_error("edgepose: more items than one launch has room for");
  return static_cast<unsigned>(blocks);
}

__device__ __forceinline__ float warp_sum(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, offset));
  return x;
}

// Sixteen bytes of a row at once where every row starts on a sixteen-byte boundary, single values elsewhere.
template <class T>
constexpr int kWide = 16 / sizeof(T);

inline bool rows_are_wide(const ArrayView& a, int64_t bins) {
  const int64_t offsets = reinterpret_cast<intptr_t>(a.data) | a.strides[0] | a.strides[1] | bins * item_size(a.dtype);
  return offsets % 16 == 0;
}

template <class T, int Count>
struct alignas(Count * sizeof(T)) Pack {
  T values[Count];
};

// Calls visit(i, value) for this lane's share of a row.
template <class T, int Count, class F>
__device__ __forceinline__ void each_value(const T* row, int count, int lane, F&& visit) {
#pragma unroll 4
  for (int i = lane * Count; i < count; i += kWarp * Count) {
    const auto pack = *reinterpret_cast<const Pack<T, Count>*>(row + i);
#pragma unroll
    for (int j = 0; j < Count; ++j) visit(i + j, to_float(pack.values[j]));
  }
}

// The warp's first maximum from those of its lanes; NaN in bin 0 where any lane has seen one.
__device__ __forceinline__ Peak join_peaks(Peak peak, bool broken) {
  if (__any_sync(kAll, broken)) return {nanf(""), 0};
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    peak = better(peak, Peak{__shfl_xor_sync(kAll, peak.value, offset), __shfl_xor_sync(kAll, peak.bin, offset)});
  return peak;
}

template <class T, int Count>
__device__ __forceinline__ Peak warp_peak(const T* row, int count, int lane) {
  Peak peak = no_peak();
  bool broken = false;
  each_value<T, Count>(row, count, lane, [&](int i, float x) {
    broken |= is_nan(x);
    peak = better(peak, Peak{x, i});
  });
  return join_peaks(peak, broken);
}

}  // namespace gpu
}  // namespace edgepose
