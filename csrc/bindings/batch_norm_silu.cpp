#include "batch_norm_silu.h"

#include "launch.h"
#include "norm.h"

namespace edgepose {
namespace {

py::object batch_norm_silu(py::object x, py::object weight, py::object bias, py::object eps, py::object out) {
  constexpr const char* kOp = "batch_norm_silu";
  Argument values(kOp, "x", x), w(kOp, "weight", weight), b(kOp, "bias", bias);
  check_rows(values);
  match_channels(w, values);
  match_channels(b, values);
  const BatchNormRule rule = rule_for(kOp, values, eps);
  if (out.is_none()) out = new_results(values);
  auto [result, mean, var] = tuple_of<3>(kOp, "out", "(y, mean, var)", out);
  Argument y(kOp, "out[0]", result, true), m(kOp, "out[1]", mean, true), v(kOp, "out[2]", var, true);
  match_rows(y, values);
  match_channels(m, values);
  match_channels(v, values);
  const py::object partial = work_space(values, rule);
  BatchNormSilu args{values, w, b, y, m, v, Argument(kOp, "work space", partial, true), rule, 0};
  launch_two_passes(values, args, args.partial.shape[0], 2 * chunk_bytes(values, rule));
  return out;
}

}  // namespace

void bind_batch_norm_silu(py::module_& module) { module.def("batch_norm_silu", &batch_norm_silu); }

}  // namespace edgepose
