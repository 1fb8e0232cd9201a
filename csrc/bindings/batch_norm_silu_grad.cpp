#include "batch_norm_silu_grad.h"

#include "launch.h"
#include "norm.h"

namespace edgepose {
namespace {

py::object batch_norm_silu_grad(py::object x, py::object grad, py::object weight, py::object bias, py::object mean,
                                py::object var, py::object eps, py::object out) {
  constexpr const char* kOp = "batch_norm_silu_grad";
  Argument values(kOp, "x", x), g(kOp, "grad", grad), w(kOp, "weight", weight), b(kOp, "bias", bias);
  Argument m(kOp, "mean", mean), v(kOp, "var", var);
  check_rows(values);
  match_rows(g, values);
  for (Argument* each : {&w, &b, &m, &v}) match_channels(*each, values);
  const BatchNormRule rule = rule_for(kOp, values, eps);
  if (out.is_none()) out = new_results(values);
  auto [in_x, in_weight, in_bias] = tuple_of<3>(kOp, "out", "(grad_x, grad_weight, grad_bias)", out);
  Argument gx(kOp, "out[0]", in_x, true), gw(kOp, "out[1]", in_weight, true), gb(kOp, "out[2]", in_bias, true);
  match_rows(gx, values);
  match_channels(gw, values);
  match_channels(gb, values);
  const py::object partial = work_space(values, rule);
  BatchNormSiluGrad args{values, g, w, b, m, v, gx, gw, gb, Argument(kOp, "work space", partial, true), rule, 0};
  launch_two_passes(values, args, args.partial.shape[0], 3 * chunk_bytes(values, rule));
  return out;
}

}  // namespace

void bind_batch_norm_silu_grad(py::module_& module) { module.def("batch_norm_silu_grad", &batch_norm_silu_grad); }

}  // namespace edgepose
