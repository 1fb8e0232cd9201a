// heatmap_mse on the GPU: one warp per map; one pass gives the loss and, where it is wanted, the gradient.
#include "heatmap_mse.h"
#include "launch.cuh"

namespace edgepose {
namespace gpu {
namespace {

// Target and teacher may come in any dtype: labels are often float32 beside a float16 network.
__device__ float value_at(const char* row, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::f16: return to_float(reinterpret_cast<const half_t*>(row)[i]);
    case DType::bf16: return to_float(reinterpret_cast<const bfloat_t*>(row)[i]);
    default: return reinterpret_cast<const float*>(row)[i];
  }
}

__device__ float weight_at(const ArrayView& weight, int64_t n, int64_t k) {
  return weight.ndim ? *reinterpret_cast<const float*>(weight.at(n, k)) : 1.0f;
}

template <class T>
__global__ void mse_kernel(const __grid_constant__ HeatmapMse a) {
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int64_t K = a.student.shape[1], n = item / K, k = item % K, cells = a.student.shape[2] * a.student.shape[3];
  const int lane = threadIdx.x % kWarp;
  if (n >= a.student.shape[0]) return;
  const MseFactors f = mse_factors(a.rule, weight_at(a.weight, n, k), weight_at(a.teacher_weight, n, k));
  const bool with_target = f.target != 0.0f, with_teacher = a.teacher.ndim && f.teacher != 0.0f;
  const T* student = reinterpret_cast<const T*>(a.student.at(n, k));
  const char *target = a.target.at(n, k), *teacher = with_teacher ? a.teacher.at(n, k) : nullptr;
  T* grad = a.grad.ndim ? reinterpret_cast<T*>(a.grad.at(n, k)) : nullptr;
  float sum = 0.0f;
  for (int64_t i = lane; i < cells; i += kWarp) {
    const float s = to_float(student[i]);
    float slope = 0.0f;
    const auto add = [&](float other, float factor) {
      const float difference = s - other, scaled = difference * factor;
      sum = fmaf(difference, scaled, sum);
      slope += scaled;
    };
    if (with_target) add(value_at(target, a.target.dtype, i), f.target);
    if (with_teacher) add(value_at(teacher, a.teacher.dtype, i), f.teacher);
    if (grad) put(grad + i, 2.0f * slope);
  }
  sum = warp_sum(sum);
  if (lane == 0) *reinterpret_cast<float*>(a.loss.at(n, k)) = sum;
}

}  // namespace

void heatmap_mse(const HeatmapMse& a, void* stream) {
  const OnDevice device(a.student.device.index);
  const int64_t items = a.student.shape[0] * a.student.shape[1];
  const int threads = threads_for(items);
  visit_float(a.student.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    mse_kernel<T><<<blocks_for(items, threads / kWarp), threads, 0, static_cast<cudaStream_t>(stream)>>>(a);
  });
  check(cudaGetLastError(), "heatmap_mse");
}

}  // namespace gpu
}  // namespace edgepose
