// Runs one op on the arrays of a file and writes them back: `check LEVEL OP FILE`. Python makes the file and looks at
// what came out (test_arm.py). The file: a number of arrays, each as dtype, ndim, shape, values; a number of numbers;
// the numbers.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "batch_norm_silu.h"
#include "batch_norm_silu_grad.h"
#include "blur.h"
#include "crop_normalize.h"
#include "heatmap_decode.h"
#include "heatmap_encode.h"
#include "heatmap_mse.h"
#include "kernels.h"
#include "label_tables.h"
#include "parallel.h"
#include "simcc_decode.h"
#include "simcc_encode.h"
#include "simcc_gaussian_kl_div.h"
#include "simcc_kl_div.h"

using namespace edgepose;

namespace {

struct File {
  std::vector<std::vector<char>> bytes;
  std::vector<ArrayView> arrays;
  std::vector<double> numbers;

  void read(const char* path) {
    FILE* file = std::fopen(path, "rb");
    int32_t count = one<int32_t>(file);
    arrays.resize(count);
    bytes.resize(count);
    for (int i = 0; i < count; ++i) {
      ArrayView& a = arrays[i];
      a.dtype = static_cast<DType>(one<int32_t>(file));
      a.ndim = one<int32_t>(file);
      int64_t size = a.ndim ? item_size(a.dtype) : 0;
      for (int d = 0; d < a.ndim; ++d) size *= a.shape[d] = one<int64_t>(file);
      int64_t stride = item_size(a.dtype);
      for (int d = a.ndim - 1; d >= 0; --d) a.strides[d] = stride, stride *= a.shape[d];
      bytes[i].resize(size);
      if (size && std::fread(bytes[i].data(), size, 1, file) != 1) std::abort();
      a.data = bytes[i].data();
    }
    numbers.resize(one<int32_t>(file));
    for (double& x : numbers) x = one<double>(file);
    std::fclose(file);
  }

  void write(const char* path) const {
    FILE* file = std::fopen(path, "wb");
    for (const auto& each : bytes) std::fwrite(each.data(), 1, each.size(), file);
    std::fclose(file);
  }

  float f(int i) const { return static_cast<float>(numbers.at(i)); }
  int n(int i) const { return static_cast<int>(numbers.at(i)); }

 private:
  template <class T>
  static T one(FILE* file) {
    T value;
    if (std::fread(&value, sizeof value, 1, file) != 1) std::abort();
    return value;
  }
};

template <class Args>
void run(bool simd, CpuKernel<Args> scalar_kernel, CpuKernel<Args> simd_kernel, const Args& args, int64_t items) {
  const CpuKernel<Args> kernel = simd ? simd_kernel : scalar_kernel;
  parallel_for(items, 1 << 20, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
}

int64_t points(const ArrayView& a) { return a.shape[0] * a.shape[1]; }

// kind, exact, split ratio, then sigma, peak and floor of x and of y; the first of them is numbers[at].
LabelRule label_rule(const File& f, int at, int64_t wx, int64_t wy) {
  const auto axis = [&](int i, int64_t bins) {
    return LabelAxis{static_cast<int32_t>(bins), f.f(i), 3.0f * f.f(i), f.f(i + 1), f.f(i + 2)};
  };
  return {static_cast<Label>(f.n(at)), f.n(at + 1) != 0, f.f(at + 2), axis(at + 3, wx), axis(at + 6, wy)};
}

}  // namespace

#define RUN(op, args, items) run(simd, scalar::op, baseline::op, args, items)

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const bool simd = std::string(argv[1]) == "baseline";
  const std::string op = argv[2];
  set_num_threads(2);
  File f;
  f.read(argv[3]);
  const auto& a = f.arrays;
  if (op == "simcc_decode") {
    const DecodeRule rule{f.f(0), static_cast<Score>(f.n(1)), f.f(2), f.f(3), f.f(4), f.n(5) != 0, f.n(6) != 0, f.n(7),
                          f.f(8)};
    const SimccDecode args{
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], rule, blur_kernel(f.n(9)), blur_kernel(f.n(10))};
    RUN(simcc_decode, args, points(a[0]));
  } else if (op == "simcc_encode") {
    SimccEncode args{a[0],    a[1],    a[2], a[3], a[4], label_rule(f, 0, a[2].shape[2], a[3].shape[2]),
                     nullptr, nullptr, 0,    0,    false};
    const LabelTable x = make_label_table(args.rule, args.rule.x, a[2].dtype),
                     y = make_label_table(args.rule, args.rule.y, a[3].dtype);
    args.table_x = x.data(), args.origin_x = x.origin, args.table_y = y.data(), args.origin_y = y.origin;
    RUN(simcc_encode, args, points(a[0]));
  } else if (op == "simcc_kl_div") {
    const SimccKlDiv args{a[0], a[1], a[2], a[3], a[4], {f.f(0), f.f(1)}};
    RUN(simcc_kl_div, args, points(a[0]));
  } else if (op == "simcc_gaussian_kl_div") {
    const KlRule rule{f.f(0), f.f(1)};
    const LabelRule label = label_rule(f, 2, a[0].shape[2], a[1].shape[2]);
    const KlTables x = make_kl_tables(label, label.x, rule), y = make_kl_tables(label, label.y, rule);
    const SimccGaussianKlDiv args{a[0], a[1], a[2], a[3], a[4], a[5], a[6], label, rule, 1.0f, 1.0f, x.view, y.view};
    RUN(simcc_gaussian_kl_div, args, points(a[0]));
  } else if (op == "heatmap_encode") {
    const HeatmapEncode args{
        a[0], a[1], a[2], a[3], {f.f(0), f.f(1), f.f(2), 3.0f * f.f(2), f.n(3), f.n(4), f.n(5) != 0}};
    RUN(heatmap_encode, args, points(a[0]));
  } else if (op == "heatmap_decode") {
    const HeatmapDecode args{a[0], a[1], a[2], a[3], f.f(0), f.f(1), static_cast<Refine>(f.n(2)), blur_kernel(f.n(3))};
    RUN(heatmap_decode, args, points(a[0]));
  } else if (op == "heatmap_mse") {
    const HeatmapMse args{a[0], a[1], a[2], a[3], a[4], a[5], a[6], {f.f(0)}};
    RUN(heatmap_mse, args, points(a[0]));
  } else if (op == "batch_norm_silu") {
    BatchNormSilu args{a[0], a[1], a[2], a[3], a[4], a[5], a[6], {f.f(0), f.n(1)}, 0};
    for (; args.pass < 2; ++args.pass) RUN(batch_norm_silu, args, a[6].shape[0]);
  } else if (op == "batch_norm_silu_grad") {
    BatchNormSiluGrad args{a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], {f.f(0), f.n(1)}, 0};
    for (; args.pass < 2; ++args.pass) RUN(batch_norm_silu_grad, args, a[9].shape[0]);
  } else if (op == "crop_normalize") {
    CropNormalize args{a[0], a[1], a[2], {}};
    for (int c = 0; c < 3; ++c)
      args.rule.scale[c] = f.f(c), args.rule.bias[c] = f.f(3 + c), args.rule.channel[c] = f.n(6 + c);
    RUN(crop_normalize, args, a[2].shape[0] * a[2].shape[2]);
  } else {
    return 3;
  }
  f.write(argv[3]);
}
