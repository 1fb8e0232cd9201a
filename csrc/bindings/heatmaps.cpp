// heatmap_encode, heatmap_decode and heatmap_mse.
#include <algorithm>

#include "blur.h"
#include "launch.h"
#include "ops.h"

namespace edgepose {
namespace {

constexpr double kMaxCells = 1 << 30;  // counted with 32 bits in the kernels

const auto kFloating = {DType::f32, DType::f16, DType::bf16};

// The checks of maps [N, K, h, w].
Argument& check_maps(Argument& maps) {
  maps.dtypes(kFloating).dims(4, "[N, K, h, w]").at_least_one(2, "h").at_least_one(3, "w").contiguous_from(2);
  if (static_cast<double>(maps.size(2)) * static_cast<double>(maps.size(3)) > kMaxCells)
    maps.fail("expected at most 2^30 cells, got shape " + maps.shape_text());
  return maps;
}

void match_maps(Argument& maps, const Argument& other) {
  check_maps(maps).same_device(other).size_is(0, "N", other.size(0), other).size_is(1, "K", other.size(1), other);
  maps.size_is(2, "h", other.size(2), other).size_is(3, "w", other.size(3), other);
}

void match_points(Argument& values, const Argument& maps) {
  values.dtypes({DType::f32}).dims(2, "[N, K]").same_device(maps);
  values.size_is(0, "N", maps.size(0), maps).size_is(1, "K", maps.size(1), maps);
}

int64_t map_bytes(const Argument& maps) { return maps.size(2) * maps.size(3) * item_size(maps.view().dtype); }

}  // namespace

py::object heatmap_encode(py::object keypoints, py::object visible, py::object input_size, py::object heatmap_size,
                          py::object sigma, py::object center, py::object out) {
  constexpr const char* kOp = "heatmap_encode";
  Argument points(kOp, "keypoints", keypoints), shown(kOp, "visible", visible);
  points.dtypes({DType::f32, DType::f64}).dims(3, "[N, K, 2]");
  if (points.size(2) != 2) points.fail("expected shape [N, K, 2], got " + points.shape_text());
  const int64_t N = points.size(0), K = points.size(1);
  shown.dtypes({DType::f32, DType::f64}).dims(2, "[N, K]").same_device(points);
  shown.size_is(0, "N", N, points).size_is(1, "K", K, points);
  const auto input = positive_pair(kOp, "input_size", input_size);
  const auto [width, height] = positive_pair(kOp, "heatmap_size", heatmap_size);
  if (std::max(width, height) > kMaxCells || width * height > kMaxCells)
    value_error(kOp, "heatmap_size expected at most 2^30 cells, got " + py::repr(heatmap_size).cast<std::string>());
  const auto w = static_cast<int64_t>(width), h = static_cast<int64_t>(height);
  if (w < 1 || h < 1)
    value_error(kOp, "heatmap_size expected at least one cell per axis, got " + std::to_string(w) + " and " +
                         std::to_string(h));
  const std::string_view name = choice(kOp, "center", center);
  if (name != "round" && name != "exact")
    value_error(kOp, "center expected 'round' or 'exact', got '" + std::string(name) + "'");

  auto [maps, weight] = out.is_none()
                            ? std::array<py::object, 2>{points.make_float({N, K, h, w}), points.make_float({N, K})}
                            : tuple_of<2>(kOp, "out", "(heatmaps, target_weight)", out);
  Argument om(kOp, "out[0]", maps, true), ow(kOp, "out[1]", weight, true);
  check_maps(om).same_device(points).size_is(0, "N", N, points).size_is(1, "K", K, points);
  if (om.size(2) != h || om.size(3) != w)
    om.fail("expected h=" + std::to_string(h) + " and w=" + std::to_string(w) + ", got shape " + om.shape_text());
  match_points(ow, om);

  const auto spread = static_cast<float>(positive(kOp, "sigma", sigma));
  HeatmapEncode args{points, shown, om, ow, {}};
  args.rule = {static_cast<float>(width / input.first),
               static_cast<float>(height / input.second),
               spread,
               3.0f * spread,
               static_cast<int32_t>(w),
               static_cast<int32_t>(h),
               name == "exact"};
  launch<HeatmapEncode>(points, args, N * K, static_cast<double>(map_bytes(om)), EDGEPOSE_LEVELS(heatmap_encode),
                        EDGEPOSE_GPU(heatmap_encode));
  return py::make_tuple(std::move(maps), std::move(weight));
}

py::object heatmap_decode(py::object heatmaps, py::object input_size, py::object refine, py::object blur,
                          py::object affine, py::object out) {
  constexpr const char* kOp = "heatmap_decode";
  Argument maps(kOp, "heatmaps", heatmaps);
  check_maps(maps);
  const int64_t N = maps.size(0), K = maps.size(1);
  const auto [width, height] = positive_pair(kOp, "input_size", input_size);
  HeatmapDecode args{};
  args.heatmaps = maps;
  args.scale_x = static_cast<float>(width / static_cast<double>(maps.size(3)));
  args.scale_y = static_cast<float>(height / static_cast<double>(maps.size(2)));
  const std::string_view name = choice(kOp, "refine", refine);
  if (name != "none" && name != "quarter" && name != "dark")
    value_error(kOp, "refine expected 'none', 'quarter' or 'dark', got '" + std::string(name) + "'");
  args.refine = name == "dark" ? Refine::dark : name == "quarter" ? Refine::quarter : Refine::none;
  const double taps = positive(kOp, "blur", blur);
  const auto half = static_cast<int32_t>(std::min(taps / 2, 1e6));
  if (taps != 2 * half + 1 || half > kMaxHalf)
    value_error(kOp, "blur expected an odd number of cells below 128, got " + py::repr(blur).cast<std::string>());
  args.blur = blur_kernel(half);
  if (!affine.is_none()) {
    Argument a(kOp, "affine", affine);
    a.dtypes({DType::f32, DType::f64}).dims(3, "[N, 2, 3]").same_device(maps).size_is(0, "N", N, maps);
    if (a.size(1) != 2 || a.size(2) != 3) a.fail("expected shape [N, 2, 3], got " + a.shape_text());
    args.affine = a;
  }
  auto [keypoints, scores] = out.is_none()
                                 ? std::array<py::object, 2>{maps.make_float({N, K, 2}), maps.make_float({N, K})}
                                 : tuple_of<2>(kOp, "out", "(keypoints, scores)", out);
  Argument kp(kOp, "out[0]", keypoints, true), sc(kOp, "out[1]", scores, true);
  kp.dtypes({DType::f32}).dims(3, "[N, K, 2]").contiguous_from(2).same_device(maps);
  kp.size_is(0, "N", N, maps).size_is(1, "K", K, maps);
  if (kp.size(2) != 2) kp.fail("expected shape [N, K, 2], got " + kp.shape_text());
  match_points(sc, maps);
  args.keypoints = kp;
  args.scores = sc;
  launch<HeatmapDecode>(maps, args, N * K, static_cast<double>(map_bytes(maps)), EDGEPOSE_LEVELS(heatmap_decode),
                        EDGEPOSE_GPU(heatmap_decode));
  return py::make_tuple(std::move(keypoints), std::move(scores));
}

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
  if (!(share >= 0 && share <= 1))
    value_error(kOp, "alpha expected a number in [0, 1], got " + py::repr(alpha).cast<std::string>());
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
  launch<HeatmapMse>(s, args, s.size(0) * s.size(1), static_cast<double>(streams * map_bytes(s)),
                     EDGEPOSE_LEVELS(heatmap_mse), EDGEPOSE_GPU(heatmap_mse));
  return loss;
}

}  // namespace edgepose
