// float32 arithmetic that both backends compile: conversions, exponentials, logarithms, spelled alike for one float and
// for a vector of simd.h, so that what the CPU's tests exercise is what a GPU runs.
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

// Bits are added and shifted unsigned: what overflows there is thrown away by a select, but must not be undefined.
EDGEPOSE_HD uint32_t as_bits(float x) { return static_cast<uint32_t>(as_int(x)); }
EDGEPOSE_HD uint32_t as_bits(int32_t i) { return static_cast<uint32_t>(i); }
EDGEPOSE_HD int32_t as_int(uint32_t bits) { return static_cast<int32_t>(bits); }

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

// a·b, rounded: nvcc would contract it with an addition that follows.
EDGEPOSE_HD float multiply(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

EDGEPOSE_HD float select(bool mask, float a, float b) { return mask ? a : b; }

EDGEPOSE_HD int32_t select(bool mask, int32_t a, int32_t b) { return mask ? a : b; }
EDGEPOSE_HD float to_float(int32_t i) { return static_cast<float>(i); }

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
  return as_float(
      static_cast<int32_t>(static_cast<uint32_t>(as_int(magnitude)) | special | ((x.bits & 0x8000u) << 16)));
#endif
}

// A coordinate or coefficient: float64 is taken too, and narrowed.
EDGEPOSE_HD float load_real(const char* p, DType dtype) {
  return dtype == DType::f64 ? static_cast<float>(*reinterpret_cast<const double*>(p))
                             : *reinterpret_cast<const float*>(p);
}

EDGEPOSE_HD void load_affine(const ArrayView& view, int64_t n, float* affine /* [6] */) {
  const char* row = view.at(n);
  for (int i = 0; i < 6; ++i) {
    const char* p = row + (i / 3) * view.strides[1] + (i % 3) * view.strides[2];
    affine[i] = load_real(p, view.dtype);
  }
}

EDGEPOSE_HD bool is_nan(float x) { return !(x == x); }

EDGEPOSE_HD float clamp(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
EDGEPOSE_HD float reciprocal(float x) { return 1.0f / x; }

// 2^f for |f| ≤ ½, within 2^-23 relative. V is float or vf.
template <class V>
EDGEPOSE_HD V exp2_fraction(V f) {
  const auto c = [f](float value) { return constant(value, f); };
  V p = fma(c(1.5453163e-4f), f, c(1.3390863e-3f));  // minimax of (2^f − 1) / f
  p = fma(p, f, c(9.6180830e-3f));
  p = fma(p, f, c(5.5503570e-2f));
  p = fma(p, f, c(2.4022651e-1f));
  p = fma(p, f, c(6.9314718e-1f));
  return fma(p, f, c(1.0f));
}

// 2^x for |x| ≤ 126. Of NaN it makes anything: adding to its bits can give a finite number.
template <class V>
EDGEPOSE_HD V exp2_normal(V x) {
  const V shifted = x + 12582912.0f;  // adding 1.5·2^23 leaves n = round(x) in the low bits
  const V p = exp2_fraction(x - (shifted - 12582912.0f));
  return as_float(as_int(as_bits(p) + (as_bits(shifted) << 23)));  // times 2^n
}

// 2^x, but neither above 2^125 nor, where it is not 0, below 2^-125. Of NaN it makes anything.
template <class V>
EDGEPOSE_HD V exp2_bounded(V x) {
  return exp2_normal(clamp(x, -125.0f, 125.0f));
}
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR) && !defined(__CUDACC__)
EDGEPOSE_INLINE vf exp2_bounded(vf x) {
  const vf bounded = min(splat(125.0f), x);
  const vf n = (vf)_mm512_maskz_roundscale_ps(0xffff, (__m512)bounded, 0);
  return (vf)_mm512_maskz_scalef_ps(0xffff, (__m512)exp2_fraction(bounded - n), (__m512)n);
}
#endif

// 2^x for x ≤ 0, within 2^-23 relative; 0 below 2^-126, where float32 runs out of normal numbers. V is float or vf.
// Softmaxes work in base 2, with log2(e) folded into the temperature: one rounding step fewer, and the error of the
// argument only counts where the value itself has become small. Of NaN it makes anything.
template <class V>
EDGEPOSE_HD V exp2_nonpositive(V x) {
  return select(x < -126.0f, constant(0.0f, x), exp2_normal(x));
}

// 2^(scale · d) for scale · d ≤ 0.
template <class V>
EDGEPOSE_HD V exp2_scaled(V d, V scale) {
  return exp2_nonpositive(scale * d);
}

