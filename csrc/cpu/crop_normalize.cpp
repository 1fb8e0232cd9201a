// crop_normalize on the CPU: rows of a crop are sampled into three planes of float32 and normalized on their way out.
// Crops without rotation, which is what inference makes, blend two rows of the frame first and share their columns.
#include "crop_normalize.h"

#include "kernels.h"
#include "scratch.h"

namespace edgepose {
inline namespace EDGEPOSE_LEVEL {
namespace {

// Four pixels side by side → four values of each of three channels.
EDGEPOSE_INLINE void split_channels(const f4* p, float* c0, float* c1, float* c2) {
  const f4 ab = shuffle<0, 4, 1, 5>(p[0], p[1]), cd = shuffle<0, 4, 1, 5>(p[2], p[3]);
  store_bits(c0, shuffle<0, 1, 4, 5>(ab, cd));
  store_bits(c1, shuffle<2, 3, 6, 7>(ab, cd));
  store_bits(c2, shuffle<0, 1, 4, 5>(shuffle<2, 6, 3, 7>(p[0], p[1]), shuffle<2, 6, 3, 7>(p[2], p[3])));
}

// Two neighbors in each of two rows, blended: rows first, as upright crops do it.
EDGEPOSE_INLINE f4 blend_four(const char* upper, const char* lower, float u, float v) {
#if defined(__AVX2__)
  const auto two_pixels = [](const char* p) {  // and two bytes more
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(load_bits<int64_t>(p))));
  };
  const __m256 above = two_pixels(upper), below = two_pixels(lower);
  const __m256 both = _mm256_fmadd_ps(_mm256_sub_ps(below, above), _mm256_set1_ps(v), above);
  const __m256 second = _mm256_permutevar8x32_ps(both, _mm256_setr_epi32(3, 4, 5, 6, 7, 7, 7, 7));
  return mix((f4)_mm256_castps256_ps128(both), (f4)_mm256_castps256_ps128(second), u);
#else
  return mix(mix(load_pixel(upper), load_pixel(lower), v), mix(load_pixel(upper + 3), load_pixel(lower + 3), v), u);
#endif
}

// Where the pixels of one row of the crop lie in the frame.
struct Columns {
  int32_t *x, *y;   // upper left neighbors
  float *u, *v;     // fractions
  int first, last;  // [first, last): all four neighbors are in the frame, and so is the byte behind them
};

class CropRows {
 public:
  CropRows(const CropNormalize& args)
      : frame_(args.frame),
        rule_(args.rule),
        width_(static_cast<int>(args.out.shape[3])),
        room_((width_ + 31) / 16 * 16),
        frame_width_(static_cast<int>(args.frame.shape[1])),
        frame_height_(static_cast<int>(args.frame.shape[0])),
        scratch_(7 * room_ + 3 * (args.frame.shape[1] + 16)) {
    columns_.x = reinterpret_cast<int32_t*>(scratch_.at(3 * room_));
    columns_.y = reinterpret_cast<int32_t*>(scratch_.at(4 * room_));
    columns_.u = scratch_.at(5 * room_);
    columns_.v = scratch_.at(6 * room_);
    blended_ = scratch_.at(7 * room_);
  }

  void start(const Warp& warp) {
    warp_ = warp;
    upright_ = warp.b == 0.0f && warp.d == 0.0f;
    if (upright_) place(0);
  }

  void sample_row(int row) {
    if (!upright_) {
      place(row);
      sample_frame();
    } else {
      const float y = clamp_coordinate(fma(warp_.e, static_cast<float>(row), warp_.f));
      const int top = static_cast<int>(floor_of(y));
      for (int i = 0; i < width_; ++i) columns_.y[i] = top, columns_.v[i] = y - static_cast<float>(top);
      if (top >= 0 && top + 1 < frame_height_) {
        blend_rows(top, y - static_cast<float>(top));
        sample_blended();
      } else {
        sample_slowly(columns_.first, columns_.last);
      }
    }
    sample_slowly(0, columns_.first);
    sample_slowly(columns_.last, width_);
  }

  template <class T>
  void write(char* out, int64_t channel_stride, int64_t offset) const {
    for (int c = 0; c < 3; ++c) {
      const float* plane = scratch_.at(rule_.channel[c] * room_);
      const vf scale = splat(rule_.scale[c]), bias = splat(rule_.bias[c]);
      T* row = reinterpret_cast<T*>(out + c * channel_stride + offset);
      int i = 0;
      for (; i + kLanes <= width_; i += kLanes) store(row + i, fma(load(plane + i), scale, bias));
      if (i < width_) store_first(row + i, fma(load(plane + i), scale, bias), width_ - i);
    }
  }

