#include "interop.h"

#include <mutex>
#include <string_view>
#include <unordered_map>

namespace edgepose {
namespace {

// The exchange table of an array type, or null. Types that have one live as long as the process. Where Python has no
// global lock this one keeps the map whole; no Python code runs inside it.
const dlpack::Exchange* exchange_of(PyTypeObject* type) {
  static std::unordered_map<PyTypeObject*, const dlpack::Exchange*> known;
  static std::mutex mutex;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (const auto found = known.find(type); found != known.end()) return found->second;
  }
  const dlpack::Exchange* table = nullptr;
  if (py::object capsule = py::getattr(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__", py::none());
      PyCapsule_IsValid(capsule.ptr(), "dlpack_exchange_api")) {
    table = static_cast<const dlpack::Exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (table->header.version.major != 1 || !table->tensor_from_object) table = nullptr;
  }
  if (table) {
    Py_INCREF(type);  // the key stays valid
    const std::lock_guard<std::mutex> lock(mutex);
    known[type] = table;
  }
  return table;
}

bool attribute_is_true(py::handle object, const char* name) {
  return py::getattr(object, name, py::bool_(false)).ptr() == Py_True;
}

// Whether torch's forward-mode differentiation is on and this tensor carries a tangent. torch is not imported for that:
// where there is such a tensor, its module is there.
bool carries_tangent(py::handle object) {
  const auto name = py::str("torch.autograd.forward_ad");
  const auto module = py::reinterpret_steal<py::object>(PyImport_GetModule(name.ptr()));
  if (!module) {
    if (PyErr_Occurred()) throw py::error_already_set();
    return false;
  }
  if (py::getattr(module, "_current_level", py::int_(-1)).cast<int>() < 0) return false;
  return !module.attr("unpack_dual")(object).attr("tangent").is_none();
}

// Whether torch negates the values only when somebody reads them: DLPack has no word for that and hands them out as
// they lie.
bool is_lazily_negated(py::handle object) {
  const py::object question = py::getattr(object, "is_neg", py::none());
  return !question.is_none() && question().ptr() == Py_True;
}

// jax hands its arrays out as writable, though they never change and may share memory.
bool is_of_jax(py::handle object) {
  const auto module = py::str(py::getattr(py::type::handle_of(object), "__module__", py::str("")));
  return module.cast<std::string_view>().substr(0, 3) == "jax";
}

// numpy knows bfloat16 only through extension types such as ml_dtypes'.
DType dtype_of(const py::dtype& dtype) {
  switch (dtype.num()) {
    case py::detail::npy_api::NPY_UBYTE_: return DType::u8;
    case py::detail::npy_api::NPY_FLOAT_: return DType::f32;
    case py::detail::npy_api::NPY_DOUBLE_: return DType::f64;
    case 23: return DType::f16;  // NPY_HALF
  }
  if (dtype.kind() == 'i' && dtype.itemsize() == 8) return DType::i64;
  const bool extension = dtype.num() >= 256;  // NPY_USERDEF
  return extension && py::str(dtype.attr("name")).cast<std::string_view>() == "bfloat16" ? DType::bf16 : DType::other;
}

DType dtype_of(const dlpack::DataType& t) {
  if (t.lanes != 1) return DType::other;
  if (t.code == dlpack::kFloat)
    return t.bits == 16 ? DType::f16 : t.bits == 32 ? DType::f32 : t.bits == 64 ? DType::f64 : DType::other;
  if (t.code == dlpack::kBfloat && t.bits == 16) return DType::bf16;
  if (t.code == dlpack::kInt && t.bits == 64) return DType::i64;
  return t.code == dlpack::kUInt && t.bits == 8 ? DType::u8 : DType::other;
}

// The stream that an array of a framework without the exchange table says its data are ordered on. cupy and numba tell
// their current stream in this interface; others synchronize `__dlpack__(stream=1)` with the legacy default stream.
void* announced_stream(py::handle object) {
  const py::object interface = py::getattr(object, "__cuda_array_interface__", py::none());
  if (py::isinstance<py::dict>(interface)) {
    const py::object stream = interface.attr("get")("stream");
    if (!stream.is_none()) return reinterpret_cast<void*>(stream.cast<intptr_t>());
  }
  return reinterpret_cast<void*>(1);
}

void release_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, "used_dltensor_versioned")) {
    auto* managed = static_cast<dlpack::ManagedVersioned*>(PyCapsule_GetPointer(capsule, "used_dltensor_versioned"));
    if (managed->deleter) managed->deleter(managed);
  } else if (PyCapsule_IsValid(capsule, "used_dltensor")) {
    auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule, "used_dltensor"));
    if (managed->deleter) managed->deleter(managed);
  }
}

}  // namespace

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::u8: return "uint8";
    case DType::i64: return "int64";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    default: return "another dtype";
  }
}

