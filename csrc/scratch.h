// Work space of a CPU kernel: plain malloc, because kernels are compiled for several instruction sets and must not
// instantiate anything, such as std::vector, that the linker could share between them.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "array.h"

namespace edgepose {

[[noreturn]] void out_of_memory();  // throws what Python sees as MemoryError

inline namespace EDGEPOSE_LEVEL {

class Scratch {
 public:
  EDGEPOSE_INLINE explicit Scratch(int64_t floats) : data_(static_cast<float*>(std::malloc(floats * sizeof(float)))) {
    if (!data_) out_of_memory();
  }
  EDGEPOSE_INLINE ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  EDGEPOSE_INLINE float* at(int64_t offset) { return data_ + offset; }

 private:
  float* data_;
};

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
