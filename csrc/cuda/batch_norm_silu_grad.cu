// batch_norm_silu_grad on the GPU, two launches that both compute z again: every chunk's sums, then the gradient.
#include "batch_norm_silu_grad.h"
#include "channel_rows.cuh"

namespace edgepose {
namespace gpu {
namespace {

struct Channel {
  float mean, rstd, weight, bias;

  __device__ Channel(const BatchNormSiluGrad& a, int64_t c)
      : mean(channels(a.mean)[c]),
        rstd(inverse_std(channels(a.var)[c], a.rule.eps)),
        weight(channels(a.weight)[c]),
        bias(channels(a.bias)[c]) {}

  // Of the loss in z, where its gradient in y is `grad`.
  __device__ float slope(float centered, float grad) const {
    return grad * silu_slope(fmaf(centered, weight * rstd, bias));
  }
};

template <class T>
__global__ void sum_chunks(const __grid_constant__ BatchNormSiluGrad a) {
  const ChunkOfChannels at(a.x, a.rule.chunk_rows);
  const T* x = reinterpret_cast<const T*>(a.x.data) + at.first;
  const T* grad = reinterpret_cast<const T*>(a.grad_y.data) + at.first;
  const Channel p(a, at.inside ? at.c : 0);
  double plain = 0.0, centered = 0.0;
  at.each_row([&](int64_t i) {
    const float apart = to_float(x[i]) - p.mean, slope = p.slope(apart, to_float(grad[i]));
    plain += static_cast<double>(slope);
    centered += static_cast<double>(slope * apart);
  });
  plain = at.join(plain);
  centered = at.join(centered);
  if (at.writes) at.put(a.partial, static_cast<float>(plain), static_cast<float>(centered));
}

template <class T>
__global__ void write_gradient(const __grid_constant__ BatchNormSiluGrad a) {
  const ChunkOfChannels at(a.x, a.rule.chunk_rows);
  if (!at.inside) return;
  const Channel p(a, at.c);
  const ChannelSlopes joined =
      join_slopes(channels(a.partial), a.partial.shape[0], a.x.shape[0], at.C, at.c, p.weight, p.rstd);
  if (at.chunk == 0 && at.warp == 0) {
    channels(a.grad_weight)[at.c] = joined.weight;
    channels(a.grad_bias)[at.c] = joined.bias;
  }
  const T* x = reinterpret_cast<const T*>(a.x.data) + at.first;
  const T* grad = reinterpret_cast<const T*>(a.grad_y.data) + at.first;
  T* out = reinterpret_cast<T*>(a.grad_x.data) + at.first;
  const float scale = p.weight * p.rstd;
  at.each_row([&](int64_t i) {
    const float apart = to_float(x[i]) - p.mean, slope = p.slope(apart, to_float(grad[i]));
    put(out + i, fmaf(scale, slope, fmaf(apart, joined.tilt, joined.level)));
  });
}

}  // namespace

void batch_norm_silu_grad(const BatchNormSiluGrad& a, void* stream) {
  const OnDevice device(a.x.device.index);
  visit_float(a.x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto s = static_cast<cudaStream_t>(stream);
    sum_chunks<T><<<chunk_grid(a.x, a.partial), kChunkBlock, 0, s>>>(a);
    write_gradient<T><<<chunk_grid(a.x, a.partial), kChunkBlock, 0, s>>>(a);
  });
  check(cudaGetLastError(), "batch_norm_silu_grad");
}

}  // namespace gpu
}  // namespace edgepose
