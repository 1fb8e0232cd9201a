// Checks and work space shared by batch_norm_silu and its gradient.
#pragma once

#include <algorithm>

#include "batch_norm_silu.h"
#include "interop.h"

namespace edgepose {

constexpr int64_t kChunks = 32, kLeastRows = 256;  // chunks of a large matrix; rows below which a chunk is not worth it

// A batch of one has no variance: torch refuses it, too.
inline Argument& check_rows(Argument& x) {
  x.dtypes(kFloating).dims(2, "[M, C]").at_least_one(1, "C").contiguous_from(0);
  if (x.size(0) < 2) x.fail("expected M ≥ 2, got shape " + x.shape_text());
  return x;
}

inline void match_rows(Argument& values, const Argument& x) {
  values.dtypes(kFloating).dims(2, "[M, C]").contiguous_from(0).same_device(x);
  values.size_is(0, "M", x.size(0), x).size_is(1, "C", x.size(1), x);
  if (values.view().dtype != x.view().dtype)
    values.fail_type("expected the dtype of x (" + x.dtype_text() + "), got " + values.dtype_text());
}

inline void match_channels(Argument& values, const Argument& x) {
  values.dtypes({DType::f32}).dims(1, "[C]").contiguous_from(0).same_device(x).size_is(0, "C", x.size(1), x);
}

inline BatchNormRule rule_for(const char* op, const Argument& x, py::handle eps) {
  const int64_t rows = (x.size(0) + kChunks - 1) / kChunks;
  return {static_cast<float>(positive(op, "eps", eps)), std::max(kLeastRows, (rows + 15) / 16 * 16)};
}

// What is shaped like x, and a value of each channel, twice. Arrays made here are float32.
inline py::object new_results(const Argument& x) {
  return py::make_tuple(x.make_float({x.size(0), x.size(1)}), x.make_float({x.size(1)}), x.make_float({x.size(1)}));
}

inline py::object work_space(const Argument& x, const BatchNormRule& rule) {
  return x.make_float({(x.size(0) + rule.chunk_rows - 1) / rule.chunk_rows, 2, x.size(1)});
}

inline double chunk_bytes(const Argument& x, const BatchNormRule& rule) {
  return static_cast<double>(rule.chunk_rows * x.size(1) * item_size(x.view().dtype));
}

}  // namespace edgepose
