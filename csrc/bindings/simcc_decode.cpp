#include <cmath>

#include "launch.h"
#include "ops.h"

namespace edgepose {
namespace {

constexpr const char* kOp = "simcc_decode";

Score score_named(std::string_view name) {
  if (name == "min") return Score::min;
  if (name == "mean") return Score::mean;
  if (name == "max") return Score::max;
  if (name == "softmax") return Score::softmax;
  value_error(kOp, "score expected 'min', 'mean', 'max' or 'softmax', got '" + std::string(name) + "'");
}

// The softmax peak of an ideal label: 1 / Σ exp(β(g(i) − 1)), g a Gaussian of peak 1 on the middle bin. Far from the centre
// g is 0 to double precision, so that those bins need no loop.
double ideal_peak(int64_t bins, double sigma, double beta) {
  const int64_t centre = bins / 2, reach = static_cast<int64_t>(std::ceil(9.0 * sigma));
  const int64_t first = std::max<int64_t>(0, centre - reach), last = std::min<int64_t>(bins - 1, centre + reach);
  double sum = static_cast<double>(bins - (last - first + 1)) * std::exp(-beta);
  for (int64_t i = first; i <= last; ++i) {
    const double d = static_cast<double>(i - centre) / sigma;
    sum += std::exp(beta * (std::exp(-0.5 * d * d) - 1.0));
  }
  return 1.0 / sum;
}

// A network's bins, sigma and beta do not change from frame to frame: the last answer is kept.
float inverse_ideal_peak(int64_t bins, double sigma, double beta) {
  struct Memo {
    int64_t bins = 0;
    double sigma = 0, beta = 0;
    float value = 0;
  };
  thread_local Memo memos[2];  // x and y
  Memo& memo = memos[0].bins == bins && memos[0].sigma == sigma ? memos[0] : memos[1];
  if (memo.bins != bins || memo.sigma != sigma || memo.beta != beta) {
    memos[0] = memos[1];
    memos[1] = {bins, sigma, beta, static_cast<float>(1.0 / ideal_peak(bins, sigma, beta))};
    return memos[1].value;
  }
  return memo.value;
}

}  // namespace

py::object simcc_decode(py::object simcc_x, py::object simcc_y, py::object split_ratio, py::object score, py::object beta,
                        py::object sigma, py::object affine, py::object out) {
  const auto floating = {DType::f32, DType::f16, DType::bf16};
  Argument x(kOp, "simcc_x", simcc_x), y(kOp, "simcc_y", simcc_y);
  x.dtypes(floating).dims(3, "[N, K, Wx]").at_least_one(2, "Wx").contiguous_from(2);
  y.dtypes(floating).dims(3, "[N, K, Wy]").at_least_one(2, "Wy").contiguous_from(2).same_device(x);
  const int64_t N = x.size(0), K = x.size(1);
  y.size_is(0, "N", N, x).size_is(1, "K", K, x);
  if (y.view().dtype != x.view().dtype)
    y.fail_type("expected the dtype of simcc_x (" + x.dtype_text() + "), got " + y.dtype_text());

  SimccDecode args{x, y, {}, {}, {}, {}};
  args.rule.split_ratio = static_cast<float>(positive(kOp, "split_ratio", split_ratio));
  args.rule.score = score_named(choice(kOp, "score", score));
  const double temperature = beta.is_none() ? 1.0 : positive(kOp, "beta", beta);
  args.rule.beta = static_cast<float>(temperature);
  args.rule.scale_x = args.rule.scale_y = 1.0f;
  if (!sigma.is_none()) {
    if (args.rule.score != Score::softmax)
      value_error(kOp, "sigma expected None unless score='softmax', got score='" + score.cast<std::string>() + "'");
    const auto [sx, sy] = positive_pair(kOp, "sigma", sigma);
    args.rule.calibrated = true;
    args.rule.scale_x = inverse_ideal_peak(x.size(2), sx, temperature);
    args.rule.scale_y = inverse_ideal_peak(y.size(2), sy, temperature);
  }
  if (!affine.is_none()) {
    Argument a(kOp, "affine", affine);
    a.dtypes({DType::f32, DType::f64}).dims(3, "[N, 2, 3]").same_device(x).size_is(0, "N", N, x);
    if (a.size(1) != 2 || a.size(2) != 3) a.fail("expected shape [N, 2, 3], got " + a.shape_text());
    args.affine = a;
  }

  auto [keypoints, scores] = out.is_none() ? std::array<py::object, 2>{x.make_float({N, K, 2}), x.make_float({N, K})}
                                           : outputs<2>(kOp, "(keypoints, scores)", out);
  Argument kp(kOp, "out[0]", keypoints, true), sc(kOp, "out[1]", scores, true);
  kp.dtypes({DType::f32}).dims(3, "[N, K, 2]").contiguous_from(2).same_device(x);
  kp.size_is(0, "N", N, x).size_is(1, "K", K, x);
  sc.dtypes({DType::f32}).dims(2, "[N, K]").same_device(x).size_is(0, "N", N, x).size_is(1, "K", K, x);
  if (kp.size(2) != 2) kp.fail("expected shape [N, K, 2], got " + kp.shape_text());
  args.keypoints = kp;
  args.scores = sc;

  const double bytes = static_cast<double>((x.size(2) + y.size(2)) * item_size(x.view().dtype));
  launch<SimccDecode>(x, args, N * K, bytes, EDGEPOSE_LEVELS(simcc_decode), EDGEPOSE_GPU(simcc_decode));
  return py::make_tuple(std::move(keypoints), std::move(scores));
}

}  // namespace edgepose
