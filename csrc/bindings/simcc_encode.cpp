#include "simcc_encode.h"

#include "label_tables.h"
#include "launch.h"

namespace edgepose {
namespace {

constexpr double kSqrtTau = 2.5066282746310002;  // √(2π)

// Labels of more bytes than this are evicted from a last-level cache of the usual 32 MiB before they are read.
constexpr double kBeyondCaches = 24 << 20;

LabelAxis label_axis(std::string_view kind, int64_t bins, double sigma, bool normalize, double smoothing) {
  LabelAxis axis{static_cast<int32_t>(bins), static_cast<float>(sigma), 3.0f * static_cast<float>(sigma), 1.0f, 0.0f};
  if (kind == "gaussian" && normalize) axis.peak = static_cast<float>(1.0 / (sigma * kSqrtTau));
  if (kind == "laplace" && normalize) axis.peak = static_cast<float>(1.0 / (2.0 * sigma));
  if (kind == "smooth") {
    axis.peak = static_cast<float>(1.0 - smoothing);
    axis.floor = bins > 1 ? static_cast<float>(smoothing / static_cast<double>(bins - 1)) : 0.0f;
  }
  return axis;
}

Label label_named(const char* op, std::string_view kind) {
  if (kind == "gaussian") return Label::gaussian;
  if (kind == "laplace") return Label::laplace;
  if (kind == "smooth" || kind == "onehot") return Label::spike;
  value_error(op, "kind expected 'gaussian', 'smooth', 'onehot' or 'laplace', got '" + std::string(kind) + "'");
}

py::object simcc_encode(py::object keypoints, py::object visible, py::object input_size, py::object split_ratio,
                        py::object sigma, py::object kind, py::object center, py::object normalize,
                        py::object smoothing, py::object out) {
  constexpr const char* kOp = "simcc_encode";
  Argument points(kOp, "keypoints", keypoints), shown(kOp, "visible", visible);
  check_keypoints(points, shown);
  const int64_t N = points.size(0), K = points.size(1);

  const double ratio = positive(kOp, "split_ratio", split_ratio);
  const auto [width, height] = positive_pair(kOp, "input_size", input_size);
  if (width * ratio > kMaxBins || height * ratio > kMaxBins)
    value_error(kOp, "input_size expected at most 2^30 bins per axis with split_ratio=" + text_of(split_ratio) +
                         ", got " + text_of(input_size));
  const auto Wx = static_cast<int64_t>(width * ratio), Wy = static_cast<int64_t>(height * ratio);
  if (Wx < 1 || Wy < 1)
    value_error(
        kOp, "input_size expected at least one bin per axis, got " + std::to_string(Wx) + " and " + std::to_string(Wy));
  const std::string_view kind_name = choice(kOp, "kind", kind);
  const Label label = label_named(kOp, kind_name);
  const bool exact = is_exact(kOp, center);
  if (exact && label == Label::spike)
    value_error(kOp, "center expected 'round' for kind='" + std::string(kind_name) + "', got 'exact'");
  std::pair<double, double> widths{1.0, 1.0};
  if (label != Label::spike) widths = positive_pair(kOp, "sigma", sigma);
  const double eps = number(kOp, "smoothing", smoothing);
  if (!(eps >= 0 && eps < 1)) value_error(kOp, "smoothing expected a number in [0, 1), got " + text_of(smoothing));

  auto [x, y, weight] = out.is_none()
                            ? std::array<py::object, 3>{points.make_float({N, K, Wx}), points.make_float({N, K, Wy}),
                                                        points.make_float({N, K})}
                            : tuple_of<3>(kOp, "out", "(simcc_x, simcc_y, target_weight)", out);
  Argument ox(kOp, "out[0]", x, true), oy(kOp, "out[1]", y, true), ow(kOp, "out[2]", weight, true);
  ox.dtypes(kFloating).dims(3, "[N, K, Wx]").contiguous_from(2).same_device(points);
  oy.dtypes(kFloating).dims(3, "[N, K, Wy]").contiguous_from(2).same_device(points);
  ow.dtypes({DType::f32}).dims(2, "[N, K]").same_device(points);
  for (Argument* each : {&ox, &oy, &ow}) each->size_is(0, "N", N, points).size_is(1, "K", K, points);
  if (ox.size(2) != Wx) ox.fail("expected Wx=" + std::to_string(Wx) + " bins, got shape " + ox.shape_text());
  if (oy.size(2) != Wy) oy.fail("expected Wy=" + std::to_string(Wy) + " bins, got shape " + oy.shape_text());
  if (oy.view().dtype != ox.view().dtype)
    oy.fail_type("expected the dtype of out[0] (" + ox.dtype_text() + "), got " + oy.dtype_text());

  SimccEncode args{points, shown, ox, oy, ow, {}, nullptr, nullptr, 0, 0, false};
  const bool normal = flag(kOp, "normalize", normalize);
  args.rule = {label, exact, static_cast<float>(ratio), label_axis(kind_name, Wx, widths.first, normal, eps),
               label_axis(kind_name, Wy, widths.second, normal, eps)};
  LabelTable table_x, table_y;
  if (!points.view().device.cuda && N * K > 0) {
    table_x = make_label_table(args.rule, args.rule.x, ox.view().dtype);
    table_y = make_label_table(args.rule, args.rule.y, oy.view().dtype);
    args.table_x = table_x.data(), args.origin_x = table_x.origin;
    args.table_y = table_y.data(), args.origin_y = table_y.origin;
  }
  const double bytes = static_cast<double>((Wx + Wy) * item_size(ox.view().dtype));
  args.around_caches = static_cast<double>(N) * static_cast<double>(K) * bytes > kBeyondCaches;
  launch(points, args, N * K, bytes);
  return py::make_tuple(std::move(x), std::move(y), std::move(weight));
}

}  // namespace

void bind_simcc_encode(py::module_& module) { module.def("simcc_encode", &simcc_encode); }

}  // namespace edgepose
