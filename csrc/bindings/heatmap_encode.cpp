#include "heatmap_encode.h"

#include <algorithm>

#include "heatmap.h"
#include "launch.h"

namespace edgepose {
namespace {

py::object heatmap_encode(py::object keypoints, py::object visible, py::object input_size, py::object heatmap_size,
                          py::object sigma, py::object center, py::object out) {
  constexpr const char* kOp = "heatmap_encode";
  Argument points(kOp, "keypoints", keypoints), shown(kOp, "visible", visible);
  check_keypoints(points, shown);
  const int64_t N = points.size(0), K = points.size(1);
  const auto input = positive_pair(kOp, "input_size", input_size);
  const auto [width, height] = positive_pair(kOp, "heatmap_size", heatmap_size);
  if (std::max(width, height) > kMaxCells || width * height > kMaxCells)
    value_error(kOp, "heatmap_size expected at most 2^30 cells, got " + text_of(heatmap_size));
  const auto w = static_cast<int64_t>(width), h = static_cast<int64_t>(height);
  if (w < 1 || h < 1)
    value_error(kOp, "heatmap_size expected at least one cell per axis, got " + std::to_string(w) + " and " +
                         std::to_string(h));
  const bool exact = is_exact(kOp, center);

  auto [maps, weight] = out.is_none()
                            ? std::array<py::object, 2>{points.make_float({N, K, h, w}), points.make_float({N, K})}
                            : tuple_of<2>(kOp, "out", "(heatmaps, target_weight)", out);
  Argument om(kOp, "out[0]", maps, true), ow(kOp, "out[1]", weight, true);
  check_maps(om).same_device(points).same_points(points);
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
               exact};
  launch(points, args, N * K, static_cast<double>(map_bytes(om)));
  return py::make_tuple(std::move(maps), std::move(weight));
}

}  // namespace

void bind_heatmap_encode(py::module_& module) { module.def("heatmap_encode", &heatmap_encode); }

}  // namespace edgepose