std::string name_of(const Device& device) { return device.cuda ? "cuda:" + std::to_string(device.index) : "cpu"; }

Argument::Argument(const char* op, const char* name, py::handle object, bool writable)
    : op_(op), name_(name), object_(object) {
  if (py::isinstance<py::array>(object)) {
    from_numpy(object, writable);
  } else if ((exchange_ = exchange_of(Py_TYPE(object.ptr())))) {
    from_exchange();
  } else if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    from_capsule(writable);
  } else {
    fail_type(std::string("expected a numpy array or one that speaks DLPack, got ") + Py_TYPE(object.ptr())->tp_name);
  }
  if (writable) prefer_huge_pages(view_);
#if !defined(EDGEPOSE_WITH_CUDA)
  if (view_.device.cuda)
    fail_type("expected an array on the CPU (this build has no CUDA kernels), got " + name_of(view_.device));
#endif
}

void Argument::from_exchange() {
  // The table exports tensors that record gradients without a word, and a kernel's results would carry none: ask.
  if (attribute_is_true(object_, "requires_grad"))
    fail_type(
        "expected an array without requires_grad, got one with it (edgepose.torch has the ops that differentiate)");
  if (carries_tangent(object_)) fail_type("expected an array without a forward-mode tangent, got one with it");
  refuse_lazy_negation();
  dlpack::Tensor tensor;
  if (exchange_->tensor_from_object(object_.ptr(), &tensor) != 0) {
    const py::error_already_set error;
    const std::string reason = py::str(error.value()).cast<std::string>();
    fail_type("expected an array in memory, got one that says: " + reason.substr(0, reason.find('\n')));
  }
  from_tensor(tensor);
}

void Argument::refuse_lazy_negation() const {
  if (is_lazily_negated(object_))
    fail("expected values as they lie in memory, got a lazily negated view (resolve_neg() makes an array of it)");
}

void Argument::from_numpy(py::handle object, bool writable) {
  const auto array = py::reinterpret_borrow<py::array>(object);
  const auto dtype = array.dtype();
  view_.dtype = dtype_of(dtype);
  if (dtype.byteorder() != '=' && dtype.byteorder() != '|')
    fail_type("expected native byte order, got " + py::str(dtype).cast<std::string>());
  view_.ndim = static_cast<int32_t>(array.ndim());
  view_.data = static_cast<char*>(const_cast<void*>(array.data()));
  for (int d = 0; d < view_.ndim && d < kMaxDims; ++d) {
    view_.shape[d] = array.shape(d);
    view_.strides[d] = array.strides(d);
  }
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) fail("expected aligned data, got an unaligned view");
  if (writable && !array.writeable()) fail("expected a writable array, got a read-only one");
}

void Argument::from_tensor(const dlpack::Tensor& t) {
  view_.dtype = dtype_of(t.dtype);
  switch (t.device.type) {
    case dlpack::kCPU:
    case dlpack::kCUDAHost: break;
    case dlpack::kCUDA:
    case dlpack::kCUDAManaged: view_.device = {true, t.device.id}; break;
    default:
      fail_type("expected an array on the CPU or a CUDA device, got DLPack device type " +
                std::to_string(t.device.type));
  }
  view_.ndim = t.ndim;
  view_.data = static_cast<char*>(t.data) + t.byte_offset;
  const int64_t item = item_size(view_.dtype);
  int64_t packed = item;
  bool empty = false;
  for (int d = t.ndim - 1; d >= 0; --d) {
    if (d < kMaxDims) {
      view_.shape[d] = t.shape[d];
      view_.strides[d] = t.strides ? t.strides[d] * item : packed;
    }
    packed *= t.shape[d];
    empty |= t.shape[d] == 0;
  }
  if (!t.data && !empty) fail_type("expected an array with values, got one without (a tracer's, or on no device)");
}

