#include "heatmap_decode.h"

#include <algorithm>

#include "blur.h"
#include "heatmap.h"
#include "launch.h"

namespace edgepose {
namespace {

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
    value_error(kOp, "blur expected an odd number of cells below 128, got " + text_of(blur));
  args.blur = blur_kernel(half);
  if (!affine.is_none()) {
    Argument a(kOp, "affine", affine);
    check_affine(a, maps);
    args.affine = a;
  }
  auto [keypoints, scores] = out.is_none()
                                 ? std::array<py::object, 2>{maps.make_float({N, K, 2}), maps.make_float({N, K})}
                                 : tuple_of<2>(kOp, "out", "(keypoints, scores)", out);
  Argument kp(kOp, "out[0]", keypoints, true), sc(kOp, "out[1]", scores, true);
  kp.dtypes({DType::f32}).dims(3, "[N, K, 2]").contiguous_from(2).same_device(maps);
  kp.same_points(maps);
  if (kp.size(2) != 2) kp.fail("expected shape [N, K, 2], got " + kp.shape_text());
  match_points(sc, maps);
  args.keypoints = kp;
  args.scores = sc;
  launch(maps, args, N * K, static_cast<double>(map_bytes(maps)));
  return py::make_tuple(std::move(keypoints), std::move(scores));
}

}  // namespace

void bind_heatmap_decode(py::module_& module) { module.def("heatmap_decode", &heatmap_decode); }

}  // namespace edgepose
