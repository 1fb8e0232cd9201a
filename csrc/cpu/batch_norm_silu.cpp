// batch_norm_silu on the CPU, two passes: every chunk's mean and squared deviations, then the values.
#include "batch_norm_silu.h"

#include "channel_rows.h"
#include "kernels.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// Σ x and Σ x² of the values [i, i + rounds · period) are added to the doubles at each place. The stretch's first
// values are taken off before squaring: as they are among the values, what cancels is at most a stretch's length of
// what stays.
template <class T>
void add_stretch(const T* x, int64_t i, int64_t rounds, int64_t period, float* work, double* sums, double* squares) {
  float *shift = work, *sum = work + period, *square = work + 2 * period;
  each_vector(0, period, period, [&](int64_t, int64_t j, int) {
    const vf first = load(x + i + j);
    store(shift + j, select(first - first == 0.0f, first, vf{}));  // an infinite one would take all with it
    store(sum + j, vf{});
    store(square + j, vf{});
  });
  each_vector(i, i + rounds * period, period, [&](int64_t at, int64_t j, int) {
    const vf apart = load(x + at) - load(shift + j);
    store(sum + j, load(sum + j) + apart);
    store(square + j, fma(apart, apart, load(square + j)));
  });
  const double count = static_cast<double>(rounds);
  for (int64_t j = 0; j < period; ++j) {
    const double s = sum[j], k = shift[j];
    sums[j] += s + count * k;
    squares[j] += square[j] + k * (2.0 * s + count * k);
  }
}

template <class T>
void sum_chunks(const BatchNormSilu& a, int64_t begin, int64_t end) {
  const int64_t M = a.x.shape[0], C = a.x.shape[1], period = period_of(C), rows = a.rule.chunk_rows;
  const T* x = reinterpret_cast<const T*>(a.x.data);
  Scratch scratch(7 * period);
  double* sums = reinterpret_cast<double*>(scratch.at(0));
  double* squares = sums + period;
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const int64_t count = M - chunk * rows < rows ? M - chunk * rows : rows;
    int64_t i = chunk * rows * C;
    const int64_t stop = i + count * C;
    std::memset(sums, 0, 2 * period * sizeof(double));
    while (stop - i >= period) {
      const int64_t whole = (stop - i) / period, rounds = whole < kStretch ? whole : kStretch;
      add_stretch(x, i, rounds, period, scratch.at(4 * period), sums, squares);
      i += rounds * period;
    }
    for (int64_t j = 0; i + j < stop; ++j) {
      const double value = to_float(x[i + j]);
      sums[j] += value;
      squares[j] += value * value;
    }
    float* partial = reinterpret_cast<float*>(a.partial.at(chunk));
    for (int64_t c = 0; c < C; ++c) {
      const double sum = fold(sums, period, C, c), mean = sum / static_cast<double>(count);
      const double around = fold(squares, period, C, c) - sum * mean;
      partial[c] = static_cast<float>(mean);
      partial[C + c] = static_cast<float>(around < 0.0 ? 0.0 : around);
    }
  }
}

template <class T>
void write_values(const BatchNormSilu& a, int64_t begin, int64_t end) {
  const int64_t M = a.x.shape[0], C = a.x.shape[1], period = period_of(C), rows = a.rule.chunk_rows;
  const T* x = reinterpret_cast<const T*>(a.x.data);
  T* y = reinterpret_cast<T*>(a.y.data);
  const float *weight = channels(a.weight), *partial = channels(a.partial);
  Scratch scratch(3 * period);
  float *mean = scratch.at(0), *scale = scratch.at(period), *bias = scratch.at(2 * period);
  for (int64_t c = 0; c < C; ++c) {
    const Moments moments = join_moments(partial, rows, M, C, c);
    mean[c] = moments.mean;
    scale[c] = weight[c] * inverse_std(moments.var, a.rule.eps);
    bias[c] = channels(a.bias)[c];
    if (begin == 0) {
      channels(a.mean)[c] = moments.mean;
      channels(a.var)[c] = moments.var;
    }
  }
  for (int64_t table = 0; table < 3; ++table) repeat(scratch.at(table * period), period, C);
  each_vector(begin * rows * C, (end * rows < M ? end * rows : M) * C, period, [&](int64_t i, int64_t j, int count) {
    const vf z = fma(load_some(x + i, count) - load(mean + j), load(scale + j), load(bias + j));
    store_some(y + i, silu(z), count);
  });
}

}  // namespace

void batch_norm_silu(const BatchNormSilu& a, int64_t begin, int64_t end) {
  visit_float(a.x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    (a.pass == 0 ? sum_chunks<T> : write_values<T>)(a, begin, end);
  });
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