#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR) && !defined(__CUDACC__)
// Within 2^-23 as well, in two thirds of the instructions, whose number is what limits a softmax: AVX-512 keeps
// 2^(i/16) in a register, and for the rest of the argument, `f`, a cubic will do.
EDGEPOSE_INLINE vf exp2_sixteenths(vf f, vf shifted, __mmask16 normal) {
  // The bits of 2^(i/16), less those that i itself brings into the exponent.
  alignas(64) static constexpr uint32_t kRoots[16] = {
      0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
      0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
  const vu bits = (vu)_mm512_maskz_permutexvar_epi32(0xffff, (__m512i)shifted, load_bits<__m512i>(kRoots));
  const vf root = (vf)(bits + (as_bits(shifted) << 19));
  const vf p = f * fma(fma(splat(5.5505950e-2f), f, splat(2.4023429e-1f)), f, splat(6.9314718e-1f));  // 2^f − 1
  return (vf)_mm512_maskz_fmadd_ps(normal, (__m512)p, (__m512)root, (__m512)root);
}

constexpr float kSixteenths = 786432.0f;  // adding 1.5·2^19 leaves round(16 x) in the low bits

EDGEPOSE_INLINE vf exp2_nonpositive(vf x) {
  const vf shifted = x + kSixteenths;
  const __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);  // or NaN
  return exp2_sixteenths(x - (shifted - kSixteenths), shifted, normal);
}

EDGEPOSE_INLINE vf exp2_scaled(vf d, vf scale) {
  const vf shifted = fma(d, scale, splat(kSixteenths)), n = shifted - kSixteenths;
  const __mmask16 normal = _mm512_cmp_ps_mask((__m512)n, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return exp2_sixteenths(fma(d, scale, -n), shifted, normal);
}
#endif

constexpr float kLog2e = 1.44269504f;

template <class V>
EDGEPOSE_HD V exp_nonpositive(V x) {
  return exp2_nonpositive(x * kLog2e);
}

// x·ln x, continued with 0 at x = 0 and below the normal numbers. Negative x has no meaning here.
template <class V>
EDGEPOSE_HD V x_log_x(V x) {
  const auto c = [x](float value) { return constant(value, x); };
  // x = 2^n · (1 + r) with 1 + r in [√½, √2): subtracting √½'s bits before the shift rounds the exponent the right way.
  const auto n = as_int(as_bits(x) - 0x3f3504f3u) >> 23;
  const V r = as_float(as_int(as_bits(x) - (as_bits(n) << 23))) - 1.0f;
  V p = fma(c(-7.9027437e-2f), r, c(1.2622319e-1f));  // minimax of (ln(1 + r) − r + r²/2) / r³
  p = fma(p, r, c(-1.2998183e-1f));
  p = fma(p, r, c(1.4214496e-1f));
  p = fma(p, r, c(-1.6641282e-1f));
  p = fma(p, r, c(2.0001045e-1f));
  p = fma(p, r, c(-2.5000307e-1f));
  p = fma(p, r, c(3.3333331e-1f));
  const V log = fma(to_float(n), c(6.9314718e-1f), fma(p, r * r * r, fma(c(-0.5f), r * r, r)));
  return select(x < 1.17549435e-38f, c(0.0f), x * log);
}

// ---- rounding to sixteen bits, half to even ----

// Bits of float16. Integers of V's width hold them in their low half.
template <class V>
EDGEPOSE_HD auto half_bits(V x) {
  const auto u = as_int(x) & 0x7fffffff;
  const auto sign = (as_int(x) >> 16) & 0x8000;
  const auto normal = (u - (112 << 23) + 0xfff + ((u >> 13) & 1)) >> 13;
  const auto subnormal = as_int(as_float(u) + 0.5f) - 0x3f000000;  // the last place of 0.5 is float16's smallest step
  const auto infinite = u * 0 + 0x7c00, nan = u * 0 + 0x7e00;
  auto h = select(u < 0x38800000, subnormal, normal);
  h = select(u >= 0x477ff000, infinite, h);  // 65,520 and above
  return select(u > 0x7f800000, nan, h) | sign;
}

template <class V>
EDGEPOSE_HD auto bfloat_bits(V x) {
  const auto u = as_bits(x);
  const auto rounded = as_int((u + 0x7fffu + ((u >> 16) & 1u)) >> 16), nan = as_int((u >> 16) | 0x40u);
  return select(x != x, nan, rounded);
}

EDGEPOSE_HD void put(float* p, float x) { *p = x; }
EDGEPOSE_HD void put(half_t* p, float x) { p->bits = static_cast<uint16_t>(half_bits(x)); }
EDGEPOSE_HD void put(bfloat_t* p, float x) { p->bits = static_cast<uint16_t>(bfloat_bits(x)); }

#if !defined(__CUDACC__)
EDGEPOSE_INLINE void store(bfloat_t* p, vf v) { store_bits(p, __builtin_convertvector((vu)bfloat_bits(v), vh)); }
EDGEPOSE_INLINE void store(half_t* p, vf v) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  store_bits(p, _mm512_maskz_cvtps_ph(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__) && !defined(EDGEPOSE_SCALAR)
  store_bits(p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  store_bits(p, __builtin_convertvector((vu)half_bits(v), vh));
#endif
}

template <class T>
EDGEPOSE_INLINE void store_first(T* p, vf v, int count) {
  T padded[kLanes];
  store(padded, v);
  std::memcpy(p, padded, count * sizeof(T));
}
#endif

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
