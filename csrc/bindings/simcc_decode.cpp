#include "simcc_decode.h"

#include <algorithm>
#include <cmath>

#include "blur.h"
#include "launch.h"

namespace edgepose {
namespace {

Score score_named(const char* op, std::string_view name) {
  if (name == "min") return Score::min;
  if (name == "mean") return Score::mean;
  if (name == "max") return Score::max;
  if (name == "softmax") return Score::softmax;
  if (name == "entropy") return Score::entropy;
  value_error(op, "score expected 'min', 'mean', 'max', 'softmax' or 'entropy', got '" + std::string(name) + "'");
}

// What an ideal label scores, g a Gaussian of peak 1 on the middle bin: with t = β(g − 1) over the bins, 1 / Σ eᵗ, and
// for the entropy e^(Σ eᵗ t / Σ eᵗ) times as much. Far from the center g is 0 to double precision: no loop there.
double ideal_score(Score score, int64_t bins, double sigma, double beta) {
  const int64_t center = bins / 2;
  const auto reach = static_cast<int64_t>(std::min(std::ceil(9.0 * sigma), static_cast<double>(bins)));
  const int64_t first = std::max<int64_t>(0, center - reach), last = std::min<int64_t>(bins - 1, center + reach);
  double sum = static_cast<double>(bins - (last - first + 1)) * std::exp(-beta), cross = -beta * sum;
  for (int64_t i = first; i <= last; ++i) {
    const double d = static_cast<double>(i - center) / sigma;
    const double t = beta * (std::exp(-0.5 * d * d) - 1.0);
    sum += std::exp(t);
    cross += std::exp(t) * t;
  }
  return (score == Score::entropy ? std::exp(cross / sum) : 1.0) / sum;
}

// A network's bins, sigma and beta do not change from frame to frame: the last answer is kept.
float inverse_ideal_score(Score score, int64_t bins, double sigma, double beta) {
  struct Memo {
    Score score = Score::min;
    int64_t bins = 0;
    double sigma = 0, beta = 0;
    float value = 0;
  };
  thread_local Memo memos[2];  // x and y
  for (const Memo& memo : memos)
    if (memo.score == score && memo.bins == bins && memo.sigma == sigma && memo.beta == beta) return memo.value;
  memos[0] = memos[1];
  memos[1] = {score, bins, sigma, beta, static_cast<float>(1.0 / ideal_score(score, bins, sigma, beta))};
  return memos[1].value;
}

// mmpose's rule for a label of width sigma: (20σ − 7) // 3 taps, made odd.
BlurKernel dark_kernel(const char* op, double sigma) {
  const double taps = std::floor((20.0 * sigma - 7.0) / 3.0), half = std::max(0.0, std::floor((taps - 1.0) / 2.0));
  if (half > kMaxHalf)
    value_error(
        op, "sigma expected at most 19 bins with refine='dark', got " + py::str(py::float_(sigma)).cast<std::string>());
  return blur_kernel(static_cast<int32_t>(half));
}

// The mirrored pass: logits like x and y, and which keypoint is which.
void read_flipped(const char* op, py::handle flipped, std::string_view shift, double split_ratio, const Argument& x,
                  const Argument& y, SimccDecode& args) {
  auto [fx, fy, table] = tuple_of<3>(op, "flipped", "(flipped_x, flipped_y, swap)", flipped);
  Argument mx(op, "flipped[0]", fx), my(op, "flipped[1]", fy), swap(op, "flipped[2]", table);
  mx.dtypes({x.view().dtype}).dims(3, "[N, K, Wx]").contiguous_from(2).same_device(x);
  my.dtypes({x.view().dtype}).dims(3, "[N, K, Wy]").contiguous_from(2).same_device(x);
  mx.same_points(x).size_is(2, "Wx", x.size(2), x);
  my.same_points(x).size_is(2, "Wy", y.size(2), y);
  swap.dtypes({DType::i64}).dims(1, "[K]").same_device(x).size_is(0, "K", x.size(1), x);
  if (!x.view().device.cuda)
    for (int64_t k = 0; k < swap.size(0); ++k) {
      const int64_t other = *reinterpret_cast<const int64_t*>(swap.view().at(k));
      if (other < 0 || other >= swap.size(0))
        swap.fail("expected indices of keypoints below " + std::to_string(swap.size(0)) + ", got " +
                  std::to_string(other));
    }
  args.flipped_x = mx;
  args.flipped_y = my;
  args.swap = swap;
  if (shift == "mmpose") return;
  if (split_ratio == std::floor(split_ratio) && split_ratio < INT32_MAX) {
    args.rule.mirror_shift = static_cast<int32_t>(split_ratio) - 1;
  } else {
    args.rule.mirror_offset = static_cast<float>((split_ratio - 1.0) / (2.0 * split_ratio));
  }
}

py::object simcc_decode(py::object simcc_x, py::object simcc_y, py::object split_ratio, py::object score,
                        py::object beta, py::object sigma, py::object refine, py::object affine, py::object flipped,
                        py::object flip_shift, py::object out) {
  constexpr const char* kOp = "simcc_decode";
  Argument x(kOp, "simcc_x", simcc_x), y(kOp, "simcc_y", simcc_y);
  x.dtypes(kFloating).dims(3, "[N, K, Wx]").bins(2, "Wx").contiguous_from(2);
  y.dtypes(kFloating).dims(3, "[N, K, Wy]").bins(2, "Wy").contiguous_from(2).same_device(x);
  const int64_t N = x.size(0), K = x.size(1);
  y.same_points(x);
  if (y.view().dtype != x.view().dtype)
    y.fail_type("expected the dtype of simcc_x (" + x.dtype_text() + "), got " + y.dtype_text());

  SimccDecode args{};
  args.simcc_x = x;
  args.simcc_y = y;
  const double ratio = positive(kOp, "split_ratio", split_ratio);
  args.rule.split_ratio = static_cast<float>(ratio);
  args.rule.score = score_named(kOp, choice(kOp, "score", score));
  const double temperature = beta.is_none() ? 1.0 : positive(kOp, "beta", beta);
  args.rule.beta = static_cast<float>(temperature);
  args.rule.scale_x = args.rule.scale_y = 1.0f;
  const std::string_view refinement = choice(kOp, "refine", refine);
  if (refinement != "none" && refinement != "dark")
    value_error(kOp, "refine expected 'none' or 'dark', got '" + std::string(refinement) + "'");
  args.rule.dark = refinement == "dark";
  const bool soft = of_softmax(args.rule.score);
  if (args.rule.dark && sigma.is_none())
    type_error(kOp, "sigma expected two numbers (x, y) with refine='dark', got None");
  if (!sigma.is_none()) {
    if (!soft && !args.rule.dark)
      value_error(kOp, "sigma expected None unless score='softmax', score='entropy' or refine='dark', got score='" +
                           score.cast<std::string>() + "'");
    const auto [sx, sy] = positive_pair(kOp, "sigma", sigma);
    if (soft) {
      DecodeRule& rule = args.rule;
      rule.calibrated = true;
      rule.scale_x = inverse_ideal_score(rule.score, x.size(2), sx, temperature);
      rule.scale_y = inverse_ideal_score(rule.score, y.size(2), sy, temperature);
      // Bins are as wide on both axes, so entropies compare as they are: one measure for both.
      if (rule.score == Score::entropy) rule.scale_x = rule.scale_y = std::max(rule.scale_x, rule.scale_y);
    }
    if (args.rule.dark) args.blur_x = dark_kernel(kOp, sx), args.blur_y = dark_kernel(kOp, sy);
  }
  const std::string_view shift = choice(kOp, "flip_shift", flip_shift);
  if (shift != "exact" && shift != "mmpose")
    value_error(kOp, "flip_shift expected 'exact' or 'mmpose', got '" + std::string(shift) + "'");
  if (!flipped.is_none()) read_flipped(kOp, flipped, shift, ratio, x, y, args);
  if (!affine.is_none()) {
    Argument a(kOp, "affine", affine);
    check_affine(a, x);
    args.affine = a;
  }

  auto [keypoints, scores] = out.is_none() ? std::array<py::object, 2>{x.make_float({N, K, 2}), x.make_float({N, K})}
                                           : tuple_of<2>(kOp, "out", "(keypoints, scores)", out);
  Argument kp(kOp, "out[0]", keypoints, true), sc(kOp, "out[1]", scores, true);
  kp.dtypes({DType::f32}).dims(3, "[N, K, 2]").contiguous_from(2).same_device(x);
  kp.same_points(x);
  sc.dtypes({DType::f32}).dims(2, "[N, K]").same_device(x).same_points(x);
  if (kp.size(2) != 2) kp.fail("expected shape [N, K, 2], got " + kp.shape_text());
  args.keypoints = kp;
  args.scores = sc;

  const double bytes = static_cast<double>((x.size(2) + y.size(2)) * item_size(x.view().dtype));
  launch(x, args, N * K, bytes);
  return py::make_tuple(std::move(keypoints), std::move(scores));
}

}  // namespace

void bind_simcc_decode(py::module_& module) { module.def("simcc_decode", &simcc_decode); }

}  // namespace edgepose
