// heatmap_decode on the CPU: the map is read once for its peak; refinements look at its surroundings.
#include "heatmap_decode.h"

#include "kernels.h"
#include "peak.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

template <class T>
struct Map {
  const T* values;
  int width, height;

  EDGEPOSE_INLINE float at(int x, int y) const { return to_float(values[y * width + x]); }
  EDGEPOSE_INLINE bool holds(int x, int y) const { return x >= 0 && y >= 0 && x < width && y < height; }
};

// Blurred values at the thirteen points around (x, y): rows first, then columns. Outside the map is zero.
template <class T>
void blur_around(const Map<T>& map, int x, int y, const BlurKernel& kernel, float* blurred) {
  constexpr int kSpan = 5;  // columns x − 2 … x + 2
  float rows[2 * kMaxHalf + 5][kSpan];
  const int reach = kernel.half + 2;
  for (int dy = -reach; dy <= reach; ++dy)
    for (int i = 0; i < kSpan; ++i) {
      float sum = 0.0f;
      for (int t = -kernel.half; t <= kernel.half; ++t) {
        const int tx = x - 2 + i + t;
        if (map.holds(tx, y + dy)) sum += kernel.weights[t < 0 ? -t : t] * map.at(tx, y + dy);
      }
      rows[dy + reach][i] = sum;
    }
  for (int point = 0; point < kDarkPoints; ++point) {
    const Offset o = dark_point(point);
    const int column = static_cast<int>(o.x) + 2, middle = static_cast<int>(o.y) + reach;
    float sum = kernel.weights[0] * rows[middle][column];
    for (int t = 1; t <= kernel.half; ++t)
      sum += kernel.weights[t] * (rows[middle - t][column] + rows[middle + t][column]);
    blurred[point] = sum;
  }
}

template <class T>
Offset refine(const Map<T>& map, int x, int y, const HeatmapDecode& a) {
  Offset offset{0.0f, 0.0f};
  if (a.refine == Refine::quarter) {
    if (x > 0 && x < map.width - 1) offset.x = quarter_step(map.at(x - 1, y), map.at(x + 1, y));
    if (y > 0 && y < map.height - 1) offset.y = quarter_step(map.at(x, y - 1), map.at(x, y + 1));
  } else if (a.refine == Refine::dark && dark_fits(x, y, map.width, map.height)) {
    float blurred[kDarkPoints];
    blur_around(map, x, y, a.blur, blurred);
    offset = dark_step(blurred, a.blur.half);
  }
  return offset;
}

template <class T>
void decode_range(const HeatmapDecode& a, int64_t begin, int64_t end) {
  const int64_t K = a.heatmaps.shape[1];
  const int height = static_cast<int>(a.heatmaps.shape[2]), width = static_cast<int>(a.heatmaps.shape[3]);
  float affine[6] = {};
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    if (a.affine && (item == begin || k == 0)) load_affine(a.affine, n, affine);
    const Map<T> map{reinterpret_cast<const T*>(a.heatmaps.at(n, k)), width, height};
    const Peak peak = find_peak(map.values, width * height);
    const int x = peak.bin % width, y = peak.bin / width;
    const Offset offset = is_nan(peak.value) ? Offset{0.0f, 0.0f} : refine(map, x, y, a);
    place_point((static_cast<float>(x) + offset.x) * a.scale_x, (static_cast<float>(y) + offset.y) * a.scale_y,
                a.affine ? affine : nullptr, reinterpret_cast<float*>(a.keypoints.at(n, k)));
    *reinterpret_cast<float*>(a.scores.at(n, k)) = peak.value > 0.0f ? peak.value : 0.0f;
  }
}

}  // namespace

void heatmap_decode(const HeatmapDecode& args, int64_t begin, int64_t end) {
  visit_float(args.heatmaps.dtype, [&](auto tag) { decode_range<typename decltype(tag)::type>(args, begin, end); });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
