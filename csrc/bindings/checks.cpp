// Validation of arguments, and the text of its errors.
#include <cmath>

#include "interop.h"

namespace edgepose {
namespace {

std::string join(std::initializer_list<DType> dtypes) {
  std::string text;
  size_t i = 0;
  for (const DType each : dtypes) {
    text += i == 0 ? "" : i + 1 == dtypes.size() ? " or " : ", ";
    text += name_of(each);
    ++i;
  }
  return text;
}

}  // namespace

std::string text_of(py::handle object) { return py::repr(object).cast<std::string>(); }

void value_error(const char* op, const std::string& message) {
  throw py::value_error(std::string(op) + ": " + message);
}
void type_error(const char* op, const std::string& message) { throw py::type_error(std::string(op) + ": " + message); }

double number(const char* op, const char* name, py::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value != -1.0 || !PyErr_Occurred()) return value;
  PyErr_Clear();
  type_error(op, std::string(name) + " expected a number, got " + text_of(object));
}

double positive(const char* op, const char* name, py::handle object) {
  const double value = number(op, name, object);
  if (!(value > 0 && std::isfinite(value)))
    value_error(op, std::string(name) + " expected a positive number, got " + text_of(object));
  if (value < kSmallest || value > kLargest)
    value_error(op, std::string(name) + " expected a number from 1e-30 to 1e30, got " + text_of(object));
  return value;
}

std::string_view choice(const char* op, const char* name, py::handle object) {
  if (!py::isinstance<py::str>(object))
    type_error(op, std::string(name) + " expected a string, got " + text_of(object));
  return object.cast<std::string_view>();
}

bool flag(const char* op, const char* name, py::handle object) {
  const bool of_numpy = std::string_view(Py_TYPE(object.ptr())->tp_name).substr(0, 10) == "numpy.bool";
  if (!py::isinstance<py::bool_>(object) && !of_numpy)
    type_error(op, std::string(name) + " expected True or False, got " + text_of(object));
  return PyObject_IsTrue(object.ptr()) == 1;
}

std::pair<double, double> positive_pair(const char* op, const char* name, py::handle object) {
  if (!PySequence_Check(object.ptr()) || PySequence_Size(object.ptr()) != 2)
    type_error(op, std::string(name) + " expected two numbers (x, y), got " + text_of(object));
  const auto pair = py::reinterpret_borrow<py::sequence>(object);
  const auto at = [&](int i) {
    const std::string element = std::string(name) + "[" + std::to_string(i) + "]";
    return positive(op, element.c_str(), py::object(pair[i]));
  };
  return {at(0), at(1)};
}

bool is_exact(const char* op, py::handle center) {
  const std::string_view name = choice(op, "center", center);
  if (name != "round" && name != "exact")
    value_error(op, "center expected 'round' or 'exact', got '" + std::string(name) + "'");
  return name == "exact";
}

void check_keypoints(Argument& keypoints, Argument& visible) {
  keypoints.dtypes(kReal).dims(3, "[N, K, 2]");
  if (keypoints.size(2) != 2) keypoints.fail("expected shape [N, K, 2], got " + keypoints.shape_text());
  visible.dtypes(kReal).dims(2, "[N, K]").same_device(keypoints).same_points(keypoints);
}

void check_affine(Argument& affine, const Argument& batch) {
  affine.dtypes(kReal).dims(3, "[N, 2, 3]").same_device(batch).size_is(0, "N", batch.size(0), batch);
  if (affine.size(1) != 2 || affine.size(2) != 3) affine.fail("expected shape [N, 2, 3], got " + affine.shape_text());
}

void Argument::fail(const std::string& message) const {
  throw py::value_error(std::string(op_) + ": " + name_ + " " + message);
}

void Argument::fail_type(const std::string& message) const {
  throw py::type_error(std::string(op_) + ": " + name_ + " " + message);
}

std::string Argument::shape_text() const {
  std::string text = "[";
  for (int d = 0; d < view_.ndim && d < kMaxDims; ++d) text += (d ? ", " : "") + std::to_string(view_.shape[d]);
  return text + (view_.ndim > kMaxDims ? ", …]" : "]");
}

Argument& Argument::dims(int ndim, const char* letters) {
  if (view_.ndim != ndim) fail(std::string("expected shape ") + letters + ", got " + shape_text());
  return *this;
}

Argument& Argument::dtypes(std::initializer_list<DType> allowed) {
  for (const DType each : allowed)
    if (each == view_.dtype) return *this;
  fail_type("expected " + join(allowed) + ", got " + dtype_text());
}

// The dimensions from `dim` on must lie in C order without gaps; a size-one dimension may have any stride.
Argument& Argument::contiguous_from(int dim) {
  int64_t packed = item_size(view_.dtype);
  for (int d = 0; d < view_.ndim; ++d)
    if (view_.shape[d] == 0) return *this;  // no value lies anywhere
  for (int d = view_.ndim - 1; d >= dim; --d) {
    if (view_.shape[d] > 1 && view_.strides[d] != packed)
      fail("expected contiguous values along the last dimension" + std::string(dim + 1 < view_.ndim ? "s" : "") +
           ", got a stride of " + std::to_string(view_.strides[d]) + " bytes");
    packed *= view_.shape[d];
  }
  return *this;
}

Argument& Argument::same_device(const Argument& other) {
  if (view_.device != other.view_.device)
    fail_type(std::string("expected the device of ") + other.name_ + " (" + name_of(other.view_.device) + "), got " +
              name_of(view_.device));
  return *this;
}

Argument& Argument::size_is(int dim, const char* letter, int64_t size, const Argument& other) {
  if (view_.shape[dim] != size)
    fail(std::string("has ") + letter + "=" + std::to_string(view_.shape[dim]) + " but " + other.name_ + " has " +
         letter + "=" + std::to_string(size));
  return *this;
}

Argument& Argument::same_points(const Argument& other) {
  return size_is(0, "N", other.size(0), other).size_is(1, "K", other.size(1), other);
}

Argument& Argument::bins(int dim, const char* letter) {
  at_least_one(dim, letter);
  if (view_.shape[dim] > kMaxBins) fail(std::string("expected ") + letter + " ≤ 2^30, got shape " + shape_text());
  return *this;
}

Argument& Argument::at_least_one(int dim, const char* letter) {
  if (view_.shape[dim] < 1) fail(std::string("expected ") + letter + " ≥ 1, got shape " + shape_text());
  return *this;
}

}  // namespace edgepose
