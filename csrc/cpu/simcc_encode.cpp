// simcc_encode on the CPU. With rounded centers every label is a window of one table, so that a row is a copy.
#include "simcc_encode.h"

#include "kernels.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

template <class T>
void copy_window(T* row, const void* table, int64_t origin, float center, int bins, bool around_caches) {
  const T* window = static_cast<const T*>(table) + (origin - static_cast<int64_t>(center));
  if (around_caches) {
    copy_around_caches(reinterpret_cast<char*>(row), reinterpret_cast<const char*>(window), bins * sizeof(T));
  } else {
    std::memcpy(row, window, bins * sizeof(T));
  }
}

template <class T>
void compute_label(T* row, const LabelRule& rule, const LabelAxis& axis, float center) {
  const vf step = to_float(lane_numbers());
  int i = 0;
  for (; i + kLanes <= axis.bins; i += kLanes)
    store(row + i, label_value(rule, axis, step + static_cast<float>(i) - center));
  if (i < axis.bins)
    store_first(row + i, label_value(rule, axis, step + static_cast<float>(i) - center), axis.bins - i);
}

template <class T>
EDGEPOSE_INLINE void encode_axis(char* out, bool labeled, const LabelRule& rule, const LabelAxis& axis,
                                 const void* table, int64_t origin, float center, bool around_caches) {
  T* row = reinterpret_cast<T*>(out);
  if (!labeled) {
    std::memset(row, 0, axis.bins * sizeof(T));
  } else if (table) {
    copy_window(row, table, origin, center, axis.bins, around_caches);
  } else {
    compute_label(row, rule, axis, center);
  }
}

// One axis of all points, then the other: a core writes two streams at once slower than one after the other.
template <class T>
void encode_range(const SimccEncode& a, int64_t begin, int64_t end) {
  const int64_t K = a.keypoints.shape[1];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t n = i / K, k = i % K;
    const LabelPoint point = label_point(a.rule, a.keypoints, a.visible, n, k);
    encode_axis<T>(a.simcc_x.at(n, k), point.labeled, a.rule, a.rule.x, a.table_x, a.origin_x, point.x,
                   a.around_caches);
    *reinterpret_cast<float*>(a.target_weight.at(n, k)) = point.weight;
  }
  for (int64_t i = begin; i < end; ++i) {
    const int64_t n = i / K, k = i % K;
    const LabelPoint point = label_point(a.rule, a.keypoints, a.visible, n, k);
    encode_axis<T>(a.simcc_y.at(n, k), point.labeled, a.rule, a.rule.y, a.table_y, a.origin_y, point.y,
                   a.around_caches);
  }
  finish_copies();
}

}  // namespace

void simcc_encode(const SimccEncode& args, int64_t begin, int64_t end) {
  visit_float(args.simcc_x.dtype, [&](auto tag) { encode_range<typename decltype(tag)::type>(args, begin, end); });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
