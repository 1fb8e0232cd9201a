// A matrix [M, C], channels last, in blocks of 32 channels and a chunk of rows: lanes walk along the channels, warps
// down the rows.
#pragma once

#include "batch_norm_silu.h"
#include "launch.cuh"

namespace edgepose {
namespace gpu {

constexpr int kRowsAtOnce = 16;  // warps of a block
constexpr int kChunkBlock = kRowsAtOnce * kWarp;

inline auto chunk_grid(const ArrayView& x, const ArrayView& partial) {
  return blocks_for(partial.shape[0] * ((x.shape[1] + kWarp - 1) / kWarp), 1);
}

// The part of the matrix that a block works on, and the channel of this thread in it.
struct ChunkOfChannels {
  int64_t C, chunk, c, first, rows;  // `first`: where the channel's first value lies; `rows`: those of the chunk
  int lane, warp;
  bool inside, writes;  // whether there is such a channel; whether this thread writes what the block joined

  __device__ ChunkOfChannels(const ArrayView& x, int64_t chunk_rows) {
    C = x.shape[1];
    const int64_t tiles = (C + kWarp - 1) / kWarp;
    chunk = blockIdx.x / tiles;
    lane = threadIdx.x % kWarp;
    warp = threadIdx.x / kWarp;
    c = blockIdx.x % tiles * kWarp + lane;
    first = chunk * chunk_rows * C + c;
    rows = x.shape[0] - chunk * chunk_rows < chunk_rows ? x.shape[0] - chunk * chunk_rows : chunk_rows;
    inside = c < C;
    writes = inside && warp == 0;
  }

  // visit(i) for this warp's share of the rows, i counted from `first`.
  template <class F>
  __device__ __forceinline__ void each_row(F&& visit) const {
    if (!inside) return;
    for (int64_t row = warp; row < rows; row += kRowsAtOnce) visit(row * C);
  }

  // The sum of what the warps hold for a channel, for the thread that writes; always in the same order.
  __device__ __forceinline__ double join(double value) const {
    __shared__ double shares[kRowsAtOnce][kWarp];
    __syncthreads();
    shares[warp][lane] = value;
    __syncthreads();
    double sum = 0.0;
    if (warp == 0)
      for (int other = 0; other < kRowsAtOnce; ++other) sum += shares[other][lane];
    return sum;
  }

  __device__ __forceinline__ void put(const ArrayView& partial /* [chunks, 2, C] */, float a, float b) const {
    channels(partial)[2 * chunk * C + c] = a;
    channels(partial)[(2 * chunk + 1) * C + c] = b;
  }
};

}  // namespace gpu
}  // namespace edgepose
