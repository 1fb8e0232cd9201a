// simcc_decode on the GPU: one warp per keypoint reads both of its rows once, sixteen bytes a lane where it can.
#include "launch.cuh"
#include "simcc_decode.h"

namespace edgepose {
namespace gpu {
namespace {

// One axis of one keypoint, as its warp reads it: the logits, or their average with the mirrored pass.
template <class T, int Count>
struct AxisRow {
  const T* row;
  const T* mirrored;  // null without a mirrored pass
  bool reverse;       // the mirrored x row runs backwards
  int bins, lane;
  const DecodeRule& rule;

  __device__ float at(int i) const {
    const float x = to_float(row[i]);
    return mirrored ? average(x, to_float(mirrored[reverse ? mirrored_bin(rule, i, bins) : i])) : x;
  }

  // Calls visit(i, value) for this lane's share of the bins.
  template <class F>
  __device__ void each(F&& visit) const {
    if constexpr (Count == 1) {
      for (int i = lane; i < bins; i += kWarp) visit(i, at(i));
    } else {
      each_value<T, Count>(row, bins, lane, visit);
    }
  }

  __device__ Peak find_peak() const {
    Peak peak = no_peak();
    bool broken = false;
    each([&](int i, float x) {
      broken |= is_nan(x);
      peak = better(peak, Peak{x, i});
    });
    return join_peaks(peak, broken);
  }

  __device__ float score(float peak) const {
    SoftmaxSums sums{0.0f, 0.0f};  // a second read, from the cache
    each([&](int, float x) {
      const float t = rule.beta * kLog2e * below_peak(x, peak), e = exp2_nonpositive(t);
      sums.mass += e;
      sums.cross += times_exponent(e, t);
    });
    return softmax_score(rule.score, {warp_sum(sums.mass), warp_sum(sums.cross)});
  }

  __device__ float blurred(int bin, const BlurKernel& kernel) const {  // the same on every lane
    float sum = 0.0f;
    for (int t = lane - kernel.half; t <= kernel.half; t += kWarp)
      if (bin + t >= 0 && bin + t < bins) sum += kernel.weights[t < 0 ? -t : t] * at(bin + t);
    return warp_sum(sum);
  }

  __device__ float refine(const Peak& peak, const BlurKernel& kernel) const {
    float window[5];
    for (int i = 0; i < 5; ++i) {
      const int bin = peak.bin - 2 + i;  // the ends of the row repeat
      window[i] = blurred(bin < 0 ? 0 : bin < bins ? bin : bins - 1, kernel);
    }
    float scale = 1.0f;
    if (dark_needs_scale(peak.value, window)) {
      float largest = -INFINITY;
      for (int i = 0; i < bins; ++i) largest = fmaxf(largest, blurred(i, kernel));
      scale = peak.value / largest;
    }
    return dark_offset(window, scale, kernel.half);
  }

  __device__ AxisResult decode(const BlurKernel& kernel) const {
    const Peak peak = find_peak();
    AxisResult result{static_cast<float>(peak.bin), peak.value};
    if (is_nan(peak.value)) return result;
    if (of_softmax(rule.score)) result.value = score(peak.value);
    if (rule.dark) result.position += refine(peak, kernel);
    return result;
  }
};

template <class T, int Count>
__global__ void decode_kernel(const __grid_constant__ SimccDecode a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.simcc_x.shape[1], n = item / K, k = item % K;
  const int lane = threadIdx.x % kWarp;
  if (n >= a.simcc_x.shape[0]) return;
  const int64_t other = Count == 1 && a.swap.ndim ? swapped(a.swap, k, K) : -1;
  const auto axis = [&](const ArrayView& logits, const ArrayView& flipped, bool reverse) {
    const T* mirrored = other < 0 ? nullptr : reinterpret_cast<const T*>(flipped.at(n, other));
    return AxisRow<T, Count>{reinterpret_cast<const T*>(logits.at(n, k)), mirrored, reverse,
                             static_cast<int>(logits.shape[2]),           lane,     a.rule};
  };
  const AxisResult x = axis(a.simcc_x, a.flipped_x, true).decode(a.blur_x);
  const AxisResult y = axis(a.simcc_y, a.flipped_y, false).decode(a.blur_y);
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
  const bool wide =
      !a.swap.ndim && rows_are_wide(a.simcc_x, a.simcc_x.shape[2]) && rows_are_wide(a.simcc_y, a.simcc_y.shape[2]);
  visit_float(a.simcc_x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto kernel = wide ? decode_kernel<T, kWide<T>> : decode_kernel<T, 1>;
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "simcc_decode");
}

}  // namespace gpu
}  // namespace edgepose
