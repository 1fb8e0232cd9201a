// Work space of a CPU kernel: plain malloc, because kernels are compiled for several instruction sets and must not
// instantiate anything, such as std::vector, that the linker could share between them.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "simd.h"

namespace edgepose {

[[noreturn]] void out_of_memory();  // throws what Python sees as MemoryError

inline namespace EDGEPOSE_LEVEL {

constexpr int64_t kCacheLine = 16;  // floats

// Floats of a row that the next one follows: whole cache lines, with room for a last vector.
EDGEPOSE_INLINE int64_t padded_row(int64_t bins) { return (bins + kLanes + kCacheLine - 1) / kCacheLine * kCacheLine; }

// Begins on a cache line: vectors that straddle two take twice as long.
class Scratch {
 public:
  EDGEPOSE_INLINE explicit Scratch(int64_t floats)
      : memory_(std::malloc((floats + kCacheLine) * sizeof(float))),
        data_(reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory_) + 63) & ~uintptr_t{63})) {
    if (!memory_) out_of_memory();
  }
  EDGEPOSE_INLINE ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  EDGEPOSE_INLINE float* at(int64_t offset) { return data_ + offset; }

 private:
  void* memory_;
  float* data_;
};

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
