// The first maximum of a row on the CPU: one pass finds the maximum and the first block that holds it.
#pragma once

#include "simcc.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

constexpr int kBlock = 4 * kLanes;

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
  vf v[4];
  EDGEPOSE_INLINE vf largest() const { return max(max(v[0], v[1]), max(v[2], v[3])); }
  EDGEPOSE_INLINE vf total() const { return (v[0] + v[1]) + (v[2] + v[3]); }
};

template <class T>
EDGEPOSE_INLINE Block load_block(const T* p) {
  return {{load(p), load(p + kLanes), load(p + 2 * kLanes), load(p + 3 * kLanes)}};
}

template <class T>
EDGEPOSE_INLINE Peak find_peak(const T* row, int bins) {
  if (bins < kBlock) return peak_exact(row, bins);
  // Each lane keeps its maximum and where the block starts that reached it first. The sum of everything is there only
  // to carry a NaN to the end (∞ − ∞ makes one too: then the exact search decides).
  Block block = load_block(row);
  vf best = block.largest(), sum = block.total();
  vi start = {};
  const auto visit = [&](int i) {
    block = load_block(row + i);
    const vf largest = block.largest();
    sum += block.total();
    start = select(largest > best, splat(i), start);
    best = max(largest, best);
  };
  int i = kBlock;
  for (; i + kBlock <= bins; i += kBlock) visit(i);
  if (i < bins) visit(bins - kBlock);  // the last block may overlap: a maximum does not mind being seen twice
  if (is_nan(sum_lanes(sum))) return peak_exact(row, bins);

  const float value = max_lane(best);
  const int first = min_lane(select(best == splat(value), start, splat(bins)));
  block = load_block(row + first);
  uint64_t hits = 0;
  for (int j = 0; j < 4; ++j) hits |= static_cast<uint64_t>(bits(block.v[j] == splat(value))) << (j * kLanes);
  return {value, first + __builtin_ctzll(hits)};
}

}  // namespace
}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
