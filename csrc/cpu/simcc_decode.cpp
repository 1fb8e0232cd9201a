// simcc_decode on the CPU: each row is read once from memory, and from the cache where a score needs it again.
#include "simcc_decode.h"

#include "kernels.h"
#include "peak.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// What the softmax of a row scores: its height at the peak, or e to the minus entropy.
template <Score kScore, class T>
float row_score(const T* row, int bins, float peak, float beta) {
  if (peak - peak != 0.0f) {  // an infinite peak shares the mass with its equals alone
    int equal = 0;
    for (int i = 0; i < bins; ++i) equal += to_float(row[i]) == peak;
    return 1.0f / static_cast<float>(equal);
  }
  const vf p = splat(peak), b = splat(beta * kLog2e);
  vf mass = {}, other_mass = {}, cross = {}, other_cross = {};
  const auto add = [&](vf d, vf e, vf& into_mass, vf& into_cross) {
    into_mass += e;
    if constexpr (kScore == Score::entropy) into_cross += times_exponent(e, b * d);
  };
  int i = 0;
  for (; i + 2 * kLanes <= bins; i += 2 * kLanes) {
    const vf u = load(row + i) - p, v = load(row + i + kLanes) - p;
    add(u, exp2_scaled(u, b), mass, cross);
    add(v, exp2_scaled(v, b), other_mass, other_cross);
  }
  mass += other_mass;
  for (; i < bins; i += kLanes) {
    const int count = bins - i < kLanes ? bins - i : kLanes;
    const vf d = load_first(row + i, count, peak) - p;
    add(d, select(lane_numbers() < splat(count), exp2_scaled(d, b), splat(0.0f)), mass, cross);
  }
  return softmax_score(kScore, SoftmaxSums{sum_lanes(mass), sum_lanes(cross + other_cross)});
}

template <class T>
EDGEPOSE_INLINE float axis_value(const T* row, int bins, const Peak& peak, const DecodeRule& rule) {
  if (!of_softmax(rule.score) || is_nan(peak.value)) return peak.value;
  const auto score = rule.score == Score::entropy ? row_score<Score::entropy, T> : row_score<Score::softmax, T>;
  return score(row, bins, peak.value, rule.beta);
}

template <class T>
EDGEPOSE_INLINE AxisResult axis_result(const T* row, int bins, const Maxima& maxima, const DecodeRule& rule) {
  const Peak peak = first_peak(row, bins, maxima);
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

constexpr int kBlurred = (5 + kLanes - 1) / kLanes * kLanes;  // around a peak, in whole vectors

// Blurred values of kLanes bins.
EDGEPOSE_INLINE vf blur(const float* row, const BlurKernel& kernel) {
  vf sum = load(row) * kernel.weights[0];
  for (int t = 1; t <= kernel.half; ++t) sum = fma(load(row - t) + load(row + t), splat(kernel.weights[t]), sum);
  return sum;
}

float blurred_max(const float* row, int bins, const BlurKernel& kernel) {
  vf largest = splat(-HUGE_VALF);
  int i = 0;
  for (; i + kLanes <= bins; i += kLanes) largest = max(blur(row + i, kernel), largest);
  if (i < bins) largest = max(select(lane_numbers() < splat(bins - i), blur(row + i, kernel), largest), largest);
  return max_lane(largest);
}

float refine(const float* row, int bins, const Peak& peak, const BlurKernel& kernel) {
  const int first = peak.bin > 2 ? peak.bin - 2 : 0;
  float around[kBlurred], window[5];
  for (int i = 0; i < kBlurred; i += kLanes) store(around + i, blur(row + first + i, kernel));
  for (int i = 0; i < 5; ++i) {
    const int bin = peak.bin - 2 + i;  // the ends of the row repeat
    window[i] = around[(bin < 0 ? 0 : bin < bins ? bin : bins - 1) - first];
  }
  const float scale = dark_needs_scale(peak.value, window) ? peak.value / blurred_max(row, bins, kernel) : 1.0f;
  return dark_offset(window, scale, kernel.half);
}

// One axis in the long way. `work` holds the padded row.
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
  if (rule.dark && !is_nan(peak.value)) result.position += refine(copy, bins, peak, kernel);
  return result;
}

