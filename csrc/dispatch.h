// Which CPU kernels run, and on how many threads.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace edgepose {

enum class Level : int { scalar, baseline, avx2, avx512 };

std::vector<std::string> simd_levels();        // those this processor can run, slowest first
std::string simd_level();                      // the one in use
void set_simd_level(const std::string& name);  // throws std::invalid_argument
Level current_level();
bool has_vnni();  // sums of products of bytes do not overflow on the way

// All levels of one kernel; `best()` is the one in use.
template <class Args>
struct Levels {
  CpuKernel<Args> kernels[4];
  CpuKernel<Args> best() const { return kernels[static_cast<int>(current_level())]; }
};

#if defined(__x86_64__)
#define EDGEPOSE_LEVELS(name)                                \
  {                                                          \
    {                                                        \
      scalar::name, baseline::name, avx2::name, avx512::name \
    }                                                        \
  }
#else
#define EDGEPOSE_LEVELS(name)                        \
  {                                                  \
    {                                                \
      scalar::name, baseline::name, nullptr, nullptr \
    }                                                \
  }
#endif

}  // namespace edgepose
