// Memory that comes anew from Linux comes page by page, at a fault each: gradients of 30 MB took twice as long in calls
// before which malloc had given memory back. With huge pages there is one fault for 2 MiB. numpy asks for them in its
// own arrays; torch does not.
#include "interop.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace edgepose {

#if defined(__linux__)

void prefer_huge_pages(const ArrayView& array) {
  constexpr int64_t kLarge = 4 << 20;  // as numpy: below that hardly a huge page fits in
  if (array.device.cuda || array.ndim > kMaxDims) return;
  int64_t bytes = item_size(array.dtype);
  for (int d = array.ndim - 1; d >= 0; --d) {
    if (array.shape[d] != 1 && array.strides[d] != bytes) return;  // others' values lie in between
    bytes *= array.shape[d];
  }
  if (bytes < kLarge) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), start = reinterpret_cast<uintptr_t>(array.data);
  const uintptr_t first = (start + page - 1) / page * page, end = (start + bytes) / page * page;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // advice: where it is refused all is as before
}

#else

void prefer_huge_pages(const ArrayView&) {}

#endif

}  // namespace edgepose
