// batch_norm_silu on the GPU, two launches: every chunk's mean and squared deviations, then the values.
#include "batch_norm_silu.h"
#include "channel_rows.cuh"

namespace edgepose {
namespace gpu {
namespace {

template <class T>
__global__ void sum_chunks(const __grid_constant__ BatchNormSilu a) {
  const ChunkOfChannels at(a.x, a.rule.chunk_rows);
  const T* x = reinterpret_cast<const T*>(a.x.data) + at.first;
  const int64_t count = at.rows;
  // The chunk's first value is taken off before squaring: it is among the values, so little cancels.
  const float first = at.inside ? to_float(x[0]) : 0.0f, shift = first - first == 0.0f ? first : 0.0f;
  double sum = 0.0, squares = 0.0;
  at.each_row([&](int64_t i) {
    const double apart = static_cast<double>(to_float(x[i]) - shift);
    sum += apart;
    squares += apart * apart;
  });
  sum = at.join(sum);
  squares = at.join(squares);
  if (!at.writes) return;
  const double mean = sum / static_cast<double>(count), around = squares - sum * mean;
  at.put(a.partial, static_cast<float>(static_cast<double>(shift) + mean),
         static_cast<float>(around < 0.0 ? 0.0 : around));
}

template <class T>
__global__ void write_values(const __grid_constant__ BatchNormSilu a) {
  const ChunkOfChannels at(a.x, a.rule.chunk_rows);
  if (!at.inside) return;
  const Moments moments = join_moments(channels(a.partial), a.rule.chunk_rows, a.x.shape[0], at.C, at.c);
  const float scale = channels(a.weight)[at.c] * inverse_std(moments.var, a.rule.eps), bias = channels(a.bias)[at.c];
  if (at.chunk == 0 && at.warp == 0) {
    channels(a.mean)[at.c] = moments.mean;
    channels(a.var)[at.c] = moments.var;
  }
  const T* x = reinterpret_cast<const T*>(a.x.data) + at.first;
  T* y = reinterpret_cast<T*>(a.y.data) + at.first;
  at.each_row([&](int64_t i) { put(y + i, silu(fmaf(to_float(x[i]) - moments.mean, scale, bias))); });
}

}  // namespace

void batch_norm_silu(const BatchNormSilu& a, void* stream) {
  const OnDevice device(a.x.device.index);
  visit_float(a.x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto s = static_cast<cudaStream_t>(stream);
    sum_chunks<T><<<chunk_grid(a.x, a.partial), kChunkBlock, 0, s>>>(a);
    write_values<T><<<chunk_grid(a.x, a.partial), kChunkBlock, 0, s>>>(a);
  });
  check(cudaGetLastError(), "batch_norm_silu");
}

}  // namespace gpu
}  // namespace edgepose
