// Which CPU kernels run, and on how many threads.
#pragma once

#include <string>
#include <vector>

namespace edgepose {

enum class Level : int { scalar, baseline, avx2, avx512 };

std::vector<std::string> simd_levels();        // those this processor can run, slowest first
std::string simd_level();                      // the one in use
void set_simd_level(const std::string& name);  // throws std::invalid_argument
Level current_level();
bool has_vnni();  // sums of products of bytes do not overflow on the way

}  // namespace edgepose
