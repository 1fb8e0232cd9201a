// The arithmetic of SimCC, written once: the CPU kernels, vectorised or not, and the CUDA kernels call these functions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "array.h"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#else
#include "simd.h"
#endif

namespace edgepose {

enum class Score : uint8_t { min, mean, max, softmax };

struct DecodeRule {
  float split_ratio;  // bins per pixel
  Score score;
  float beta;              // softmax temperature multiplier
  float scale_x, scale_y;  // 1 / peak of the ideal label; 1 when the score is not calibrated
  bool calibrated;
};

inline namespace EDGEPOSE_LEVEL {

// ---- scalars spelled like the vectors of simd.h, so that templates below take either ----

EDGEPOSE_HD int32_t as_int(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_int(x);
#else
  int32_t i;
  std::memcpy(&i, &x, sizeof i);
  return i;
#endif
}

EDGEPOSE_HD float as_float(int32_t i) {
#if defined(__CUDA_ARCH__)
  return __int_as_float(i);
#else
  float x;
  std::memcpy(&x, &i, sizeof x);
  return x;
#endif
}

EDGEPOSE_HD float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__)
  return ::fmaf(a, b, c);
#else
  return a * b + c;  // without the instruction fmaf() is a slow library call
#endif
}

EDGEPOSE_HD float select(bool mask, float a, float b) { return mask ? a : b; }

// `value` in the type of `like`.
EDGEPOSE_HD float constant(float value, float /*like*/) { return value; }
#if !defined(__CUDACC__)
EDGEPOSE_HD vf constant(float value, vf /*like*/) { return splat(value); }
#endif

EDGEPOSE_HD float to_float(float x) { return x; }
EDGEPOSE_HD float to_float(bfloat_t x) { return as_float(static_cast<int32_t>(static_cast<uint32_t>(x.bits) << 16)); }
EDGEPOSE_HD float to_float(half_t x) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(x.bits));
#else
  const uint32_t special = (x.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;  // as load(const half_t*) in simd.h
  const float magnitude = as_float(static_cast<int32_t>((x.bits & 0x7fffu) << 13)) * 0x1p112f;
  return as_float(static_cast<int32_t>(static_cast<uint32_t>(as_int(magnitude)) | special | ((x.bits & 0x8000u) << 16)));
#endif
}

EDGEPOSE_HD bool is_nan(float x) { return !(x == x); }

// exp(x) for x ≤ 0 within 2 ulp; 0 below −87, where float32 runs out of normal numbers. V is float or vf.
template <class V>
EDGEPOSE_HD V exp_nonpositive(V x) {
  const auto c = [x](float value) { return constant(value, x); };
  const V rounded = fma(x, c(1.44269504f), c(12582912.0f));  // adding 1.5·2^23 leaves n = round(x / ln 2) in the low bits
  const V n = rounded - 12582912.0f;
  V r = fma(n, c(-0.693359375f), x);  // ln 2 in two parts, so that r keeps all its bits
  r = fma(n, c(2.12194440e-4f), r);
  V p = fma(c(1.9875691500e-4f), r, c(1.3981999507e-3f));
  p = fma(p, r, c(8.3334519073e-3f));
  p = fma(p, r, c(4.1665795894e-2f));
  p = fma(p, r, c(1.6666665459e-1f));
  p = fma(p, r, c(5.0000001201e-1f));
  p = fma(p, r * r, r) + 1.0f;
  const V scaled = as_float(as_int(p) + (as_int(rounded) << 23));  // times 2^n
  return select(x < -87.0f, c(0.0f), scaled);
}

// ---- decode ----

// The first maximum of one row. A row that holds a NaN has value NaN and bin 0.
struct Peak {
  float value;
  int32_t bin;
};

EDGEPOSE_HD Peak no_peak() { return {-INFINITY, 0x7fffffff}; }

// The larger of two, or the first of two equal ones. Bins come in any order: lanes of a warp hold strided ones.
EDGEPOSE_HD Peak better(Peak a, Peak b) {
  return b.value > a.value || (b.value == a.value && b.bin < a.bin) ? b : a;
}

// x − peak, with 0 for the peak itself: an infinite peak leaves no NaN behind.
template <class V>
EDGEPOSE_HD V below_peak(V x, V peak) {
  return select(x == peak, constant(0.0f, x), x - peak);
}

EDGEPOSE_HD float combine_scores(const DecodeRule& rule, float x, float y) {
  if (is_nan(x) || is_nan(y)) return 0.0f;
  float score = 0.0f;
  switch (rule.score) {
    case Score::min: score = x < y ? x : y; break;
    case Score::mean: score = 0.5f * (x + y); break;
    case Score::max: score = x > y ? x : y; break;
    case Score::softmax: {
      const float a = x * rule.scale_x, b = y * rule.scale_y;
      score = a < b ? a : b;
      if (rule.calibrated && score > 1.0f) score = 1.0f;
    }
  }
  return score > 0.0f ? score : 0.0f;  // also turns the NaN of ∞ − ∞ into 0
}

// Two peaks → image coordinates (crop pixels without an affine) and a score.
EDGEPOSE_HD void decode_point(const DecodeRule& rule, Peak x, Peak y, const float* affine /* [2,3] or null */,
                              float* keypoint /* [2] */, float* score) {
  const float px = static_cast<float>(x.bin) / rule.split_ratio;
  const float py = static_cast<float>(y.bin) / rule.split_ratio;
  keypoint[0] = affine ? affine[0] * px + affine[1] * py + affine[2] : px;
  keypoint[1] = affine ? affine[3] * px + affine[4] * py + affine[5] : py;
  *score = combine_scores(rule, x.value, y.value);
}

EDGEPOSE_HD void load_affine(const ArrayView& view, int64_t n, float* affine /* [6] */) {
  const char* row = view.at(n);
  for (int i = 0; i < 6; ++i) {
    const char* p = row + (i / 3) * view.strides[1] + (i % 3) * view.strides[2];
    affine[i] = view.dtype == DType::f64 ? static_cast<float>(*reinterpret_cast<const double*>(p))
                                         : *reinterpret_cast<const float*>(p);
  }
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
