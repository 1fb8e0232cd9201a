// crop_normalize on the GPU: one thread per pixel of a crop, neighbors in a row on neighboring threads.
#include "crop_normalize.h"
#include "launch.cuh"

namespace edgepose {
namespace gpu {
namespace {

template <class T>
__global__ void crop_kernel(const __grid_constant__ CropNormalize a, unsigned blocks_per_crop) {
  const int width = static_cast<int>(a.out.shape[3]), height = static_cast<int>(a.out.shape[2]);
  const unsigned n = blockIdx.x / blocks_per_crop;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x % blocks_per_crop) * blockDim.x + threadIdx.x;
  if (pixel >= static_cast<int64_t>(width) * height) return;
  const float x = static_cast<float>(pixel % width), y = static_cast<float>(pixel / width);
  float affine[6];
  load_affine(a.affine, n, affine);
  const Warp w = invert(affine);
  const float sx = clamp_coordinate(fma(w.a, x, fma(w.b, y, w.c))),
              sy = clamp_coordinate(fma(w.d, x, fma(w.e, y, w.f)));
  const float left = floor_of(sx), top = floor_of(sy);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const float value =
        sample(a.frame, static_cast<int>(left), static_cast<int>(top), sx - left, sy - top, a.rule.channel[c]);
    T* plane = reinterpret_cast<T*>(a.out.at(n, c));
    put(plane + pixel, fma(value, a.rule.scale[c], a.rule.bias[c]));
  }
}

}  // namespace

void crop_normalize(const CropNormalize& a, void* stream) {
  const OnDevice device(a.frame.device.index);
  constexpr int kThreads = 256;
  const unsigned per_crop = blocks_for(a.out.shape[2] * a.out.shape[3], kThreads);
  const unsigned blocks = blocks_for(a.out.shape[0] * per_crop, 1);
  visit_float(a.out.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    crop_kernel<T><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(a, per_crop);
  });
  check(cudaGetLastError(), "crop_normalize");
}

}  // namespace gpu
}  // namespace edgepose
