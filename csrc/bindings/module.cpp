#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "dispatch.h"
#include "parallel.h"

namespace edgepose {

#define EDGEPOSE_OP(op, Args) void bind_##op(pybind11::module_& module);
#include "ops.inc"
#undef EDGEPOSE_OP

}  // namespace edgepose

namespace {
#if defined(EDGEPOSE_WITH_CUDA)
constexpr bool kWithCuda = true;
#else
constexpr bool kWithCuda = false;
#endif
}  // namespace

PYBIND11_MODULE(_C, m, pybind11::mod_gil_not_used()) {
  using namespace edgepose;
  m.doc() = "Compiled kernels of edgepose; edgepose.ops is the public API.";
#define EDGEPOSE_OP(op, Args) bind_##op(m);
#include "ops.inc"
#undef EDGEPOSE_OP
  m.def("simd_levels", &simd_levels, "SIMD levels this processor can run, slowest first.");
  m.def("simd_level", &simd_level, "The SIMD level in use.");
  m.def("set_simd_level", &set_simd_level, "Choose another SIMD level for the whole process.");
  m.def("has_vnni", &has_vnni, "Whether this is an x86-64 processor that adds products of bytes without overflow.");
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads);
  m.attr("with_cuda") = kWithCuda;
}
