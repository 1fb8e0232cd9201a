// What each kernel takes, and how it is called. An op's arguments are one plain struct, filled and checked by its
// binding.
#pragma once

#include <cstdint>

#include "batch_norm_silu.h"
#include "batch_norm_silu_grad.h"
#include "crop_normalize.h"
#include "heatmap_decode.h"
#include "heatmap_encode.h"
#include "heatmap_mse.h"
#include "simcc_decode.h"
#include "simcc_encode.h"
#include "simcc_gaussian_kl_div.h"
#include "simcc_kl_div.h"

namespace edgepose {

// A CPU kernel computes the items [begin, end) of its index space; the caller decides about threads.
template <class Args>
using CpuKernel = void (*)(const Args& args, int64_t begin, int64_t end);

#define EDGEPOSE_CPU_KERNELS(level)                                                       \
  namespace level {                                                                       \
  void batch_norm_silu(const BatchNormSilu& args, int64_t begin, int64_t end);            \
  void batch_norm_silu_grad(const BatchNormSiluGrad& args, int64_t begin, int64_t end);   \
  void crop_normalize(const CropNormalize& args, int64_t begin, int64_t end);             \
  void heatmap_decode(const HeatmapDecode& args, int64_t begin, int64_t end);             \
  void heatmap_encode(const HeatmapEncode& args, int64_t begin, int64_t end);             \
  void heatmap_mse(const HeatmapMse& args, int64_t begin, int64_t end);                   \
  void simcc_decode(const SimccDecode& args, int64_t begin, int64_t end);                 \
  void simcc_gaussian_kl_div(const SimccGaussianKlDiv& args, int64_t begin, int64_t end); \
  void simcc_encode(const SimccEncode& args, int64_t begin, int64_t end);                 \
  void simcc_kl_div(const SimccKlDiv& args, int64_t begin, int64_t end);                  \
  }
EDGEPOSE_CPU_KERNELS(scalar)
EDGEPOSE_CPU_KERNELS(baseline)
#if defined(__x86_64__)
EDGEPOSE_CPU_KERNELS(avx2)
EDGEPOSE_CPU_KERNELS(avx512)
#endif

// A CUDA kernel is enqueued on the caller's stream, on the device of its arrays, and returns at once.
namespace gpu {
void batch_norm_silu(const BatchNormSilu& args, void* stream);
void batch_norm_silu_grad(const BatchNormSiluGrad& args, void* stream);
void crop_normalize(const CropNormalize& args, void* stream);
void heatmap_decode(const HeatmapDecode& args, void* stream);
void heatmap_encode(const HeatmapEncode& args, void* stream);
void heatmap_mse(const HeatmapMse& args, void* stream);
void simcc_decode(const SimccDecode& args, void* stream);
void simcc_encode(const SimccEncode& args, void* stream);
void simcc_gaussian_kl_div(const SimccGaussianKlDiv& args, void* stream);
void simcc_kl_div(const SimccKlDiv& args, void* stream);
}  // namespace gpu

}  // namespace edgepose
