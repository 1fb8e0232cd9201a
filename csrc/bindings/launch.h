// The common end of every op: no items, no launch; otherwise release the GIL and run where the arrays lie.
#pragma once

#include "dispatch.h"
#include "interop.h"
#include "parallel.h"

namespace edgepose {

#if defined(EDGEPOSE_WITH_CUDA)
#define EDGEPOSE_GPU(name) gpu::name
#else
#define EDGEPOSE_GPU(name) nullptr  // never called: without CUDA kernels no argument on a CUDA device passes its checks
#endif

// `cost`: bytes that one item touches, which decides about threads.
template <class Args>
void launch(const Argument& where, const Args& args, int64_t items, double cost, const Levels<Args>& cpu,
            void (*gpu)(const Args&, void* stream)) {
  if (items == 0) return;
  void* stream = where.stream();
  py::gil_scoped_release release;
  if (where.view().device.cuda) {
    gpu(args, stream);
  } else {
    const CpuKernel<Args> kernel = cpu.best();
    parallel_for(items, cost, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  }
}

// The same for a CPU kernel of two passes, the second of which needs all of the first; `args.pass` tells which. On a
// GPU the stream keeps them apart.
template <class Args>
void launch_two_passes(const Argument& where, Args& args, int64_t items, double cost, const Levels<Args>& cpu,
                       void (*gpu)(const Args&, void* stream)) {
  args.pass = 0;
  launch(where, args, items, cost, cpu, gpu);
  if (where.view().device.cuda) return;
  args.pass = 1;
  launch(where, args, items, cost, cpu, gpu);
}

}  // namespace edgepose
