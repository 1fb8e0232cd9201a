#include "simcc_kl_div.h"

#include "launch.h"

namespace edgepose {
namespace {

// `grad` receives the gradient for the student, or is None. Returns the loss.
py::object simcc_kl_div(py::object student, py::object target, py::object beta, py::object target_beta,
                        py::object weight, py::object loss, py::object grad) {
  constexpr const char* kOp = "simcc_kl_div";
  Argument s(kOp, "student", student), t(kOp, "target", target);
  s.dtypes(kFloating).dims(3, "[N, K, B]").bins(2, "B").contiguous_from(2);
  const int64_t N = s.size(0), K = s.size(1), B = s.size(2);
  t.dtypes(kFloating).dims(3, "[N, K, B]").contiguous_from(2).same_device(s);
  t.same_points(s).size_is(2, "B", B, s);

  SimccKlDiv args{s, t, {}, {}, {}, {}};
  args.rule.beta = static_cast<float>(positive(kOp, "beta", beta));
  args.rule.target_beta = target_beta.is_none() ? 0.0f : static_cast<float>(positive(kOp, "target_beta", target_beta));
  if (!weight.is_none()) {
    Argument w(kOp, "weight", weight);
    w.dtypes({DType::f32}).dims(2, "[N, K]").same_device(s).same_points(s);
    args.weight = w;
  }
  if (loss.is_none()) loss = s.make_float({N, K});
  Argument l(kOp, "loss", loss, true);
  l.dtypes({DType::f32}).dims(2, "[N, K]").same_device(s).same_points(s);
  args.loss = l;
  if (!grad.is_none()) {
    Argument g(kOp, "grad", grad, true);
    g.dims(3, "[N, K, B]").contiguous_from(2).same_device(s);
    g.same_points(s).size_is(2, "B", B, s);
    if (g.view().dtype != s.view().dtype)
      g.fail_type("expected the dtype of student (" + s.dtype_text() + "), got " + g.dtype_text());
    args.grad = g;
  }
  const double bytes = static_cast<double>(B * item_size(s.view().dtype)) * (grad.is_none() ? 2 : 3);
  launch(s, args, N * K, bytes);
  return loss;
}

}  // namespace

void bind_simcc_kl_div(py::module_& module) { module.def("simcc_kl_div", &simcc_kl_div); }

}  // namespace edgepose
