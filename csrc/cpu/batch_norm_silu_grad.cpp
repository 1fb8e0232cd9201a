// batch_norm_silu_grad on the CPU, two passes: every chunk's sums, with the gradient in z left where that in x will be;
// then the latter.
#include "batch_norm_silu_grad.h"

#include "channel_rows.h"
#include "kernels.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

struct Channels {  // for a period
  const float *mean, *scale, *bias;
};

template <class T>
void sum_chunks(const BatchNormSiluGrad& a, const Channels& p, int64_t begin, int64_t end) {
  const int64_t M = a.x.shape[0], C = a.x.shape[1], period = period_of(C), rows = a.rule.chunk_rows;
  const T *x = reinterpret_cast<const T*>(a.x.data), *grad = reinterpret_cast<const T*>(a.grad_y.data);
  T* slopes = reinterpret_cast<T*>(a.grad_x.data);
  Scratch scratch(6 * period);
  double* sums = reinterpret_cast<double*>(scratch.at(0));
  float* sum = scratch.at(4 * period);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const int64_t stop = ((chunk + 1) * rows < M ? (chunk + 1) * rows : M) * C;
    std::memset(sums, 0, 2 * period * sizeof(double));
    for (int64_t i = chunk * rows * C; i < stop; i += kStretch * period) {
      const int64_t end = i + kStretch * period;
      std::memset(sum, 0, 2 * period * sizeof(float));
      each_vector(i, end < stop ? end : stop, period, [&](int64_t at, int64_t j, int count) {
        const vf centered = load_some(x + at, count) - load(p.mean + j);
        const vf slope = load_some(grad + at, count) * silu_slope(fma(centered, load(p.scale + j), load(p.bias + j)));
        store(sum + j, load(sum + j) + slope);
        store(sum + period + j, fma(slope, centered, load(sum + period + j)));
        store_some(slopes + at, slope, count);
      });
      for (int64_t j = 0; j < 2 * period; ++j) sums[j] += sum[j];
    }
    float* partial = reinterpret_cast<float*>(a.partial.at(chunk));
    for (int64_t c = 0; c < C; ++c) {
      partial[c] = static_cast<float>(fold(sums, period, C, c));
      partial[C + c] = static_cast<float>(fold(sums + period, period, C, c));
    }
  }
}

template <class T>
void write_gradient(const BatchNormSiluGrad& a, const Channels& p, int64_t begin, int64_t end) {
  const int64_t M = a.x.shape[0], C = a.x.shape[1], period = period_of(C), rows = a.rule.chunk_rows;
  const T* x = reinterpret_cast<const T*>(a.x.data);
  T* out = reinterpret_cast<T*>(a.grad_x.data);
  Scratch scratch(2 * period);
  float *tilt = scratch.at(0), *level = scratch.at(period);
  for (int64_t c = 0; c < C; ++c) {
    const float rstd = inverse_std(channels(a.var)[c], a.rule.eps);
    const ChannelSlopes joined =
        join_slopes(channels(a.partial), a.partial.shape[0], M, C, c, channels(a.weight)[c], rstd);
    tilt[c] = joined.tilt;
    level[c] = joined.level;
    if (begin == 0) {
      channels(a.grad_weight)[c] = joined.weight;
      channels(a.grad_bias)[c] = joined.bias;
    }
  }
  for (int64_t table = 0; table < 2; ++table) repeat(scratch.at(table * period), period, C);
  each_vector(begin * rows * C, (end * rows < M ? end * rows : M) * C, period, [&](int64_t i, int64_t j, int count) {
    const vf centered = load_some(x + i, count) - load(p.mean + j), slope = load_some(out + i, count);
    store_some(out + i, fma(slope, load(p.scale + j), fma(centered, load(tilt + j), load(level + j))), count);
  });
}

}  // namespace

void batch_norm_silu_grad(const BatchNormSiluGrad& a, int64_t begin, int64_t end) {
  const int64_t C = a.x.shape[1], period = period_of(C);
  Scratch scratch(3 * period);
  float *mean = scratch.at(0), *scale = scratch.at(period), *bias = scratch.at(2 * period);
  for (int64_t c = 0; c < C; ++c) {
    mean[c] = channels(a.mean)[c];
    scale[c] = channels(a.weight)[c] * inverse_std(channels(a.var)[c], a.rule.eps);
    bias[c] = channels(a.bias)[c];
  }
  for (int64_t table = 0; table < 3; ++table) repeat(scratch.at(table * period), period, C);
  const Channels p{mean, scale, bias};
  visit_float(a.x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    (a.pass == 0 ? sum_chunks<T> : write_gradient<T>)(a, p, begin, end);
  });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
