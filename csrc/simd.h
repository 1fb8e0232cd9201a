// Portable vectors of float32 and int32, as wide as the level this file is compiled for: 16 lanes (AVX-512), 8 (AVX2),
// 4 (SSE2, NEON) or 1 (scalar). GCC's and Clang's vector extensions give the arithmetic; intrinsics stand only where
// the extensions have no word (or a slow one) for an instruction. (AVX-512 intrinsics in their zero-masking form: the
// plain ones make GCC 12 warn of uninitialized values inside its own headers.)
#pragma once

#include <cstdint>
#include <cstring>

#include "array.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {

#if defined(EDGEPOSE_SCALAR)
constexpr int kLanes = 1;
#elif defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float vf __attribute__((vector_size(4 * kLanes)));
typedef int32_t vi __attribute__((vector_size(4 * kLanes)));
typedef uint16_t vh __attribute__((vector_size(2 * kLanes)));  // sixteen-bit storage
typedef uint32_t vu __attribute__((vector_size(4 * kLanes)));

EDGEPOSE_INLINE vf splat(float x) { return x - vf{}; }
EDGEPOSE_INLINE vi splat(int32_t x) { return x - vi{}; }
EDGEPOSE_INLINE vi as_int(vf x) { return (vi)x; }
EDGEPOSE_INLINE vu as_bits(vf x) { return (vu)x; }
EDGEPOSE_INLINE vu as_bits(vi x) { return (vu)x; }
EDGEPOSE_INLINE vi as_int(vu x) { return (vi)x; }
EDGEPOSE_INLINE vf as_float(vi x) { return (vf)x; }
EDGEPOSE_INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }
EDGEPOSE_INLINE vf select(vi mask, vf a, vf b) { return mask ? a : b; }
EDGEPOSE_INLINE vi select(vi mask, vi a, vi b) { return mask ? a : b; }

EDGEPOSE_INLINE vi lane_numbers() {
  vi lanes = {};
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  return lanes;
}

// a·b + c, with one rounding where the hardware has the instruction.
EDGEPOSE_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && !defined(EDGEPOSE_SCALAR)
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// The larger lane; where `a` is NaN, x86 gives b and ARM gives NaN: callers look for NaN separately.
EDGEPOSE_INLINE vf max(vf a, vf b) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__ARM_NEON) && !defined(EDGEPOSE_SCALAR)
  return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return a > b ? a : b;
#endif
}

// The smaller lane; where `a` is NaN as in max().
EDGEPOSE_INLINE vf min(vf a, vf b) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm_min_ps((__m128)a, (__m128)b);
#elif defined(__ARM_NEON) && !defined(EDGEPOSE_SCALAR)
  return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return a < b ? a : b;
#endif
}

// Into [low, high]; NaN stays NaN.
EDGEPOSE_INLINE vf clamp(vf x, float low, float high) { return min(splat(high), max(splat(low), x)); }

// 1 / x within 2^-23, for normal x whose inverse is normal, too.
EDGEPOSE_INLINE vf reciprocal(vf x) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  const vf guess = (vf)_mm512_maskz_rcp14_ps(0xffff, (__m512)x);  // half the time of a division, with Newton's step
  return guess * fma(-x, guess, splat(2.0f));
#else
  return 1.0f / x;
#endif
}

// One bit per lane of a comparison's result, lane 0 lowest.
EDGEPOSE_INLINE uint32_t bits(vi mask) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint32_t result = 0;
  for (int i = 0; i < kLanes; ++i) result |= (mask[i] & 1u) << i;
  return result;
#endif
}

// One bit per lane where two vectors are equal. (Of bits(a == b) GCC makes a mask, a vector of it, and a mask again.)
EDGEPOSE_INLINE uint32_t equal_bits(vf a, vf b) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
#else
  return bits(a == b);
#endif
}

// The same vector, in a register: GCC would otherwise read it from memory once for every use.
EDGEPOSE_INLINE vf in_register(vf v) {
#if defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  asm("" : "+v"(v));
#endif
  return v;
}

// Whether a NaN was among the values seen; x86 has one instruction that asks two vectors at once.
class NanWatch {
 public:
  EDGEPOSE_INLINE void see(vf a, vf b) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
    none_ = _mm512_mask_cmp_ps_mask(none_, (__m512)a, (__m512)b, _CMP_ORD_Q);
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
    seen_ |= (vi)_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_UNORD_Q);
#elif defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
    seen_ |= (vi)_mm_cmpunord_ps((__m128)a, (__m128)b);
#else
    seen_ |= (a != a) | (b != b);
#endif
  }
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  EDGEPOSE_INLINE bool any() const { return none_ != 0xffff; }

 private:
  __mmask16 none_ = 0xffff;
#else
  EDGEPOSE_INLINE bool any() const { return bits(seen_); }

 private:
  vi seen_ = {};
#endif
};

// Halving tree over the lanes: each step folds the upper half onto the lower.
template <class V, class F>
EDGEPOSE_INLINE auto reduce(V v, F&& combine) {
#if defined(__GNUC__) && !defined(__clang__)
  for (int half = kLanes / 2; half > 0; half /= 2) v = combine(v, __builtin_shuffle(v, lane_numbers() ^ splat(half)));
#else
  for (int half = kLanes / 2; half > 0; half /= 2) {
    V other = v;
    for (int i = 0; i < half; ++i) other[i] = v[i + half];
    v = combine(v, other);
  }
#endif
  return v[0];
}

EDGEPOSE_INLINE float max_lane(vf v) {
  return reduce(v, [](vf a, vf b) { return max(a, b); });
}

