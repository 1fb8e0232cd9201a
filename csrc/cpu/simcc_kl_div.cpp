// simcc_kl_div on the CPU: a row comes from memory once; its maximum, its sums and its gradient find it in the L1
// cache.
#include "simcc_kl_div.h"

#include "kernels.h"
#include "kl_rows.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

template <bool Soft>
void kl_range(const SimccKlDiv& a, int64_t begin, int64_t end) {
  const int64_t K = a.student.shape[1];
  const int bins = static_cast<int>(a.student.shape[2]);
  const int64_t room = padded_row(bins);
  Scratch scratch(4 * room);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / K, k = item % K;
    const float weight = a.weight ? *reinterpret_cast<const float*>(a.weight.at(n, k)) : 1.0f;
    float* loss = reinterpret_cast<float*>(a.loss.at(n, k));
    if (weight == 0.0f) {  // a point without a label costs nothing, whatever its logits are
      *loss = 0.0f;
      if (a.grad) std::memset(a.grad.at(n, k), 0, bins * item_size(a.grad.dtype));
      continue;
    }
    const float* s = widened(a.student.at(n, k), a.student.dtype, bins, scratch.at(0));
    const float* t = widened(a.target.at(n, k), a.target.dtype, bins, scratch.at(room));
    float *es = a.grad ? scratch.at(2 * room) : nullptr, *et = scratch.at(3 * room);
    const Ahead ahead(a.grad ? a.grad.at(n, k) : nullptr, a.grad.dtype);
    const float t_peak = Soft ? row_max(t, bins) : 0.0f;
    const KlRow row = finish_kl(a.rule, sum_row<Soft>(s, t, t_peak, bins, a.rule, es, et, ahead), weight);
    *loss = row.loss;
    if (a.grad) write_gradient(a.grad.at(n, k), a.grad.dtype, es, Soft ? et : t, bins, row);
  }
}

}  // namespace

void simcc_kl_div(const SimccKlDiv& args, int64_t begin, int64_t end) {
  (args.rule.target_beta > 0 ? kl_range<true> : kl_range<false>)(args, begin, end);
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
