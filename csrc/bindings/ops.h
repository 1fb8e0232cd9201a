// The ops as Python calls them. Each is defined in the file of its name.
#pragma once

#include <string_view>

#include "interop.h"

namespace edgepose {

py::object batch_norm_silu(py::object x, py::object weight, py::object bias, py::object eps, py::object out);

py::object batch_norm_silu_grad(py::object x, py::object grad, py::object weight, py::object bias, py::object mean,
                                py::object var, py::object eps, py::object out);

py::object crop_normalize(py::object frame, py::object affine, py::object input_size, py::object mean, py::object std,
                          py::object channel_order, py::object out);

py::object heatmap_decode(py::object heatmaps, py::object input_size, py::object refine, py::object blur,
                          py::object affine, py::object out);

py::object heatmap_encode(py::object keypoints, py::object visible, py::object input_size, py::object heatmap_size,
                          py::object sigma, py::object center, py::object out);

py::object heatmap_mse(py::object student, py::object target, py::object teacher, py::object alpha, py::object weight,
                       py::object teacher_weight, py::object loss, py::object grad);

py::object simcc_decode(py::object simcc_x, py::object simcc_y, py::object split_ratio, py::object score,
                        py::object beta, py::object sigma, py::object refine, py::object affine, py::object flipped,
                        py::object flip_shift, py::object out);

py::object simcc_encode(py::object keypoints, py::object visible, py::object input_size, py::object split_ratio,
                        py::object sigma, py::object kind, py::object center, py::object normalize, py::object smoothing,
                        py::object out);

py::object simcc_gaussian_kl_div(py::object simcc_x, py::object simcc_y, py::object keypoints, py::object visible,
                                 py::object split_ratio, py::object sigma, py::object center, py::object normalize,
                                 py::object beta, py::object target_beta, py::object bin_mean, py::object loss,
                                 py::object grad);

py::object simcc_kl_div(py::object student, py::object target, py::object beta, py::object target_beta,
                        py::object weight, py::object loss, py::object grad);

}  // namespace edgepose
