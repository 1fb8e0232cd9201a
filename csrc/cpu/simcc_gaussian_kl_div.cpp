// simcc_gaussian_kl_div on the CPU: as simcc_kl_div, against labels that exist only as a window of a table.
#include "simcc_gaussian_kl_div.h"

#include "kernels.h"
#include "kl_rows.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// A label that no table holds: exact centers, huge widths, points without a label.
void write_label(float* row, const LabelRule& rule, const LabelAxis& axis, float center, bool labeled) {
  const vf step = to_float(lane_numbers());
  for (int i = 0; i < axis.bins; i += kLanes)  // the row has room for a whole last vector
    store(row + i, labeled ? label_value(rule, axis, step + static_cast<float>(i) - center) : splat(0.0f));
}

struct Axis {
  const ArrayView &logits, &grad;
  const LabelAxis& label;
  const KlTable& table;
  float factor;
  bool second;  // y: its loss is added to that of x
};

// Returns the loss of one axis of one point, already weighted.
template <bool Soft>
float diverge(const SimccGaussianKlDiv& a, const Axis& axis, int64_t n, int64_t k, const LabelPoint& point,
              Scratch& scratch, int64_t room) {
  const int bins = axis.label.bins;
  const float center = axis.second ? point.y : point.x;
  const float* s = widened(axis.logits.at(n, k), axis.logits.dtype, bins, scratch.at(0));
  float *es = axis.grad ? scratch.at(2 * room) : nullptr, *et = scratch.at(3 * room);
  const float* target = et;
  const Ahead ahead(axis.grad ? axis.grad.at(n, k) : nullptr, axis.grad.dtype);
  KlSums sums;
  if (axis.table.target && point.labeled) {
    const int64_t start = axis.table.origin - static_cast<int64_t>(center);
    target = axis.table.target + start;
    sums = sum_row_to_table<Soft>(s, axis.table, start, bins, a.rule, es, ahead);
  } else {
    float* label = scratch.at(room);
    write_label(label, a.label, axis.label, center, point.labeled);
    const float t_peak = point.labeled ? label_peak(a.label, axis.label, center) : 0.0f;
    sums = sum_row<Soft>(s, label, t_peak, bins, a.rule, es, et, ahead);
    if (!Soft) target = label;
  }
  const KlRow row = finish_kl(a.rule, sums, point.weight * axis.factor);
  if (axis.grad) write_gradient(axis.grad.at(n, k), axis.grad.dtype, es, target, bins, row);
  return row.loss;
}

template <bool Soft>
void axis_range(const SimccGaussianKlDiv& a, const Axis& axis, int64_t begin, int64_t end) {
  const int64_t K = a.simcc_x.shape[1], room = padded_row(axis.label.bins);
  Scratch scratch(4 * room);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    const LabelPoint point = label_point(a.label, a.keypoints, a.visible, n, k);
    float value = 0.0f;
    if (point.weight != 0.0f) {
      value = diverge<Soft>(a, axis, n, k, point, scratch, room);
    } else if (axis.grad) {
      std::memset(axis.grad.at(n, k), 0, axis.label.bins * item_size(axis.grad.dtype));
    }
    float* loss = reinterpret_cast<float*>(a.loss.at(n, k));
    *loss = axis.second ? *loss + value : value;
  }
}

// One axis of all points, then the other: logits and gradients of both in turn are four streams, which a core reads and
// writes at little more than half the pace of two.
template <bool Soft>
void gaussian_kl_range(const SimccGaussianKlDiv& a, int64_t begin, int64_t end) {
  axis_range<Soft>(a, {a.simcc_x, a.grad_x, a.label.x, a.table_x, a.factor_x, false}, begin, end);
  axis_range<Soft>(a, {a.simcc_y, a.grad_y, a.label.y, a.table_y, a.factor_y, true}, begin, end);
}

}  // namespace

void simcc_gaussian_kl_div(const SimccGaussianKlDiv& args, int64_t begin, int64_t end) {
  (args.rule.target_beta > 0 ? gaussian_kl_range<true> : gaussian_kl_range<false>)(args, begin, end);
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
