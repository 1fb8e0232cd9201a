// Arrays as kernels see them: a pointer, a shape, byte strides, a dtype and a device. No framework, no ownership.
#pragma once

#include <cstdint>

// Kernel sources are compiled several times with different instruction sets. What they share through headers is always
// inlined and lies in a namespace of its own per level: the linker must never pick an AVX-512 body for everyone.
#define EDGEPOSE_INLINE inline __attribute__((always_inline))
#if defined(__CUDACC__)
#define EDGEPOSE_HD __host__ __device__ __forceinline__
#else
#define EDGEPOSE_HD EDGEPOSE_INLINE
#endif
#if !defined(EDGEPOSE_LEVEL)
#if defined(__CUDACC__)
#define EDGEPOSE_LEVEL gpu
#else
#define EDGEPOSE_LEVEL host
#endif
#endif

namespace edgepose {

enum class DType : uint8_t { u8, i64, f16, bf16, f32, f64, other };

struct Device {
  bool cuda = false;
  int32_t index = 0;
  bool operator==(const Device& o) const { return cuda == o.cuda && index == o.index; }
  bool operator!=(const Device& o) const { return !(*this == o); }
};

constexpr int kMaxDims = 4;

// Up to four dimensions. Strides are in bytes, so any view that numpy can make is representable, unaligned ones too.
struct ArrayView {
  char* data = nullptr;
  int64_t shape[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};
  int32_t ndim = 0;
  DType dtype = DType::other;
  Device device = {};

  explicit operator bool() const { return ndim != 0; }  // an optional argument that was left out has no dimension

  EDGEPOSE_HD char* at(int64_t i) const { return data + i * strides[0]; }
  EDGEPOSE_HD char* at(int64_t i, int64_t j) const { return data + i * strides[0] + j * strides[1]; }
};

EDGEPOSE_INLINE int64_t item_size(DType dtype) {
  switch (dtype) {
    case DType::u8: return 1;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::f32: return 4;
    case DType::i64:
    case DType::f64: return 8;
    default: return 0;
  }
}

// Storage types of logits. Arithmetic is float32 throughout; numeric.h (scalar) and simd.h (vectors) load them.
struct half_t {
  uint16_t bits;
};
struct bfloat_t {
  uint16_t bits;
};

template <class T>
struct Tag {
  using type = T;
};

// Calls `f(Tag<T>{})` with the storage type of a floating dtype that passed the checks of the binding.
template <class F>
EDGEPOSE_INLINE void visit_float(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f16: f(Tag<half_t>{}); break;
    case DType::bf16: f(Tag<bfloat_t>{}); break;
    default: f(Tag<float>{}); break;
  }
}

}  // namespace edgepose