EDGEPOSE_INLINE int32_t min_lane(vi v) {
  return reduce(v, [](vi a, vi b) { return select(a < b, a, b); });
}

EDGEPOSE_INLINE float sum_lanes(vf v) {
  return reduce(v, [](vf a, vf b) { return a + b; });
}

template <class V>
EDGEPOSE_INLINE V load_bits(const void* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class V>
EDGEPOSE_INLINE void store_bits(void* p, V v) {
  std::memcpy(p, &v, sizeof v);
}

// Unaligned loads of kLanes stored values, widened to float32.
EDGEPOSE_INLINE vf load(const float* p) { return load_bits<vf>(p); }

// Sixteen bits into the low half of each lane. GCC 12 would widen them in two halves.
EDGEPOSE_INLINE vu load_shorts(const void* p) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vu)_mm512_maskz_cvtepu16_epi32(0xffff, load_bits<__m256i>(p));
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  return (vu)_mm256_cvtepu16_epi32(load_bits<__m128i>(p));
#else
  return __builtin_convertvector(load_bits<vh>(p), vu);
#endif
}

EDGEPOSE_INLINE vf load(const bfloat_t* p) { return (vf)(load_shorts(p) << 16); }

EDGEPOSE_INLINE vf load(const half_t* p) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm512_maskz_cvtph_ps(0xffff, load_bits<__m256i>(p));
#elif defined(__F16C__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm256_cvtph_ps(load_bits<__m128i>(p));
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(EDGEPOSE_SCALAR)
  return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
#else
  const vu h = load_shorts(p);
  // Move exponent and fraction to float32's places; the factor 2^112 mends the bias, for subnormals too.
  const vf magnitude = (vf)((h & 0x7fffu) << 13) * splat(0x1p112f);
  const vu special = (vu)((h & 0x7c00u) == 0x7c00u) & 0x7f800000u;  // inf and NaN keep the all-ones exponent
  return (vf)((vu)magnitude | special | ((h & 0x8000u) << 16));
#endif
}

// The first `count` (< kLanes) values; the other lanes are `fill`.
template <class T>
EDGEPOSE_INLINE vf load_first(const T* p, int count, float fill) {
  T padded[kLanes] = {};
  std::memcpy(padded, p, count * sizeof(T));
  return select(lane_numbers() < splat(count), load(padded), splat(fill));
}

// ---- one pixel: four float32 lanes at every level ----

typedef float f4 __attribute__((vector_size(16)));

EDGEPOSE_INLINE f4 load_pixel(const float* p) { return load_bits<f4>(p); }

// Four bytes as floats. The vector extensions would convert them one by one.
EDGEPOSE_INLINE f4 load_pixel(const char* p) {
#if defined(__SSE4_1__)
  return (f4)_mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(load_bits<int32_t>(p))));
#elif defined(__SSE2__)
  const __m128i zero = _mm_setzero_si128(), bytes = _mm_cvtsi32_si128(load_bits<int32_t>(p));
  return (f4)_mm_cvtepi32_ps(_mm_unpacklo_epi16(_mm_unpacklo_epi8(bytes, zero), zero));
#elif defined(__ARM_NEON)
  const uint16x8_t shorts = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(load_bits<uint32_t>(p))));
  return (f4)vcvtq_f32_u32(vmovl_u16(vget_low_u16(shorts)));
#else
  typedef uint8_t u4 __attribute__((vector_size(4)));
  return __builtin_convertvector(load_bits<u4>(p), f4);
#endif
}

// a + t (b − a)
EDGEPOSE_INLINE f4 mix(f4 a, f4 b, float t) {
#if defined(__FMA__)
  return (f4)_mm_fmadd_ps((__m128)(b - a), _mm_set1_ps(t), (__m128)a);
#else
  return a + t * (b - a);
#endif
}

EDGEPOSE_INLINE vf load(const uint8_t* p) {
#if defined(__AVX512F__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepu8_epi32(0xffff, load_bits<__m128i>(p)));
#elif defined(__AVX2__) && !defined(EDGEPOSE_SCALAR)
  return (vf)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(load_bits<int64_t>(p))));
#elif defined(EDGEPOSE_SCALAR)
  return vf{static_cast<float>(*p)};
#else
  return load_pixel(reinterpret_cast<const char*>(p));
#endif
}

// Picks four lanes out of eight: those of a, then those of b.
template <int A, int B, int C, int D, class V>
EDGEPOSE_INLINE V shuffle(V a, V b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, A, B, C, D);
#else
  typedef int32_t index __attribute__((vector_size(16)));
  return __builtin_shuffle(a, b, index{A, B, C, D});
#endif
}

EDGEPOSE_INLINE void store(float* p, vf v) { store_bits(p, v); }

// memcpy around the caches: a line that is written as a whole need not be fetched first. Slower where the caches would
// have held it. Other threads see the values after finish_copies().
EDGEPOSE_INLINE void copy_around_caches(char* to, const char* from, int64_t bytes) {
#if defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
  constexpr int64_t kLine = 64;
  const auto before = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(to) % kLine);
  const int64_t head = before < bytes ? before : bytes;
  std::memcpy(to, from, head);
  int64_t i = head;
  for (; i + kLine <= bytes; i += kLine) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), load_bits<__m512i>(from + i));
#else
    for (int64_t j = i; j < i + kLine; j += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + j), load_bits<__m128i>(from + j));
#endif
  }
  std::memcpy(to + i, from + i, bytes - i);
#else
  std::memcpy(to, from, bytes);
#endif
}

EDGEPOSE_INLINE void finish_copies() {
#if defined(__SSE2__) && !defined(EDGEPOSE_SCALAR)
  _mm_sfence();
#endif
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
