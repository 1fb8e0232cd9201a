#include "dispatch.h"
#include "ops.h"
#include "parallel.h"

namespace {
#if defined(EDGEPOSE_WITH_CUDA)
constexpr bool kWithCuda = true;
#else
constexpr bool kWithCuda = false;
#endif
}  // namespace

PYBIND11_MODULE(_C, m, pybind11::mod_gil_not_used()) {
  using namespace edgepose;
  m.doc() = "Compiled kernels of edgepose; edgepose.ops is the public door.";
  m.def("batch_norm_silu", &batch_norm_silu);
  m.def("batch_norm_silu_grad", &batch_norm_silu_grad);
  m.def("crop_normalize", &crop_normalize);
  m.def("heatmap_decode", &heatmap_decode);
  m.def("heatmap_encode", &heatmap_encode);
  m.def("heatmap_mse", &heatmap_mse);
  m.def("simcc_decode", &simcc_decode);
  m.def("simcc_encode", &simcc_encode);
  m.def("simcc_gaussian_kl_div", &simcc_gaussian_kl_div);
  m.def("simcc_kl_div", &simcc_kl_div);
  m.def("simd_levels", &simd_levels, "SIMD levels this processor can run, slowest first.");
  m.def("simd_level", &simd_level, "The SIMD level in use.");
  m.def("set_simd_level", &set_simd_level, "Choose another SIMD level for the whole process.");
  m.def("has_vnni", &has_vnni, "Whether this is an x86-64 processor that adds products of bytes without overflow.");
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.attr("with_cuda") = kWithCuda;
}
