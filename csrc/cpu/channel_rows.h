// A matrix [M, C], channels last, as one run of vectors. After `period` values lanes and channels meet alike again, so
// what belongs to a channel is written out once for a whole period and loaded like the values themselves.
#pragma once

#include "batch_norm_silu.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {

// A common multiple of C and the lanes, a power of two; long enough that a loop over it pays for its beginning.
EDGEPOSE_INLINE int64_t period_of(int64_t C) {
  int64_t period = C;
  while (period % kLanes || period < 512) period *= 2;
  return period;
}

// visit(i, j, count): `count` values from i on, the first of them at place j of the period. Only a matrix's very last
// vector has fewer than kLanes.
template <class F>
EDGEPOSE_INLINE void each_vector(int64_t begin, int64_t end, int64_t period, F&& visit) {
  for (int64_t start = begin; start < end; start += period) {
    const int64_t length = end - start < period ? end - start : period;
    int64_t j = 0;
    for (; j + kLanes <= length; j += kLanes) visit(start + j, j, kLanes);
    if (j < length) visit(start + j, j, static_cast<int>(length - j));
  }
}

template <class T>
EDGEPOSE_INLINE vf load_some(const T* p, int count) {
  return count == kLanes ? load(p) : load_first(p, count, 0.0f);
}

template <class T>
EDGEPOSE_INLINE void store_some(T* p, vf v, int count) {
  if (count == kLanes) {
    store(p, v);
  } else {
    store_first(p, v, count);
  }
}

// The first C places, again and again for a whole period.
EDGEPOSE_INLINE void repeat(float* places, int64_t period, int64_t C) {
  for (int64_t j = C; j < period; ++j) places[j] = places[j - C];
}

// Values whose sums float32 takes before they go on in double: long chains of additions lose digits.
constexpr int64_t kStretch = 64;  // periods

// The sum over the period's rows of what stands at channel c.
EDGEPOSE_INLINE double fold(const double* places, int64_t period, int64_t C, int64_t c) {
  double sum = 0.0;
  for (int64_t j = c; j < period; j += C) sum += places[j];
  return sum;
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
