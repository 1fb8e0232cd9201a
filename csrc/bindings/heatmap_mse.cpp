#include "heatmap_mse.h"

#include "heatmap.h"
#include "launch.h"

namespace edgepose {
namespace {

py::object heatmap_mse(py::object student, py::object target, py::object teacher, py::object alpha, py::object weight,
                       py::object teacher_weight, py::object loss, py::object grad) {
  constexpr const char* kOp = "heatmap_mse";
  Argument s(kOp, "student", student), t(kOp, "target", target);
  check_maps(s);
  match_maps(t, s);
  HeatmapMse args{s, t, {}, {}, {}, {}, {}, {0.0f}};
  const auto optional = [&](const char* name, py::handle object, ArrayView& view, auto&& match) {
    if (object.is_none()) return;
    Argument argument(kOp, name, object);
    match(argument, s);
    view = argument;
  };
  optional("teacher", teacher, args.teacher, match_maps);
  optional("weight", weight, args.weight, match_points);
  optional("teacher_weight", teacher_weight, args.teacher_weight, match_points);
  const double share = number(kOp, "alpha", alpha);
  if (!(share >= 0 && share <= 1)) value_error(kOp, "alpha expected a number in [0, 1], got " + text_of(alpha));
  if (args.teacher) args.rule.alpha = static_cast<float>(share);
  if (loss.is_none()) loss = s.make_float({s.size(0), s.size(1)});
  Argument l(kOp, "loss", loss, true);
  match_points(l, s);
  args.loss = l;
  if (!grad.is_none()) {
    Argument g(kOp, "grad", grad, true);
    match_maps(g, s);
    if (g.view().dtype != s.view().dtype)
      g.fail_type("expected the dtype of student (" + s.dtype_text() + "), got " + g.dtype_text());
    args.grad = g;
  }
  const int streams = 2 + (args.teacher ? 1 : 0) + (args.grad ? 1 : 0);
  launch(s, args, s.size(0) * s.size(1), static_cast<double>(streams * map_bytes(s)));
  return loss;
}

}  // namespace

void bind_heatmap_mse(py::module_& module) { module.def("heatmap_mse", &heatmap_mse); }

}  // namespace edgepose