void Argument::from_capsule(bool writable) {
  refuse_lazy_negation();
  std::pair<int, int> device;
  try {
    device = object_.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  } catch (const py::cast_error&) {
    fail_type(std::string("expected __dlpack_device__() to tell (type, number), but that of ") +
              Py_TYPE(object_.ptr())->tp_name + " does not");
  }
  py::dict options;
  if (device.first == dlpack::kCUDA || device.first == dlpack::kCUDAManaged)
    options["stream"] = py::int_(reinterpret_cast<intptr_t>(announced_stream(object_)));
  try {
    auto versioned = options.attr("copy")().cast<py::dict>();
    versioned["max_version"] = py::make_tuple(1, 0);
    owner_ = object_.attr("__dlpack__")(**versioned);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;  // producers of before version 1.0 do not know the keyword
    owner_ = object_.attr("__dlpack__")(**options);
  }
  PyObject* capsule = owner_.ptr();
  bool read_only = false;
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    auto* managed = static_cast<dlpack::ManagedVersioned*>(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
    PyCapsule_SetName(capsule, "used_dltensor_versioned");
    PyCapsule_SetDestructor(capsule, release_capsule);
    if (managed->version.major != 1)  // of which only the deleter is known
      fail_type("expected DLPack version 1, got version " + std::to_string(managed->version.major));
    read_only = managed->flags & dlpack::kReadOnly;
    from_tensor(managed->tensor);
  } else if (PyCapsule_IsValid(capsule, "dltensor")) {
    auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule, "dltensor"));
    PyCapsule_SetName(capsule, "used_dltensor");
    PyCapsule_SetDestructor(capsule, release_capsule);
    from_tensor(managed->tensor);
  } else {
    fail_type("expected __dlpack__ to return a DLPack capsule, got something else");
  }
  if (writable && (read_only || is_of_jax(object_))) fail("expected a writable array, got a read-only one");
}

std::string Argument::dtype_text() const {
  if (view_.dtype != DType::other) return name_of(view_.dtype);
  return py::str(py::getattr(object_, "dtype", py::str("another dtype"))).cast<std::string>();
}

void* Argument::stream() const {
  if (!view_.device.cuda) return nullptr;
  if (!exchange_) return announced_stream(object_);
  void* stream = nullptr;
  if (exchange_->current_stream(dlpack::kCUDA, view_.device.index, &stream) != 0) throw py::error_already_set();
  return stream;
}

py::object Argument::make_float(std::initializer_list<int64_t> shape) const {
  if (!view_.device.cuda) return py::array_t<float>(std::vector<int64_t>(shape));
  if (exchange_) {
    std::vector<int64_t> sizes(shape);
    dlpack::Tensor prototype{nullptr,
                             {dlpack::kCUDA, view_.device.index},
                             static_cast<int32_t>(sizes.size()),
                             {dlpack::kFloat, 32, 1},
                             sizes.data(),
                             nullptr,
                             0};
    const auto raise = [](void*, const char*, const char* message) {
      py::gil_scoped_acquire gil;
      PyErr_SetString(PyExc_RuntimeError, message);
    };
    dlpack::ManagedVersioned* managed = nullptr;
    void* made = nullptr;
    if (exchange_->allocate(&prototype, &managed, nullptr, raise) != 0 ||
        exchange_->managed_to_object(managed, &made) != 0)
      throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(made));
  }
  if (!py::hasattr(object_, "__array_namespace__"))
    fail_type("expected out= beside it, because its framework offers no way to make the results on " +
              name_of(view_.device));
  const py::object xp = object_.attr("__array_namespace__")();
  return xp.attr("empty")(py::tuple(py::cast(std::vector<int64_t>(shape))), py::arg("dtype") = xp.attr("float32"),
                          py::arg("device") = object_.attr("device"));
}

}  // namespace edgepose
