// The common end of every op: no items, no launch; otherwise release the GIL and run where the arrays lie.
#pragma once

#include "dispatch.h"
#include "interop.h"
#include "kernels.h"
#include "parallel.h"

namespace edgepose {

// All kernels of the op that takes Args.
template <class Args>
struct Kernels {
  CpuKernel<Args> cpu[4];  // by Level
  CudaKernel<Args> cuda;
};

#if defined(__x86_64__)
#define EDGEPOSE_X86(kernel) kernel
#else
#define EDGEPOSE_X86(kernel) nullptr
#endif
#if defined(EDGEPOSE_WITH_CUDA)
#define EDGEPOSE_CUDA(kernel) kernel
#else
#define EDGEPOSE_CUDA(kernel) nullptr  // never called: without CUDA no argument on a CUDA device passes its checks
#endif
template <class Args>
constexpr Kernels<Args> kKernels{};  // specialized below for every op
#define EDGEPOSE_OP(op, Args)                    \
  template <>                                    \
  inline constexpr Kernels<Args> kKernels<Args>{ \
      {scalar::op, baseline::op, EDGEPOSE_X86(avx2::op), EDGEPOSE_X86(avx512::op)}, EDGEPOSE_CUDA(gpu::op)};
#include "ops.inc"
#undef EDGEPOSE_OP
#undef EDGEPOSE_CUDA
#undef EDGEPOSE_X86

// `cost`: bytes that one item touches, which decides about threads.
template <class Args>
void launch(const Argument& where, const Args& args, int64_t items, double cost) {
  if (items == 0) return;
  void* stream = where.stream();
  py::gil_scoped_release release;
  if (where.view().device.cuda) {
    kKernels<Args>.cuda(args, stream);
  } else {
    const CpuKernel<Args> kernel = kKernels<Args>.cpu[static_cast<int>(current_level())];
    parallel_for(items, cost, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  }
}

// The same for a CPU kernel of two passes, the second of which needs all of the first; `args.pass` tells which. On a
// GPU the stream keeps them apart.
template <class Args>
void launch_two_passes(const Argument& where, Args& args, int64_t items, double cost) {
  args.pass = 0;
  launch(where, args, items, cost);
  if (where.view().device.cuda) return;
  args.pass = 1;
  launch(where, args, items, cost);
}

}  // namespace edgepose
