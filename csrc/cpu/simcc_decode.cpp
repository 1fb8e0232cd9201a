// simcc_decode on the CPU: each row is read once from memory, and from the cache where a score needs it again.
#include "kernels.h"
#include "peak.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// 1 / Σ exp(β(x − peak)): the height of the softmax at its peak.
template <class T>
float softmax_peak(const T* row, int bins, float peak, float beta) {
  if (peak - peak != 0.0f) {  // an infinite peak shares the mass with its equals alone
    int equal = 0;
    for (int i = 0; i < bins; ++i) equal += to_float(row[i]) == peak;
    return 1.0f / static_cast<float>(equal);
  }
  const vf p = splat(peak), b = splat(beta * kLog2e);
  vf sum = {}, other = {};
  int i = 0;
  for (; i + 2 * kLanes <= bins; i += 2 * kLanes) {
    const vf u = load(row + i), v = load(row + i + kLanes);
    sum += exp2_nonpositive(b * (u - p));
    other += exp2_nonpositive(b * (v - p));
  }
  sum += other;
  for (; i < bins; i += kLanes) {
    const int count = bins - i < kLanes ? bins - i : kLanes;
    const vf e = exp2_nonpositive(b * (load_first(row + i, count, peak) - p));
    sum += select(lane_numbers() < splat(count), e, splat(0.0f));
  }
  return 1.0f / sum_lanes(sum);
}

template <class T>
EDGEPOSE_INLINE float axis_value(const T* row, int bins, const Peak& peak, const DecodeRule& rule) {
  if (rule.score != Score::softmax || is_nan(peak.value)) return peak.value;
  return softmax_peak(row, bins, peak.value, rule.beta);
}

template <class T>
EDGEPOSE_INLINE AxisResult decode_axis(const T* row, int bins, const DecodeRule& rule) {
  const Peak peak = find_peak(row, bins);
  return {static_cast<float>(peak.bin), axis_value(row, bins, peak, rule)};
}

// ---- the mirrored pass, and DARK: on a float32 copy of the row with zeros around it ----

// Writes the row, or its average with the mirrored image's, to `out`.
template <class T>
void copy_row(const T* row, const T* mirrored, bool reverse, int bins, const DecodeRule& rule, float* out) {
  for (int i = 0; i < bins; ++i) out[i] = to_float(row[i]);
  if (!mirrored) return;
  for (int i = 0; i < bins; ++i)
    out[i] = average(out[i], to_float(mirrored[reverse ? mirrored_bin(rule, i, bins) : i]));
}

// Blurred values of the bins [first, first + count); `out` has room for kLanes more.
void blur(const float* row, int first, int count, const BlurKernel& kernel, float* out) {
  for (int i = 0; i < count; i += kLanes) {
    const float* centre = row + first + i;
    vf sum = load(centre) * kernel.weights[0];
    for (int t = 1; t <= kernel.half; ++t)
      sum = fma(load(centre - t) + load(centre + t), splat(kernel.weights[t]), sum);
    store(out + i, sum);
  }
}

float refine(const float* row, int bins, const Peak& peak, const BlurKernel& kernel, float* work) {
  const int first = peak.bin > 2 ? peak.bin - 2 : 0;
  blur(row, first, 5, kernel, work);
  float window[5];
  for (int i = 0; i < 5; ++i) {
    const int bin = peak.bin - 2 + i;  // the ends of the row repeat
    window[i] = work[(bin < 0 ? 0 : bin < bins ? bin : bins - 1) - first];
  }
  float scale = 1.0f;
  if (dark_needs_scale(peak.value, window)) {
    blur(row, 0, bins, kernel, work);
    float largest = work[0];
    for (int i = 1; i < bins; ++i) largest = work[i] > largest ? work[i] : largest;
    scale = peak.value / largest;
  }
  return dark_offset(window, scale, kernel.half);
}

// One axis in the long way. `work` holds the padded row and the blurred one.
template <class T>
AxisResult decode_axis_fully(const T* row, const T* mirrored, bool reverse, int bins, const DecodeRule& rule,
                             const BlurKernel& kernel, float* work) {
  const int pad = kernel.half + 5 + kLanes;
  float* copy = work + pad;
  std::memset(work, 0, pad * sizeof(float));
  std::memset(copy + bins, 0, pad * sizeof(float));
  copy_row(row, mirrored, reverse, bins, rule, copy);
  const Peak peak = find_peak(copy, bins);
  AxisResult result{static_cast<float>(peak.bin), axis_value(copy, bins, peak, rule)};
  if (rule.dark && !is_nan(peak.value)) result.position += refine(copy, bins, peak, kernel, copy + bins + pad);
  return result;
}

template <class T>
void decode_range(const SimccDecode& a, int64_t begin, int64_t end) {
  const int64_t K = a.simcc_x.shape[1];
  const int Wx = static_cast<int>(a.simcc_x.shape[2]), Wy = static_cast<int>(a.simcc_y.shape[2]);
  const DecodeRule rule = a.rule;
  const bool mirrored = static_cast<bool>(a.flipped_x), plain = !mirrored && !rule.dark;
  const int64_t widest = Wx > Wy ? Wx : Wy;
  Scratch work(plain ? 1 : 2 * widest + 2 * (kMaxHalf + 5 + kLanes) + 2 * kLanes);
  float affine[6] = {};
  int64_t n = begin / K, k = begin % K;
  for (int64_t i = begin; i < end; ++i) {
    if (a.affine && (i == begin || k == 0)) load_affine(a.affine, n, affine);
    const T *x_row = reinterpret_cast<const T*>(a.simcc_x.at(n, k)),
            *y_row = reinterpret_cast<const T*>(a.simcc_y.at(n, k));
    AxisResult x, y;
    if (plain) {
      x = decode_axis(x_row, Wx, rule);
      y = decode_axis(y_row, Wy, rule);
    } else {
      const int64_t other = mirrored ? swapped(a.swap, k, K) : 0;
      const T* fx = mirrored ? reinterpret_cast<const T*>(a.flipped_x.at(n, other)) : nullptr;
      const T* fy = mirrored ? reinterpret_cast<const T*>(a.flipped_y.at(n, other)) : nullptr;
      x = decode_axis_fully(x_row, fx, true, Wx, rule, a.blur_x, work.at(0));
      y = decode_axis_fully(y_row, fy, false, Wy, rule, a.blur_y, work.at(0));
    }
    decode_point(rule, x, y, a.affine ? affine : nullptr, reinterpret_cast<float*>(a.keypoints.at(n, k)),
                 reinterpret_cast<float*>(a.scores.at(n, k)));
    if (++k == K) k = 0, ++n;
  }
}

}  // namespace

void simcc_decode(const SimccDecode& args, int64_t begin, int64_t end) {
  visit_float(args.simcc_x.dtype, [&](auto tag) { decode_range<typename decltype(tag)::type>(args, begin, end); });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
