// The first maximum of a row on the CPU: one pass finds the maximum and the first block that holds it.
#pragma once

#include "decode.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

constexpr int kParts = 4;  // vectors of a block
constexpr int kBlock = kParts * kLanes;

// Rows shorter than a block, and rows with a NaN somewhere.
template <class T>
Peak peak_exact(const T* row, int bins) {
  Peak peak = no_peak();
  for (int i = 0; i < bins; ++i) {
    const float x = to_float(row[i]);
    if (is_nan(x)) return {x, 0};
    peak = better(peak, {x, i});
  }
  return peak;
}

struct Block {
  vf v[kParts];
  EDGEPOSE_INLINE vf largest() const { return max(max(v[0], v[1]), max(v[2], v[3])); }
};

template <class T>
EDGEPOSE_INLINE Block load_block(const T* p) {
  Block block;
  for (int j = 0; j < kParts; ++j) block.v[j] = in_register(load(p + j * kLanes));
  return block;
}

// What one pass over a row leaves: each lane's maximum, and where the block starts that reached it first.
struct Maxima {
  vf best;
  vi start;
  bool exact;  // a short row or one with a NaN: look at it bin by bin
};

template <class T>
EDGEPOSE_INLINE void find_maxima(const T* row, int bins, Maxima& maxima) {
  maxima.exact = true;
  if (bins < kBlock) return;
  NanWatch even, odd;  // two, because each waits for what it saw last
  vf best = splat(-HUGE_VALF);
  vi start = {}, here = {};
  const auto keep = [&](vf largest) {
    start = select(largest > best, here, start);
    best = max(largest, best);
  };
  const auto visit = [&](int i) {
    const Block block = load_block(row + i);
    even.see(block.v[0], block.v[1]);
    odd.see(block.v[2], block.v[3]);
    keep(block.largest());
  };
  // Rows of numpy arrays begin anywhere: loads that straddle cache lines take twice as long, so the blocks after the
  // first start on one. Blocks may overlap: seeing a value twice does not change the maximum.
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(row) / sizeof(T) % kLanes);
  int i = 0;
  if (past) {
    const vf head = load(row);
    even.see(head, head);
    keep(head);
    i = kLanes - past;
    here = splat(i);
  }
  for (; i + kBlock <= bins; i += kBlock, here += splat(kBlock)) visit(i);
  if (i < bins) {
    here = splat(bins - kBlock);
    visit(bins - kBlock);
  }
  maxima.best = best;
  maxima.start = start;
  maxima.exact = even.any() || odd.any();
}

template <class T>
EDGEPOSE_INLINE Peak first_peak(const T* row, int bins, const Maxima& maxima) {
  if (maxima.exact) return peak_exact(row, bins);
  const float value = max_lane(maxima.best);
  const vf peak = splat(value);
  const uint32_t lanes = equal_bits(maxima.best, peak);
  const bool tied = lanes & (lanes - 1);  // else the lane that has it knows the block
  const int first =
      tied ? min_lane(select(maxima.best == peak, maxima.start, splat(bins))) : maxima.start[__builtin_ctz(lanes)];
  uint64_t hits = 0;
  for (int j = 0; j < kParts; ++j)
    hits |= static_cast<uint64_t>(equal_bits(load(row + first + j * kLanes), peak)) << (j * kLanes);
  return {value, first + __builtin_ctzll(hits)};
}

template <class T>
EDGEPOSE_INLINE Peak find_peak(const T* row, int bins) {
  Maxima maxima;
  find_maxima(row, bins, maxima);
  return first_peak(row, bins, maxima);
}

}  // namespace
}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
