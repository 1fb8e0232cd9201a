// Checks shared by the heat-map ops.
#pragma once

#include "interop.h"

namespace edgepose {

constexpr double kMaxCells = 1 << 30;  // counted with 32 bits in the kernels

// The checks of maps [N, K, h, w].
inline Argument& check_maps(Argument& maps) {
  maps.dtypes(kFloating).dims(4, "[N, K, h, w]").at_least_one(2, "h").at_least_one(3, "w").contiguous_from(2);
  if (static_cast<double>(maps.size(2)) * static_cast<double>(maps.size(3)) > kMaxCells)
    maps.fail("expected at most 2^30 cells, got shape " + maps.shape_text());
  return maps;
}

inline void match_maps(Argument& maps, const Argument& other) {
  check_maps(maps).same_device(other).same_points(other);
  maps.size_is(2, "h", other.size(2), other).size_is(3, "w", other.size(3), other);
}

inline void match_points(Argument& values, const Argument& maps) {
  values.dtypes({DType::f32}).dims(2, "[N, K]").same_device(maps);
  values.same_points(maps);
}

inline int64_t map_bytes(const Argument& maps) { return maps.size(2) * maps.size(3) * item_size(maps.view().dtype); }

}  // namespace edgepose
