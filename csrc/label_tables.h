// Labels on whole bins are windows of one row of values: what the CPU kernels copy from instead of computing
// exponentials.
#pragma once

#include <cmath>
#include <vector>

#include "simcc_encode.h"
#include "simcc_gaussian_kl_div.h"

namespace edgepose {

// A label at the distances −origin … origin; `origin` is also the center's place. Empty where it would not pay.
struct LabelTable {
  std::vector<char> bytes;
  int64_t origin = 0;
  const void* data() const { return bytes.empty() ? nullptr : bytes.data(); }
};

inline int64_t label_origin(const LabelRule& rule, const LabelAxis& axis) {
  const double origin =
      axis.bins + std::ceil(static_cast<double>(axis.reach)) + 2;  // all that a label in range can see
  return rule.exact || origin > (1 << 16) ? 0 : static_cast<int64_t>(origin);
}

inline LabelTable make_label_table(const LabelRule& rule, const LabelAxis& axis, DType dtype) {
  LabelTable table;
  table.origin = label_origin(rule, axis);
  if (table.origin == 0) return table;
  table.bytes.resize((2 * table.origin + 1) * item_size(dtype));
  visit_float(dtype, [&](auto tag) {
    auto* values = reinterpret_cast<typename decltype(tag)::type*>(table.bytes.data());
    for (int64_t d = 0; d <= table.origin; ++d) {
      put(values + table.origin + d, label_value(rule, axis, static_cast<float>(d)));
      values[table.origin - d] = values[table.origin + d];
    }
  });
  return table;
}

// Target numerators and running sums of a divergence (KlTable).
struct KlTables {
  std::vector<float> target;
  std::vector<double> sums;
  KlTable view{nullptr, nullptr, nullptr, 0};
};

inline KlTables make_kl_tables(const LabelRule& rule, const LabelAxis& axis, const KlRule& kl) {
  KlTables tables;
  const int64_t origin = label_origin(rule, axis), size = 2 * origin + 1;
  const bool soft = kl.target_beta > 0;
  // Softmaxes are taken relative to the label's peak, which may lie outside the row: not where that would underflow.
  if (origin == 0 || kl.target_beta * axis.peak > 60.0f) return tables;
  tables.target.resize(size);
  tables.sums.resize(2 * (size + 1));
  float* target = tables.target.data();
  double *sums = tables.sums.data(), *own_sums = sums + size + 1;
  for (int64_t i = 0; i < size; ++i) {
    const float t = label_value(rule, axis, static_cast<float>(i - origin));
    const float scaled = (t - axis.peak) * kl.target_beta * kLog2e;
    target[i] = soft ? exp2_nonpositive(scaled) : t;
    sums[i + 1] = sums[i] + target[i];
    own_sums[i + 1] = own_sums[i] + (soft ? target[i] * scaled : x_log_x(t));
  }
  tables.view = {target, sums, own_sums, origin};
  return tables;
}

}  // namespace edgepose
