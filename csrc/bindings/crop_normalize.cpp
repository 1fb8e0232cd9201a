#include "crop_normalize.h"

#include <algorithm>
#include <cmath>

#include "launch.h"

namespace edgepose {
namespace {

std::array<double, 3> triple(const char* op, const char* name, py::handle object) {
  if (!PySequence_Check(object.ptr()) || PySequence_Size(object.ptr()) != 3)
    type_error(op, std::string(name) + " expected three numbers, got " + text_of(object));
  std::array<double, 3> values;
  for (size_t i = 0; i < 3; ++i) {
    const std::string element = std::string(name) + "[" + std::to_string(i) + "]";
    values[i] = number(op, element.c_str(), py::object(py::reinterpret_borrow<py::sequence>(object)[i]));
    if (!std::isfinite(values[i]))
      value_error(op, element + " expected a finite number, got " + text_of(py::float_(values[i])));
  }
  return values;
}

int64_t whole(const char* op, const char* name, double value) {
  if (value != std::floor(value) || value > (1 << 20))
    value_error(op, std::string(name) + " expected a whole number of pixels, got " + text_of(py::float_(value)));
  return static_cast<int64_t>(value);
}

py::object crop_normalize(py::object frame, py::object affine, py::object input_size, py::object mean, py::object std,
                          py::object channel_order, py::object out) {
  constexpr const char* kOp = "crop_normalize";
  Argument image(kOp, "frame", frame), maps(kOp, "affine", affine);
  image.dtypes({DType::u8}).dims(3, "[H, W, 3]").at_least_one(0, "H").at_least_one(1, "W");
  if (image.size(2) != 3) image.fail("expected shape [H, W, 3], got " + image.shape_text());
  image.contiguous_from(1);
  if (image.size(0) > (1 << 20) || image.size(1) > (1 << 20))
    image.fail("expected at most 2^20 pixels a side, got " + image.shape_text());
  maps.dtypes(kReal).dims(3, "[N, 2, 3]").same_device(image);
  if (maps.size(1) != 2 || maps.size(2) != 3) maps.fail("expected shape [N, 2, 3], got " + maps.shape_text());
  const auto size = positive_pair(kOp, "input_size", input_size);
  const int64_t N = maps.size(0), width = whole(kOp, "input_size[0]", size.first),
                height = whole(kOp, "input_size[1]", size.second);
  const auto means = triple(kOp, "mean", mean), deviations = triple(kOp, "std", std);
  const std::string_view order = choice(kOp, "channel_order", channel_order);
  if (order != "rgb" && order != "bgr")
    value_error(kOp, "channel_order expected 'rgb' or 'bgr', got '" + std::string(order) + "'");

  CropNormalize args{image, maps, {}, {}};
  for (int c = 0; c < 3; ++c) {
    const std::string at = "[" + std::to_string(c) + "]";
    if (deviations[c] == 0) value_error(kOp, "std" + at + " expected a number other than 0, got 0");
    if (std::abs(deviations[c]) < kSmallest || std::abs(deviations[c]) > kLargest)
      value_error(kOp,
                  "std" + at + " expected a magnitude from 1e-30 to 1e30, got " + text_of(py::float_(deviations[c])));
    if (std::abs(means[c]) > kLargest * std::min(1.0, std::abs(deviations[c])))
      value_error(
          kOp, "mean" + at + " expected at most 1e30 and 1e30 · std" + at + ", got " + text_of(py::float_(means[c])));
    args.rule.scale[c] = static_cast<float>(1.0 / deviations[c]);
    args.rule.bias[c] = static_cast<float>(-means[c] / deviations[c]);
    args.rule.channel[c] = order == "rgb" ? 2 - c : c;
  }
  if (out.is_none()) out = image.make_float({N, 3, height, width});
  Argument crops(kOp, "out", out, true);
  crops.dtypes(kFloating).dims(4, "[N, 3, h, w]").contiguous_from(1).same_device(image);
  crops.size_is(0, "N", N, maps);
  if (crops.size(1) != 3 || crops.size(2) != height || crops.size(3) != width)
    crops.fail("expected shape [N, 3, " + std::to_string(height) + ", " + std::to_string(width) + "], got " +
               crops.shape_text());
  args.out = crops;
  // Sampling is work, not traffic: a row weighs what some sixteen bytes a value would.
  launch(image, args, N * height, static_cast<double>(48 * width));
  return out;
}

}  // namespace

void bind_crop_normalize(py::module_& module) { module.def("crop_normalize", &crop_normalize); }

}  // namespace edgepose
