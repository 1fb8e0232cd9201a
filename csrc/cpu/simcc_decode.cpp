// simcc_decode on the CPU: one pass over each row finds the maximum and the first block that holds it.
#include "kernels.h"
#include "simd.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

constexpr int kBlock = 4 * kLanes;

// Rows shorter than a block, and rows with a NaN somewhere.
template <class T>
Peak peak_exact(const T* row, int bins) {
  Peak peak = no_peak();
  for (int i = 0; i < bins; ++i) {
    const float x = to_float(row[i]);
    if (is_nan(x)) return {x, 0};
    peak = better(peak, {x, i});
  }
  return peak;
}

struct Block {
  vf v[4];
  EDGEPOSE_INLINE vf largest() const { return max(max(v[0], v[1]), max(v[2], v[3])); }
  EDGEPOSE_INLINE vf total() const { return (v[0] + v[1]) + (v[2] + v[3]); }
};

template <class T>
EDGEPOSE_INLINE Block load_block(const T* p) {
  return {{load(p), load(p + kLanes), load(p + 2 * kLanes), load(p + 3 * kLanes)}};
}

template <class T>
EDGEPOSE_INLINE Peak find_peak(const T* row, int bins) {
  if (bins < kBlock) return peak_exact(row, bins);
  // Each lane keeps its maximum and where the block starts that reached it first. The sum of everything is there only to
  // carry a NaN to the end (∞ − ∞ makes one too: then the exact search decides).
  Block block = load_block(row);
  vf best = block.largest(), sum = block.total();
  vi start = {};
  const auto visit = [&](int i) {
    block = load_block(row + i);
    const vf largest = block.largest();
    sum += block.total();
    start = select(largest > best, splat(i), start);
    best = max(largest, best);
  };
  int i = kBlock;
  for (; i + kBlock <= bins; i += kBlock) visit(i);
  if (i < bins) visit(bins - kBlock);  // the last block may overlap: a maximum does not mind being seen twice
  if (is_nan(sum_lanes(sum))) return peak_exact(row, bins);

  const float value = max_lane(best);
  const int first = min_lane(select(best == splat(value), start, splat(bins)));
  block = load_block(row + first);
  uint64_t hits = 0;
  for (int j = 0; j < 4; ++j) hits |= static_cast<uint64_t>(bits(block.v[j] == splat(value))) << (j * kLanes);
  return {value, first + __builtin_ctzll(hits)};
}

// 1 / Σ exp(β(x − peak)): the height of the softmax at its peak.
template <class T>
float softmax_peak(const T* row, int bins, float peak, float beta) {
  const vf p = splat(peak), b = splat(beta * kLog2e);
  vf sum = {};
  int i = 0;
  for (; i + kLanes <= bins; i += kLanes) sum += exp2_nonpositive(b * below_peak(load(row + i), p));
  if (i < bins) {
    const int count = bins - i;
    const vf e = exp2_nonpositive(b * below_peak(load_first(row + i, count, peak), p));
    sum += select(lane_numbers() < splat(count), e, splat(0.0f));
  }
  return 1.0f / sum_lanes(sum);
}

template <class T>
EDGEPOSE_INLINE Peak decode_axis(const T* row, int bins, const DecodeRule& rule) {
  Peak peak = find_peak(row, bins);
  if (rule.score == Score::softmax && !is_nan(peak.value)) peak.value = softmax_peak(row, bins, peak.value, rule.beta);
  return peak;
}

template <class T>
void decode_range(const SimccDecode& a, int64_t begin, int64_t end) {
  const int64_t K = a.simcc_x.shape[1];
  const int Wx = static_cast<int>(a.simcc_x.shape[2]), Wy = static_cast<int>(a.simcc_y.shape[2]);
  const DecodeRule rule = a.rule;
  float affine[6] = {};
  int64_t n = begin / K, k = begin % K;
  for (int64_t i = begin; i < end; ++i) {
    if (a.affine && (i == begin || k == 0)) load_affine(a.affine, n, affine);
    const Peak x = decode_axis(reinterpret_cast<const T*>(a.simcc_x.at(n, k)), Wx, rule);
    const Peak y = decode_axis(reinterpret_cast<const T*>(a.simcc_y.at(n, k)), Wy, rule);
    decode_point(rule, x, y, a.affine ? affine : nullptr, reinterpret_cast<float*>(a.keypoints.at(n, k)),
                 reinterpret_cast<float*>(a.scores.at(n, k)));
    if (++k == K) k = 0, ++n;
  }
}

}  // namespace

void simcc_decode(const SimccDecode& args, int64_t begin, int64_t end) {
  visit_float(args.simcc_x.dtype,
              [&](auto tag) { decode_range<typename decltype(tag)::type>(args, begin, end); });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
