#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "scratch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace edgepose {
namespace {

constexpr const char* kNames[] = {"scalar", "baseline", "avx2", "avx512"};

int best_supported() {
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return static_cast<int>(Level::avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    return static_cast<int>(Level::avx2);
#endif
  return static_cast<int>(Level::baseline);
}

int level_named(const std::string& name) {
  for (int level = 0; level <= best_supported(); ++level)
    if (name == kNames[level]) return level;
  std::string known;
  for (const auto& each : simd_levels()) known += (known.empty() ? "" : ", ") + each;
  throw std::invalid_argument("set_simd_level: name expected one of " + known + ", got '" + name + "'");
}

std::atomic<int>& chosen() {
  static std::atomic<int> level{[] {
    const char* wanted = std::getenv("EDGEPOSE_SIMD");  // for tests and for measuring what a smaller machine would do
    return wanted && *wanted ? level_named(wanted) : best_supported();
  }()};
  return level;
}

}  // namespace

// Compiled once, for every machine: kernels, compiled per level, must not emit code of an exception of their own.
void out_of_memory() {
  struct NoMemory : std::bad_alloc {
    const char* what() const noexcept override { return "edgepose: no memory for the work space of a kernel"; }
  };
  throw NoMemory();
}

std::vector<std::string> simd_levels() { return {kNames, kNames + best_supported() + 1}; }
std::string simd_level() { return kNames[chosen()]; }
void set_simd_level(const std::string& name) { chosen() = level_named(name); }

bool has_vnni() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool wide = __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 11 & 1);
  return wide || (__builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1));
#else
  return false;
#endif
}

Level current_level() { return static_cast<Level>(chosen().load(std::memory_order_relaxed)); }

}  // namespace edgepose
