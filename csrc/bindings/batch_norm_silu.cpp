// batch_norm_silu and batch_norm_silu_grad.
#include <algorithm>

#include "launch.h"
#include "ops.h"

namespace edgepose {
namespace {

constexpr int64_t kChunks = 32, kLeastRows = 256;  // chunks of a large matrix; rows below which a chunk is not worth it

const auto kFloating = {DType::f32, DType::f16, DType::bf16};

// A batch of one has no variance: torch refuses it, too.
Argument& check_rows(Argument& x) {
  x.dtypes(kFloating).dims(2, "[M, C]").at_least_one(1, "C").contiguous_from(0);
  if (x.size(0) < 2) x.fail("expected M ≥ 2, got shape " + x.shape_text());
  return x;
}

void match_rows(Argument& values, const Argument& x) {
  values.dtypes(kFloating).dims(2, "[M, C]").contiguous_from(0).same_device(x);
  values.size_is(0, "M", x.size(0), x).size_is(1, "C", x.size(1), x);
  if (values.view().dtype != x.view().dtype)
    values.fail_type("expected the dtype of x (" + x.dtype_text() + "), got " + values.dtype_text());
}

void match_channels(Argument& values, const Argument& x) {
  values.dtypes({DType::f32}).dims(1, "[C]").contiguous_from(0).same_device(x).size_is(0, "C", x.size(1), x);
}

BatchNormRule rule_for(const char* op, const Argument& x, py::handle eps) {
  const int64_t rows = (x.size(0) + kChunks - 1) / kChunks;
  return {static_cast<float>(positive(op, "eps", eps)), std::max(kLeastRows, (rows + 15) / 16 * 16)};
}

// What is shaped like x, and a value of each channel, twice. Arrays made here are float32.
py::object new_results(const Argument& x) {
  return py::make_tuple(x.make_float({x.size(0), x.size(1)}), x.make_float({x.size(1)}), x.make_float({x.size(1)}));
}

py::object work_space(const Argument& x, const BatchNormRule& rule) {
  return x.make_float({(x.size(0) + rule.chunk_rows - 1) / rule.chunk_rows, 2, x.size(1)});
}

double chunk_bytes(const Argument& x, const BatchNormRule& rule) {
  return static_cast<double>(rule.chunk_rows * x.size(1) * item_size(x.view().dtype));
}

}  // namespace

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
  launch_two_passes<BatchNormSilu>(values, args, args.partial.shape[0], 2 * chunk_bytes(values, rule),
                                   EDGEPOSE_LEVELS(batch_norm_silu), EDGEPOSE_GPU(batch_norm_silu));
  return out;
}

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
  launch_two_passes<BatchNormSiluGrad>(values, args, args.partial.shape[0], 3 * chunk_bytes(values, rule),
                                       EDGEPOSE_LEVELS(batch_norm_silu_grad), EDGEPOSE_GPU(batch_norm_silu_grad));
  return out;
}

}  // namespace edgepose