// Walks over the points [begin, end) and hands out what they are made of.
template <class T>
class Points {
 public:
  EDGEPOSE_INLINE Points(const SimccDecode& args, int64_t begin)
      : a_(args), n_(begin / args.simcc_x.shape[1]), k_(begin % args.simcc_x.shape[1]) {
    if (a_.affine) load_affine(a_.affine, n_, affine_);
  }
  EDGEPOSE_INLINE const T* x() const { return reinterpret_cast<const T*>(a_.simcc_x.at(n_, k_)); }
  EDGEPOSE_INLINE const T* y() const { return reinterpret_cast<const T*>(a_.simcc_y.at(n_, k_)); }
  EDGEPOSE_INLINE const T* flipped(const ArrayView& rows) const {
    return rows ? reinterpret_cast<const T*>(rows.at(n_, swapped(a_.swap, k_, a_.simcc_x.shape[1]))) : nullptr;
  }
  EDGEPOSE_INLINE void write(AxisResult x, AxisResult y) const {
    decode_point(a_.rule, x, y, a_.affine ? affine_ : nullptr, reinterpret_cast<float*>(a_.keypoints.at(n_, k_)),
                 reinterpret_cast<float*>(a_.scores.at(n_, k_)));
  }
  EDGEPOSE_INLINE void step() {
    if (++k_ < a_.simcc_x.shape[1]) return;
    k_ = 0;
    if (++n_ < a_.simcc_x.shape[0] && a_.affine) load_affine(a_.affine, n_, affine_);
  }

 private:
  const SimccDecode& a_;
  int64_t n_, k_;
  float affine_[6] = {};
};

// A few points at a time: all of their rows for the maxima, then for the places. One row's last steps each wait for the
// one before; those of several rows go on together, and the rows are still in the L1 cache.
constexpr int kTogether = 4;

template <class T>
void decode_plainly(const SimccDecode& a, int64_t begin, int64_t end) {
  const int Wx = static_cast<int>(a.simcc_x.shape[2]), Wy = static_cast<int>(a.simcc_y.shape[2]);
  Points<T> ahead(a, begin), point(a, begin);
  Maxima x[kTogether], y[kTogether];
  while (begin < end) {
    const int count = end - begin < kTogether ? static_cast<int>(end - begin) : kTogether;
    for (int j = 0; j < count; ++j, ahead.step()) {
      find_maxima(ahead.x(), Wx, x[j]);
      find_maxima(ahead.y(), Wy, y[j]);
    }
    for (int j = 0; j < count; ++j, point.step())
      point.write(axis_result(point.x(), Wx, x[j], a.rule), axis_result(point.y(), Wy, y[j], a.rule));
    begin += count;
  }
}

template <class T>
void decode_fully(const SimccDecode& a, int64_t begin, int64_t end) {
  const int Wx = static_cast<int>(a.simcc_x.shape[2]), Wy = static_cast<int>(a.simcc_y.shape[2]);
  Scratch work((Wx > Wy ? Wx : Wy) + 2 * (kMaxHalf + 5 + kLanes));
  for (Points<T> point(a, begin); begin < end; ++begin, point.step()) {
    const T *fx = point.flipped(a.flipped_x), *fy = point.flipped(a.flipped_y);
    const AxisResult x = decode_axis_fully(point.x(), fx, true, Wx, a.rule, a.blur_x, work.at(0));
    point.write(x, decode_axis_fully(point.y(), fy, false, Wy, a.rule, a.blur_y, work.at(0)));
  }
}

template <class T>
void decode_range(const SimccDecode& a, int64_t begin, int64_t end) {
  (a.flipped_x || a.rule.dark ? decode_fully<T> : decode_plainly<T>)(a, begin, end);
}

}  // namespace

void simcc_decode(const SimccDecode& args, int64_t begin, int64_t end) {
  visit_float(args.simcc_x.dtype, [&](auto tag) { decode_range<typename decltype(tag)::type>(args, begin, end); });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
