// What each kernel takes, and how it is called. An op's arguments are one plain struct, filled and checked by its
// binding.
#pragma once

#include <cstdint>

#include "array.h"
#include "batch_norm.h"
#include "heatmap.h"
#include "simcc.h"
#include "warp.h"

namespace edgepose {

struct SimccDecode {
  ArrayView simcc_x;    // [N, K, Wx]
  ArrayView simcc_y;    // [N, K, Wy]
  ArrayView flipped_x;  // [N, K, Wx] of the mirrored image, or absent
  ArrayView flipped_y;  // [N, K, Wy]
  ArrayView swap;       // [K] int64: which keypoint of the mirrored image is which
  ArrayView affine;     // [N, 2, 3] or absent
  ArrayView keypoints;  // [N, K, 2] float32, written
  ArrayView scores;     // [N, K] float32, written
  DecodeRule rule;
  BlurKernel blur_x, blur_y;  // for DARK
};

struct SimccEncode {
  ArrayView keypoints;      // [N, K, 2] float32 or float64
  ArrayView visible;        // [N, K] float32 or float64
  ArrayView simcc_x;        // [N, K, Wx], written
  ArrayView simcc_y;        // [N, K, Wy], written
  ArrayView target_weight;  // [N, K] float32, written
  LabelRule rule;
  // CPU: label values at the distances −origin … origin, in the dtype of the labels; null: compute every label.
  const void *table_x, *table_y;
  int64_t origin_x, origin_y;
  bool around_caches;  // CPU: the labels are more than a cache holds
};

struct SimccKlDiv {
  ArrayView student;  // [N, K, B]
  ArrayView target;   // [N, K, B]
  ArrayView weight;   // [N, K] float32 or absent
  ArrayView loss;     // [N, K] float32, written
  ArrayView grad;     // [N, K, B] in the student's dtype, written; or absent
  KlRule rule;
};

// The label tables of one axis, on the CPU: at the distances −origin … origin from a label's centre the target's
// numerators p; and before each of those distances the sums of p and of the target's own share of the divergence
// (soft: p · log2 p in units of the rule; otherwise t · ln t), so that a row's sums are differences. Null: no tables.
struct KlTable {
  const float* target;            // [2 origin + 1]
  const double *sums, *own_sums;  // [2 origin + 2]
  int64_t origin;
};

struct SimccGaussianKlDiv {
  ArrayView simcc_x;    // [N, K, Wx]
  ArrayView simcc_y;    // [N, K, Wy]
  ArrayView keypoints;  // [N, K, 2] float32 or float64
  ArrayView visible;    // [N, K] float32 or float64
  ArrayView loss;       // [N, K] float32, written
  ArrayView grad_x;     // [N, K, Wx] in the logits' dtype, written; or absent
  ArrayView grad_y;     // [N, K, Wy]
  LabelRule label;
  KlRule rule;
  float factor_x, factor_y;  // on the divergence of each axis
  KlTable table_x, table_y;
};

struct HeatmapEncode {
  ArrayView keypoints;      // [N, K, 2] float32 or float64
  ArrayView visible;        // [N, K] float32 or float64
  ArrayView heatmaps;       // [N, K, h, w], written
  ArrayView target_weight;  // [N, K] float32, written
  HeatmapRule rule;
};

struct HeatmapDecode {
  ArrayView heatmaps;      // [N, K, h, w]
  ArrayView affine;        // [N, 2, 3] or absent
  ArrayView keypoints;     // [N, K, 2] float32, written
  ArrayView scores;        // [N, K] float32, written
  float scale_x, scale_y;  // input pixels per cell
  Refine refine;
  BlurKernel blur;
};

struct HeatmapMse {
  ArrayView student;         // [N, K, h, w]
  ArrayView target;          // [N, K, h, w]
  ArrayView teacher;         // [N, K, h, w] or absent
  ArrayView weight;          // [N, K] float32 or absent
  ArrayView teacher_weight;  // [N, K] float32 or absent
  ArrayView loss;            // [N, K] float32, written
  ArrayView grad;            // [N, K, h, w] in the student's dtype, written; or absent
  MseRule rule;
};

struct BatchNormSilu {
  ArrayView x;        // [M, C]
  ArrayView weight;   // [C] float32
  ArrayView bias;     // [C] float32
  ArrayView y;        // [M, C] in the dtype of x, written
  ArrayView mean;     // [C] float32, written
  ArrayView var;      // [C] float32, written
  ArrayView partial;  // [chunks, 2, C] float32, work space
  BatchNormRule rule;
  int32_t pass;  // CPU: 0 fills the work space, 1 writes the results
};

struct BatchNormSiluGrad {
  ArrayView x;            // [M, C]
  ArrayView grad_y;       // [M, C] in the dtype of x
  ArrayView weight;       // [C] float32
  ArrayView bias;         // [C] float32
  ArrayView mean;         // [C] float32
  ArrayView var;          // [C] float32
  ArrayView grad_x;       // [M, C] in the dtype of x, written
  ArrayView grad_weight;  // [C] float32, written
  ArrayView grad_bias;    // [C] float32, written
  ArrayView partial;      // [chunks, 2, C] float32, work space
  BatchNormRule rule;
  int32_t pass;
};

// The first value of an array without gaps of float32: a channel's each, or the work space.
EDGEPOSE_HD float* channels(const ArrayView& values) { return reinterpret_cast<float*>(values.data); }

struct CropNormalize {
  ArrayView frame;   // [H, W, 3] uint8
  ArrayView affine;  // [N, 2, 3] frame → crop, float32 or float64
  ArrayView out;     // [N, 3, h, w], written
  CropRule rule;
};

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
