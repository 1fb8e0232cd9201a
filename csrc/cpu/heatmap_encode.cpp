// heatmap_encode on the CPU: a label is the product of two rows of factors, one per axis.
#include "heatmap_encode.h"

#include "kernels.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

void write_factors(float* row, const HeatmapRule& rule, float center, int cells) {
  const vf step = to_float(lane_numbers());
  for (int i = 0; i < cells; i += kLanes)  // the row has room for a whole last vector
    store(row + i, heatmap_factor(rule, step + static_cast<float>(i) - center));
}

template <class T>
void write_map(T* map, const HeatmapRule& rule, const float* across, const float* down) {
  for (int y = 0; y < rule.height; ++y, map += rule.width) {
    const vf factor = splat(down[y]);
    if (down[y] == 0.0f) {
      std::memset(map, 0, rule.width * sizeof(T));
      continue;
    }
    int x = 0;
    for (; x + kLanes <= rule.width; x += kLanes) store(map + x, load(across + x) * factor);
    if (x < rule.width) store_first(map + x, load(across + x) * factor, rule.width - x);
  }
}

}  // namespace

void heatmap_encode(const HeatmapEncode& a, int64_t begin, int64_t end) {
  const int64_t K = a.keypoints.shape[1], room = a.rule.width + kLanes;
  Scratch factors(room + a.rule.height + kLanes);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    const HeatmapPoint point = heatmap_point(a.rule, a.keypoints, a.visible, n, k);
    *reinterpret_cast<float*>(a.target_weight.at(n, k)) = point.weight;
    char* map = a.heatmaps.at(n, k);
    if (!point.labeled) {
      std::memset(map, 0, static_cast<int64_t>(a.rule.width) * a.rule.height * item_size(a.heatmaps.dtype));
      continue;
    }
    write_factors(factors.at(0), a.rule, point.x, a.rule.width);
    write_factors(factors.at(room), a.rule, point.y, a.rule.height);
    visit_float(a.heatmaps.dtype, [&](auto tag) {
      write_map(reinterpret_cast<typename decltype(tag)::type*>(map), a.rule, factors.at(0), factors.at(room));
    });
  }
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
