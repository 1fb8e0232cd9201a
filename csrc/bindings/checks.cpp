// What an op may ask of an argument, and the words in which it complains.
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
    fail_type(std::string("expected the device of ") + other.name_ + " (" + name_of(other.view_.device) + "), got " + name_of(view_.device));
  return *this;
}

Argument& Argument::size_is(int dim, const char* letter, int64_t size, const Argument& other) {
  if (view_.shape[dim] != size)
    fail(std::string("has ") + letter + "=" + std::to_string(view_.shape[dim]) + " but " + other.name_ + " has " + letter + "=" +
         std::to_string(size));
  return *this;
}

Argument& Argument::at_least_one(int dim, const char* letter) {
  if (view_.shape[dim] < 1) fail(std::string("expected ") + letter + " ≥ 1, got shape " + shape_text());
  return *this;
}

}  // namespace edgepose
