// The kernels of every op in ops.inc, as declarations. An op's arguments are one plain struct, defined in the header of
// its name, filled and checked by its binding.
#pragma once

#include <cstdint>

#include "array.h"

namespace edgepose {

inline namespace EDGEPOSE_LEVEL {}  // namespace EDGEPOSE_LEVEL

#define EDGEPOSE_OP(op, Args) struct Args;
#include "ops.inc"
#undef EDGEPOSE_OP

// A CPU kernel computes the items [begin, end) of its index space; the caller decides about threads.
template <class Args>
using CpuKernel = void (*)(const Args& args, int64_t begin, int64_t end);

#define EDGEPOSE_OP(op, Args) void op(const Args& args, int64_t begin, int64_t end);
namespace scalar {
#include "ops.inc"
}
namespace baseline {
#include "ops.inc"
}
#if defined(__x86_64__)
namespace avx2 {
#include "ops.inc"
}
namespace avx512 {
#include "ops.inc"
}
#endif
#undef EDGEPOSE_OP

// A CUDA kernel is enqueued on the caller's stream, on the device of its arrays, and returns at once.
template <class Args>
using CudaKernel = void (*)(const Args& args, void* stream);

#define EDGEPOSE_OP(op, Args) void op(const Args& args, void* stream);
namespace gpu {
#include "ops.inc"
}
#undef EDGEPOSE_OP

}  // namespace edgepose
