// The first maximum of a row on the CPU: one pass finds the maximum and the first block that holds it.
#pragma once

#include "simcc.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

constexpr int kParts = kLanes == 8 ? 8 : 4;  // vectors of a block: 64 bins with AVX-512 and AVX2
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
  EDGEPOSE_INLINE vf largest() const {
    const vf first = max(max(v[0], v[1]), max(v[2], v[3]));
    if constexpr (kParts == 4) return first;
    return max(first, max(max(v[kParts - 4], v[kParts - 3]), max(v[kParts - 2], v[kParts - 1])));
  }
};

template <class T>
EDGEPOSE_INLINE Block load_block(const T* p) {
  Block block{{load(p), load(p + kLanes), load(p + 2 * kLanes), load(p + 3 * kLanes)}};
  for (int j = 4; j < kParts; ++j) block.v[j] = load(p + j * kLanes);
  return block;
}

template <class T>
EDGEPOSE_INLINE Peak find_peak(const T* row, int bins) {
  if (bins < kBlock) return peak_exact(row, bins);
  // Each lane keeps its maximum and where the block starts that reached it first.
  NanWatch nan;
  vf best = splat(-HUGE_VALF);
  vi start = {}, here = {};
  Block block;
  const auto visit = [&](int i) {
    block = load_block(row + i);
    for (int j = 0; j < kParts; j += 2) nan.see(block.v[j], block.v[j + 1]);
    const vf largest = block.largest();
    start = select(largest > best, here, start);
    best = max(largest, best);
  };
  // Rows of numpy arrays begin anywhere: loads that straddle cache lines take twice as long, so the blocks after the
  // first start on one. Blocks may overlap: a maximum does not mind being seen twice.
  const int past = static_cast<int>(reinterpret_cast<uintptr_t>(row) / sizeof(T)) % kLanes;
  int i = 0;
  if (past) {
    visit(0);
    i = kLanes - past;
    here = splat(i);
  }
  for (; i + kBlock <= bins; i += kBlock, here += splat(kBlock)) visit(i);
  if (i < bins) {
    here = splat(bins - kBlock);
    visit(bins - kBlock);
  }
  if (nan.any()) return peak_exact(row, bins);

  const float value = max_lane(best);
  const vi winners = best == splat(value);
  const uint32_t lanes = bits(winners);
  const bool tied = lanes & (lanes - 1);  // else the lane that has it knows the block
  const int first = tied ? min_lane(select(winners, start, splat(bins))) : start[__builtin_ctz(lanes)];
  block = load_block(row + first);
  uint64_t hits = 0;
  for (int j = 0; j < kParts; ++j) hits |= static_cast<uint64_t>(bits(block.v[j] == splat(value))) << (j * kLanes);
  return {value, first + __builtin_ctzll(hits)};
}

}  // namespace
}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