 private:
  // Fills columns_ for one row. An upright crop has the same columns in every row: then y is left to the row.
  void place(int row) {
    const float x0 = fma(warp_.b, static_cast<float>(row), warp_.c),
                y0 = fma(warp_.e, static_cast<float>(row), warp_.f);
    const vf step = to_float(lane_numbers());
    const float width = static_cast<float>(width_), right = static_cast<float>(frame_width_ - 2),
                bottom = static_cast<float>(frame_height_ - 1);
    columns_.first = columns_.last = width_;
    for (int i = 0; i < width_; i += kLanes) {
      const vf column = step + static_cast<float>(i);
      const vf x = clamp_coordinate(fma(splat(warp_.a), column, splat(x0)));
      const vf y = clamp_coordinate(fma(splat(warp_.d), column, splat(y0)));
      const vf left = floor_of(x), top = floor_of(y);
      store_bits(columns_.x + i, __builtin_convertvector(left, vi));
      store_bits(columns_.y + i, __builtin_convertvector(top, vi));
      store(columns_.u + i, x - left);
      store(columns_.v + i, y - top);
      vi inside = (column < width) & (left >= 0.0f) & (left < right);
      if (!upright_) inside &= (top >= 0.0f) & (top < bottom);
      if (const uint32_t lanes = bits(inside)) {  // on a line of pixels they follow each other
        if (columns_.first == width_) columns_.first = i + __builtin_ctz(lanes);
        columns_.last = i + 32 - __builtin_clz(lanes);
      }
    }
  }

  // Two rows of the frame, where the columns look, mixed by v into blended_.
  void blend_rows(int top, float v) {
    if (columns_.first == columns_.last) return;
    const int a = columns_.x[columns_.first], b = columns_.x[columns_.last - 1];
    const int begin = 3 * (a < b ? a : b), end = 3 * ((a < b ? b : a) + 2);
    const auto* upper = reinterpret_cast<const uint8_t*>(frame_.at(top));
    const auto* lower = reinterpret_cast<const uint8_t*>(frame_.at(top + 1));
    const vf mix = splat(v);
    int i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const vf p = load(upper + i), q = load(lower + i);
      store(blended_ + i, fma(mix, q - p, p));
    }
    for (; i < end; ++i) blended_[i] = fma(v, static_cast<float>(lower[i]) - upper[i], static_cast<float>(upper[i]));
  }

  // The pixels [first, last): `pixel(i)` gives the i-th. What it needs it keeps by value: a store to the planes could
  // change any member, for all that the compiler knows.
  template <class F>
  EDGEPOSE_INLINE void sample_inside(F pixel) {
    float *c0 = scratch_.at(0), *c1 = scratch_.at(room_), *c2 = scratch_.at(2 * room_);
    const int last = columns_.last;
    int i = columns_.first;
    for (; i + 4 <= last; i += 4) {
      const f4 pixels[4] = {pixel(i), pixel(i + 1), pixel(i + 2), pixel(i + 3)};
      split_channels(pixels, c0 + i, c1 + i, c2 + i);
    }
    for (; i < last; ++i) {
      const f4 p = pixel(i);
      c0[i] = p[0], c1[i] = p[1], c2[i] = p[2];
    }
  }

  EDGEPOSE_INLINE void sample_blended() {
    sample_inside([blended = blended_, columns = columns_](int i) {
      const float* p = blended + 3 * columns.x[i];
      return mix(load_pixel(p), load_pixel(p + 3), columns.u[i]);
    });
  }

  EDGEPOSE_INLINE void sample_frame() {
    sample_inside([frame = frame_.data, stride = frame_.strides[0], columns = columns_](int i) {
      const char* upper = frame + columns.y[i] * stride + 3 * columns.x[i];
      return blend_four(upper, upper + stride, columns.u[i], columns.v[i]);
    });
  }

  // Pixels at the frame's border and beyond.
  void sample_slowly(int first, int last) {
    for (int i = first; i < last; ++i) {
      const int x = columns_.x[i], y = columns_.y[i];
      const bool seen = x >= -1 && x < frame_width_ && y >= -1 && y < frame_height_;
      for (int c = 0; c < 3; ++c)
        scratch_.at(c * room_)[i] = seen ? sample(frame_, x, y, columns_.u[i], columns_.v[i], c) : 0.0f;
    }
  }

  const ArrayView& frame_;
  const CropRule& rule_;
  int width_, room_, frame_width_, frame_height_;
  mutable Scratch scratch_;  // three planes, the columns, the blended row
  Columns columns_{};
  float* blended_;
  Warp warp_{};
  bool upright_ = false;
};

}  // namespace

// Items are the rows of all crops.
void crop_normalize(const CropNormalize& args, int64_t begin, int64_t end) {
  const int64_t height = args.out.shape[2];
  CropRows rows(args);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t n = item / height, y = item % height;
    if (item == begin || y == 0) {
      float affine[6];
      load_affine(args.affine, n, affine);
      rows.start(invert(affine));
    }
    rows.sample_row(static_cast<int>(y));
    visit_float(args.out.dtype, [&](auto tag) {
      rows.template write<typename decltype(tag)::type>(args.out.at(n), args.out.strides[1], y * args.out.strides[2]);
    });
  }
}

}  // namespace EDGEPOSE_LEVEL
}  // namespace edgepose
