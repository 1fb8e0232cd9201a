#include "simcc_gaussian_kl_div.h"

#include <algorithm>
#include <cmath>

#include "label_tables.h"
#include "launch.h"

namespace edgepose {
namespace {

LabelAxis gaussian_axis(int64_t bins, double sigma, bool normalize) {
  const auto width = static_cast<float>(sigma);
  const double area = sigma * 2.5066282746310002;  // σ√(2π)
  return {static_cast<int32_t>(bins), width, 3.0f * width, normalize ? static_cast<float>(1.0 / area) : 1.0f, 0.0f};
}

py::object simcc_gaussian_kl_div(py::object simcc_x, py::object simcc_y, py::object keypoints, py::object visible,
                                 py::object split_ratio, py::object sigma, py::object center, py::object normalize,
                                 py::object beta, py::object target_beta, py::object bin_mean, py::object loss,
                                 py::object grad) {
  constexpr const char* kOp = "simcc_gaussian_kl_div";
  Argument x(kOp, "simcc_x", simcc_x), y(kOp, "simcc_y", simcc_y);
  Argument points(kOp, "keypoints", keypoints), shown(kOp, "visible", visible);
  x.dtypes(kFloating).dims(3, "[N, K, Wx]").bins(2, "Wx").contiguous_from(2);
  y.dtypes(kFloating).dims(3, "[N, K, Wy]").bins(2, "Wy").contiguous_from(2).same_device(x);
  const int64_t N = x.size(0), K = x.size(1);
  y.same_points(x);
  if (y.view().dtype != x.view().dtype)
    y.fail_type("expected the dtype of simcc_x (" + x.dtype_text() + "), got " + y.dtype_text());
  points.dtypes(kReal).dims(3, "[N, K, 2]").same_device(x).same_points(x);
  if (points.size(2) != 2) points.fail("expected shape [N, K, 2], got " + points.shape_text());
  shown.dtypes(kReal).dims(2, "[N, K]").same_device(x).same_points(x);

  SimccGaussianKlDiv args{};
  args.simcc_x = x;
  args.simcc_y = y;
  args.keypoints = points;
  args.visible = shown;
  const bool exact = is_exact(kOp, center);
  const bool normal = flag(kOp, "normalize", normalize), mean = flag(kOp, "bin_mean", bin_mean);
  const auto [sx, sy] = positive_pair(kOp, "sigma", sigma);
  args.label = {Label::gaussian, exact, static_cast<float>(positive(kOp, "split_ratio", split_ratio)),
                gaussian_axis(x.size(2), sx, normal), gaussian_axis(y.size(2), sy, normal)};
  args.rule.beta = static_cast<float>(positive(kOp, "beta", beta));
  args.rule.target_beta = target_beta.is_none() ? 0.0f : static_cast<float>(positive(kOp, "target_beta", target_beta));
  args.factor_x = mean ? 1.0f / static_cast<float>(x.size(2)) : 1.0f;
  args.factor_y = mean ? 1.0f / static_cast<float>(y.size(2)) : 1.0f;

  if (loss.is_none()) loss = x.make_float({N, K});
  Argument l(kOp, "loss", loss, true);
  l.dtypes({DType::f32}).dims(2, "[N, K]").same_device(x).same_points(x);
  args.loss = l;
  if (!grad.is_none()) {
    const auto [grad_x, grad_y] = tuple_of<2>(kOp, "grad", "(grad_x, grad_y)", grad);
    Argument gx(kOp, "grad[0]", grad_x, true), gy(kOp, "grad[1]", grad_y, true);
    gx.dtypes({x.view().dtype}).dims(3, "[N, K, Wx]").contiguous_from(2).same_device(x);
    gy.dtypes({x.view().dtype}).dims(3, "[N, K, Wy]").contiguous_from(2).same_device(x);
    gx.same_points(x).size_is(2, "Wx", x.size(2), x);
    gy.same_points(x).size_is(2, "Wy", y.size(2), y);
    args.grad_x = gx;
    args.grad_y = gy;
  }
  KlTables table_x, table_y;
  if (!x.view().device.cuda && N * K > 0) {
    table_x = make_kl_tables(args.label, args.label.x, args.rule);
    table_y = make_kl_tables(args.label, args.label.y, args.rule);
    args.table_x = table_x.view;
    args.table_y = table_y.view;
  }
  const double bytes =
      static_cast<double>((x.size(2) + y.size(2)) * item_size(x.view().dtype)) * (grad.is_none() ? 1 : 2);
  launch(x, args, N * K, bytes);
  return loss;
}

}  // namespace

void bind_simcc_gaussian_kl_div(py::module_& module) { module.def("simcc_gaussian_kl_div", &simcc_gaussian_kl_div); }

}  // namespace edgepose
