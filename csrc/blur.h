// OpenCV's Gaussian of a given size, which mmpose's DARK blurs with.
#pragma once

#include <cmath>

#include "decode.h"

namespace edgepose {

// 2·half + 1 taps: tables up to nine, beyond them a Gaussian of width 0.3·(half − 1) + 0.8.
inline BlurKernel blur_kernel(int32_t half) {
  static constexpr double kSmall[5][5] = {
      {256}, {128, 64}, {96, 64, 16}, {72, 56, 28, 8}, {60, 51, 30, 13, 4}};  // of 256
  const double width = 0.3 * (half - 1.0) + 0.8;
  double weights[kMaxHalf + 1], sum = 0;
  for (int i = 0; i <= half; ++i) {
    weights[i] = half < 5 ? kSmall[half][i] : std::exp(-0.5 * (i / width) * (i / width));
    sum += i == 0 ? weights[i] : 2 * weights[i];
  }
  BlurKernel kernel{half, {}};
  for (int i = 0; i <= half; ++i) kernel.weights[i] = static_cast<float>(weights[i] / sum);
  return kernel;
}

}  // namespace edgepose
