// Python objects in, ArrayViews out: numpy arrays directly, everything else through DLPack (its C exchange table where
// the array's type has one, `__dlpack__` capsules otherwise). Together with its neighbors the only code that sees
// Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "array.h"
#include "dlpack.h"

namespace edgepose {

namespace py = pybind11;

constexpr int64_t kMaxBins = 1 << 30;  // of a row; kernels count them with 32 bits

inline constexpr std::initializer_list<DType> kFloating{DType::f32, DType::f16, DType::bf16};  // logits, labels, maps
inline constexpr std::initializer_list<DType> kReal{DType::f32, DType::f64};  // coordinates and coefficients

// One argument of an op, viewed. Keeps alive whatever the view borrows.
class Argument {
 public:
  Argument(const char* op, const char* name, py::handle object, bool writable = false);
  Argument(Argument&&) = default;

  const ArrayView& view() const { return view_; }
  operator const ArrayView&() const { return view_; }
  int64_t size(int dim) const { return view_.shape[dim]; }

  // Checks. Each throws ValueError (shape, value) or TypeError (dtype, device) in the grammar
  // `<op>: <argument> <expected>, got <actual>`.
  Argument& dims(int ndim, const char* letters);
  Argument& dtypes(std::initializer_list<DType> allowed);
  Argument& contiguous_from(int dim);
  Argument& same_device(const Argument& other);
  Argument& size_is(int dim, const char* letter, int64_t size, const Argument& other);
  Argument& same_points(const Argument& other);  // N and K, the first two dimensions
  Argument& at_least_one(int dim, const char* letter);
  Argument& bins(int dim, const char* letter);  // 1 … kMaxBins

  [[noreturn]] void fail(const std::string& message) const;       // ValueError
  [[noreturn]] void fail_type(const std::string& message) const;  // TypeError
  std::string shape_text() const;
  std::string dtype_text() const;

  // A new float32 array: numpy's on the CPU, of this argument's framework on a CUDA device.
  py::object make_float(std::initializer_list<int64_t> shape) const;
  void* stream() const;  // the caller's current CUDA stream on this argument's device

 private:
  void from_numpy(py::handle object, bool writable);
  void from_tensor(const dlpack::Tensor& tensor);
  void from_exchange();
  void from_capsule(bool writable);
  void refuse_lazy_negation() const;

  const char* op_;
  const char* name_;
  py::handle object_;
  py::object owner_;  // a DLPack capsule whose deleter runs when this goes
  const dlpack::Exchange* exchange_ = nullptr;
  ArrayView view_;
};

// Asks for huge pages where a large array, about to be written as a whole, lies.
void prefer_huge_pages(const ArrayView& array);

const char* name_of(DType dtype);
std::string name_of(const Device& device);

[[noreturn]] void value_error(const char* op, const std::string& message);
[[noreturn]] void type_error(const char* op, const std::string& message);

// Arguments that are no arrays. `positive` refuses zero, infinities, NaN, and what float32 arithmetic could not carry:
// such numbers, their inverses and their products with coordinates stay finite.
constexpr double kSmallest = 1e-30, kLargest = 1e30;
double number(const char* op, const char* name, py::handle object);
double positive(const char* op, const char* name, py::handle object);
std::string_view choice(const char* op, const char* name, py::handle object);
bool flag(const char* op, const char* name, py::handle object);
std::string text_of(py::handle object);            // its repr
bool is_exact(const char* op, py::handle center);  // of the two words that `center` may be
// A pair (x, y), such as sigma=(4.9, 5.66).
std::pair<double, double> positive_pair(const char* op, const char* name, py::handle object);
// [N, K, 2] and [N, K].
void check_keypoints(Argument& keypoints, Argument& visible);
// [N, 2, 3]; `batch`: whose first dimension N is.
void check_affine(Argument& affine, const Argument& batch);
// A tuple of `Count` arrays; `names` lists them for the error message, e.g. "(keypoints, scores)".
template <size_t Count>
std::array<py::object, Count> tuple_of(const char* op, const char* name, const char* names, py::handle object) {
  if (!py::isinstance<py::tuple>(object) || py::len(object) != Count)
    type_error(op, std::string(name) + " expected " + names + ", got " + Py_TYPE(object.ptr())->tp_name);
  std::array<py::object, Count> arrays;
  for (size_t i = 0; i < Count; ++i) arrays[i] = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(object.ptr(), i));
  return arrays;
}

}  // namespace edgepose
